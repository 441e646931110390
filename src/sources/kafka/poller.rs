//! The thread that polls a consumer, and answers the group.
//!
//! ```text
//!  commands ──▶ ┐                  ┌──▶ (incremental) assign · unassign
//!  rebalances ─▶├─ turn of a loop ─┤
//!  records ───▶ ┘                  └──▶ buffer ─▶ stream
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use tokio::sync::watch;
use tokio::time::Instant;

use super::buffer::{Command, Shared};
use super::client::{Client, Connector};
use super::flow::{Attention, Flow};
use super::group::Rebalancing;
use super::membership::Membership;
use super::partitions::Partitions;
use super::reading::{Polled, Stretch, has_unreadable_header, own};
use crate::kafka::{ConfigError, Event};
use crate::reason::Reason;
use crate::record::{Block, HEADERS_MAX, Topic};
use crate::sources::SourceError;

/// The most records that are polled before they are handed to the stream.
const POLL_RECORDS: usize = 512;
/// The most bytes that are polled before they are handed to the stream; one record can exceed it.
const POLL_BYTES: usize = 1 << 20;
/// The most headers of a record that are read: one more than allowed, so that the topology sees
/// that there are too many.
const HEADERS_READ: usize = HEADERS_MAX + 1;

/// The longest wait for a wake-up. librdkafka's wake-up for a queue that fills is not reliable.
const IDLE_WAIT: Duration = Duration::from_millis(50);

/// How long the poll of a consumer that closes waits for an event.
pub(super) const CLOSE_POLL: Duration = Duration::from_millis(50);

/// The state of the thread.
pub(super) struct Poller {
    client: Arc<Client>,
    shared: Arc<Shared>,
    topics: Vec<Topic>,
    partitions: Partitions,
    rebalancing: Rebalancing,
    connector: Connector,
    membership: Arc<Membership>,
    block: Block,
    flow: Flow,
    attention: Attention,
    close_limit: Duration,
    /// Set when the member has left.
    left: watch::Sender<bool>,
}

impl Poller {
    pub(super) fn new(
        connector: Connector,
        membership: Arc<Membership>,
        topics: Vec<Topic>,
        close_limit: Duration,
        left: watch::Sender<bool>,
    ) -> Result<Self, ConfigError> {
        let client = connector.connect()?;
        membership.set_client(&client);
        Ok(Self {
            client,
            shared: membership.shared().clone(),
            topics,
            partitions: Partitions::new(&connector, membership.clone())?,
            rebalancing: Rebalancing::default(),
            attention: Attention::new(&connector.properties),
            connector,
            membership,
            block: Block::default(),
            flow: Flow::default(),
            close_limit,
            left,
        })
    }

    /// Polls until the source is closed, or broken.
    pub(super) fn run(mut self) {
        let ended = self.turns();
        self.shared.change(|buffer| {
            buffer.lose_all();
            buffer.commands.clear();
            buffer.ended = Some(ended);
        });
        let has_left = self.leave();
        // The receiver may be gone.
        let _ = self.left.send(has_left);
        let Self { client, shared, .. } = self;
        end(client, &shared);
    }

    fn turns(&mut self) -> Result<(), SourceError> {
        loop {
            while let Some(command) = self.shared.with(|buffer| buffer.commands.pop_front()) {
                match command {
                    Command::Join => self.subscribe()?,
                    Command::Release(partitions, done) => {
                        self.shared.change(|buffer| buffer.release(&partitions));
                        self.rebalancing.release(|partition| partitions.contains(partition));
                        self.answer();
                        // The caller may have been cancelled.
                        let _ = done.send(());
                    }
                    Command::Close => return Ok(()),
                }
            }
            self.rebalancing.hear(&self.client, &self.shared);
            if let Some(reason) = self.expelled() {
                self.connector.observer.event(&Event::Expelled { reason: &reason });
                self.rejoin()?;
            }
            self.answer();
            let read = self.partitions.read_recreated(&self.client);
            self.go_on(read)?;
            let is_open = self.flow.is_open(&self.client, &self.shared);
            if is_open && !self.attention.is_lost(&self.shared) {
                if self.poll()? < POLL_RECORDS {
                    self.shared.signal.wait(IDLE_WAIT);
                }
            } else {
                self.shared.signal.wait(IDLE_WAIT);
            }
        }
    }

    /// Hands the records that can be polled at once, up to a limit, to the stream. Returns their
    /// number; [`POLL_RECORDS`] if the limit of bytes was reached.
    fn poll(&mut self) -> Result<usize, SourceError> {
        use rdkafka::Message as _;
        let mut polled = Polled::default();
        let (mut events, mut bytes) = (0, 0);
        let mut fenced = None;
        while events < POLL_RECORDS && bytes < POLL_BYTES {
            events += 1;
            match self.client.poll(Duration::ZERO) {
                None if self.client.context().was_called() => {
                    if self.client.context().has_new_ids() {
                        // The next records may be of a new topic.
                        break;
                    }
                }
                None => {
                    events -= 1;
                    break;
                }
                Some(Ok(message)) => {
                    // A single topic need not be read from every record.
                    let topic = match &*self.topics {
                        [only] => only,
                        _ => message.topic(),
                    };
                    let stretch = self.partitions.stretch(&mut polled, topic, message.partition());
                    let Some(Stretch { partition, generation, records }) = stretch else {
                        continue;
                    };
                    let record = own(
                        &mut self.block,
                        &message,
                        partition.clone(),
                        *generation,
                        HEADERS_READ,
                    );
                    bytes += record.size_bytes();
                    if has_unreadable_header(&record) {
                        let event = Event::UnreadableHeader { partition, offset: record.offset };
                        self.client.context().observer.event(&event);
                    }
                    records.push_back(record);
                }
                Some(Err(error)) => fenced = self.fenced_by_itself(&error)?.or(fenced),
            }
        }
        let mut chunks = polled.into_chunks();
        if !chunks.is_empty() {
            let read = self.partitions.look_at(&self.client, &mut chunks);
            self.go_on(read)?;
            self.shared.push(chunks);
        }
        if let Some(reason) = fenced {
            self.connector.observer.event(&Event::FencedByItself { reason: &reason });
            self.rejoin()?;
        }
        Ok(if bytes < POLL_BYTES { events } else { POLL_RECORDS })
    }

    /// The context reports passing errors; others end the source, unless the member has fenced
    /// itself by a request after its session had ended. If another process with its
    /// `group.instance.id` fences a member instead, the member has not lost its assignment before, nor
    /// given its member id up.
    fn fenced_by_itself(&self, error: &KafkaError) -> Result<Option<String>, SourceError> {
        match self.client.client().fatal_error() {
            Some((RDKafkaErrorCode::FencedInstanceId, reason))
                if self.client.context().has_lost() =>
            {
                Ok(Some(reason))
            }
            Some((_, reason)) => Err(SourceError::new(reason)),
            None if matches!(error, KafkaError::MessageConsumptionFatal(_)) => {
                Err(SourceError::new(Reason::of(error.clone())))
            }
            None => Ok(None),
        }
    }

    /// Why the member is to join again, since the group has expelled it. Where librdkafka has noted the
    /// loss, it asks for the partitions, and joins again by itself. It does not while a rebalance is open:
    /// it would keep them under its next member id, although others have had them meanwhile.
    fn expelled(&self) -> Option<String> {
        let reset = self.client.context().take_expelled();
        let refused = self.shared.with(|buffer| buffer.expelled.take());
        let has_any = || self.client.assignment().map_or(true, |assigned| assigned.count() > 0);
        let reason = refused.or(reset.filter(|_| self.rebalancing.is_open() || has_any()))?;
        (!self.client.assignment_lost()).then_some(reason)
    }

    /// Gives every partition up as lost, and joins the group again with a new client; the group's
    /// commits show how far it came. A client that unsubscribes and subscribes while a rebalance is
    /// under way may never be assigned anything again.
    fn rejoin(&mut self) -> Result<(), SourceError> {
        self.shared.change(|buffer| {
            buffer.lose_all();
            buffer.expelled = None;
        });
        self.leave();
        let client =
            self.connector.connect().map_err(|error| SourceError::new(Reason::of(error)))?;
        self.membership.set_client(&client);
        end(std::mem::replace(&mut self.client, client), &self.shared);
        self.partitions.clear();
        self.rebalancing = Rebalancing::default();
        self.flow = Flow::default();
        self.subscribe()
    }

    fn answer(&mut self) {
        self.rebalancing.answer(&self.client, &mut self.partitions, &mut self.flow);
    }

    /// Goes on; rejoins for a new assignment if the seek to the start of a topic has failed.
    fn go_on(&mut self, read: KafkaResult<()>) -> Result<(), SourceError> {
        let Err(error) = read else { return Ok(()) };
        self.client.context().observer.error(&error, "a topic created anew could not be sought");
        self.rejoin()
    }

    fn subscribe(&self) -> Result<(), SourceError> {
        let topics: Vec<&str> = self.topics.iter().map(|topic| &**topic).collect();
        self.client.subscribe(&topics).map_err(|error| SourceError::new(Reason::of(error)))
    }

    /// Leaves the group, unless it is a static member, and waits up to the limit. Returns whether the
    /// client has closed.
    fn leave(&mut self) -> bool {
        let until = Instant::now() + self.close_limit;
        self.client.context().closing.store(true, Ordering::Release);
        let signal = &self.shared.signal;
        let is_static = self.connector.properties.get("group.instance.id").is_some();
        if let Err(error) = self.rebalancing.give_up(&self.client, signal, until, is_static) {
            self.client.context().observer.error(&error, "the assignment could not be given up");
        }
        match self.client.close_queue() {
            Ok(()) => {
                while !self.client.closed() && Instant::now() < until {
                    // The context answers rebalances; records are dropped.
                    drop(self.client.poll(CLOSE_POLL));
                }
            }
            Err(error) => {
                self.client.context().observer.error(&error, "the consumer can't be closed");
            }
        }
        self.client.closed()
    }
}

/// Ends a client, once this thread is its last owner. The drop blocks, so it must not happen on
/// another thread.
fn end(client: Arc<Client>, shared: &Shared) {
    while Arc::strong_count(&client) > 1 {
        shared.signal.wait(IDLE_WAIT);
    }
    drop(client);
}
