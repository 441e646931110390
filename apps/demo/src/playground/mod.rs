//! A playground: the whole service in this process, to be broken by hand.
//!
//! ```text
//!  form ─▶ producer ─▶ Broker ─▶ member 1, member 2 ─▶ SmtpServer ─▶ Mailbox
//!                        │ ▲                                           │
//!  switches ─────────────┼─┴─ stop · kill · suspend · refuse ...       │
//!                        └──────────────▶ Books ◀──────────────────────┘
//! ```
//!
//! The members run the shipping topology, exactly-once and with a ledger, each with ends and a mail
//! sink of its own, as two processes do. The books are kept from outside: they read what was
//! submitted, what has come out and what has arrived, and ask no member.

mod books;
mod mail_content;
mod mail_view;
mod mailbox;
mod member;
mod play;
mod record_view;
mod routes;
mod trouble;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::try_join_all;
use jobstream::record::{ProducerRecord, TopicPartition};
use jobstream::sinks::smtp::ConfigError;
use jobstream::sinks::{Batch, Sink as _, SinkError};
use jobstream::topology::RunError;
use jobstream_service::environment;
use jobstream_testkit::broker::{Broker, Isolation, TopicOptions};
use jobstream_testkit::smtp::{Mail, MisfortuneId, SmtpServer};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};

use jobstream_service::jobs::job_id;
use jobstream_service::page::{Content, Feed};
use mailjob::page::feed;
use mailjob::topology::Topics;

pub(crate) use books::{Account, Verdict};

use books::Books;
use mail_view::MailLine;
use mailbox::Mailbox;
use member::Member;
use play::Play;
use record_view::RecordView;
use trouble::{Trouble, TroubleError};

const PARTITIONS: i32 = 6;
/// The group of the members.
const GROUP: &str = "topic-job-run-consumer-emailexecutor";
/// Where the ledger is.
const LEDGER: &str = "topic-job-run-ledger";
/// Places records without a key.
const SEED: u64 = 7;
const MEMBERS: usize = 2;
/// How long the group waits for a member that does not answer: long enough to be seen.
const SESSION_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a transaction of a member that does not answer hides what comes after it.
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(4);
/// What the topics of outputs take, as those that the service creates.
const MAX_MESSAGE_BYTES: usize = 2 << 20;
/// Records that wait for the broker, at most.
const SUBMITTED_MAX: usize = 100_000;
/// Records that are published at once, at most.
const BATCH_RECORDS: usize = 500;
/// Records of each partition that stay, at least, once the books have them.
const KEPT_RECORDS: i64 = 200;
/// Records of a partition that are shown.
const SHOWN_RECORDS: usize = 100;
/// How often the books are brought up to date.
const BOOKED_EVERY: Duration = Duration::from_millis(50);

/// What ends a playground before its shutdown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaygroundError {
    /// A member has ended.
    #[error(transparent)]
    Member(#[from] RunError),
    /// A mail sink can't be made.
    #[error(transparent)]
    MailSink(#[from] ConfigError),
    /// The producer has ended.
    #[error(transparent)]
    Producer(#[from] SinkError),
}

/// The whole service in this process: everything that a person can look at and break.
pub(crate) struct Playground {
    topics: Topics,
    feed: Arc<Feed>,
    broker: Broker,
    server: SmtpServer,
    members: Vec<Member>,
    submitted: mpsc::Sender<Bytes>,
    /// Records that were submitted and that the broker has not acknowledged.
    waiting: AtomicU64,
    to_produce: tokio::sync::Mutex<mpsc::Receiver<Bytes>>,
    /// The switches that are on; some need to know what to take back.
    troubles: tokio::sync::Mutex<BTreeMap<Trouble, Option<MisfortuneId>>>,
    on: Mutex<Vec<Trouble>>,
    ledgers: Mutex<(Books, Mailbox)>,
    /// What the books last said.
    booked: watch::Sender<Account>,
}

impl Playground {
    /// A playground with this inbox; nothing runs yet.
    pub(crate) fn new(server: SmtpServer) -> Self {
        let topics = Topics::default();
        let broker = broker(&topics);
        let feed = Arc::new(feed(&topics, Content::Shown));
        let (submitted, to_produce) = mpsc::channel(SUBMITTED_MAX);
        let address = server.address();
        let member =
            |number| Member::new(number, topics.clone(), broker.clone(), feed.clone(), address);
        Self {
            members: (1..=MEMBERS).map(member).collect(),
            submitted,
            waiting: AtomicU64::new(0),
            to_produce: to_produce.into(),
            troubles: tokio::sync::Mutex::default(),
            on: Mutex::default(),
            ledgers: Mutex::default(),
            booked: watch::Sender::default(),
            topics,
            feed,
            broker,
            server,
        }
    }

    #[cfg(feature = "kafka")]
    pub(crate) const fn broker(&self) -> &Broker {
        &self.broker
    }

    pub(crate) const fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// Works until `shutdown` completes; then what is in flight may finish, and the members leave.
    /// A member that was killed or suspended stays so. Everything runs on the caller's task.
    ///
    /// # Errors
    /// If a part breaks: no misfortune does that.
    pub(crate) async fn run(
        &self,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), PlaygroundError> {
        let stop = watch::Sender::new(false);
        let work = try_join_all(self.members.iter().map(|member| member.run(stop.subscribe())));
        let shutdown = async {
            shutdown.await;
            stop.send_replace(true);
            std::future::pending::<Infallible>().await
        };
        tokio::select! {
            biased;
            worked = work => worked.map(drop),
            never = shutdown => match never {},
            broken = self.produce() => broken,
            never = self.keep_books() => match never {},
        }
    }

    /// Produces what was submitted, as soon as the broker takes it.
    async fn produce(&self) -> Result<(), PlaygroundError> {
        let producer = self.broker.producer();
        let mut to_produce = self.to_produce.lock().await;
        let mut values = Vec::new();
        while to_produce.recv_many(&mut values, BATCH_RECORDS).await > 0 {
            let outputs: Vec<_> = values.drain(..).map(|value| self.job(value)).collect();
            let produced = outputs.len() as u64;
            producer.publish(&Batch { outputs, positions: Vec::new() }).await?;
            self.waiting.fetch_sub(produced, Ordering::Relaxed);
        }
        std::future::pending().await
    }

    /// A record of the input topic: its key is the job's `Id`, where it is a job.
    fn job(&self, value: Bytes) -> ProducerRecord {
        let key = job_id(Some(&value)).map(Bytes::from);
        let record = ProducerRecord::to(self.topics.jobs.clone()).value(value);
        ProducerRecord { key, ..record }
    }

    async fn keep_books(&self) -> Infallible {
        let mut ticks = interval(BOOKED_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.booked.send_replace(self.account());
        }
    }

    /// Brings the books up to date, and lets records go that they have and nobody needs.
    fn book(&self) -> MutexGuard<'_, (Books, Mailbox)> {
        let mut ledgers = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        let (books, mailbox) = &mut *ledgers;
        mailbox.collect(&self.server.inbox());
        let topics = &self.topics;
        books.read(&self.broker, topics, mailbox);
        books.let_go(&self.broker, &topics.jobs, GROUP, KEPT_RECORDS);
        ledgers
    }

    /// Takes records for the input topic, all or none; none if too many wait for the broker.
    pub(crate) fn submit(&self, values: Vec<Bytes>) -> bool {
        if values.is_empty() {
            return true;
        }
        let Ok(places) = self.submitted.try_reserve_many(values.len()) else { return false };
        self.send(places, values);
        true
    }

    /// Takes records for the input topic when there is room for them.
    pub(crate) async fn submit_in_time(&self, values: Vec<Bytes>) {
        let Ok(places) = self.submitted.reserve_many(values.len()).await else {
            unreachable!("the playground has the other end of the channel");
        };
        self.send(places, values);
    }

    fn send(&self, places: mpsc::PermitIterator<'_, Bytes>, values: Vec<Bytes>) {
        self.waiting.fetch_add(values.len() as u64, Ordering::Relaxed);
        places.zip(values).for_each(|(place, value)| place.send(value));
    }

    /// Completes when the books say so, while the playground runs.
    pub(crate) async fn until(&self, mut is_so: impl FnMut(&Account) -> bool + Send) {
        let mut booked = self.booked.subscribe();
        if booked.wait_for(|account| is_so(account)).await.is_err() {
            unreachable!("the playground has its own end of the channel");
        }
    }

    /// Lets a misfortune happen, or ends it; completes when that is done.
    ///
    /// # Errors
    /// If it can't be ended.
    pub(crate) async fn set(&self, trouble: Trouble, on: bool) -> Result<(), TroubleError> {
        let mut troubles = self.troubles.lock().await;
        match (on, troubles.remove(&trouble)) {
            (true, None) => {
                let to_take_back = trouble.begin(&self.server, &self.broker, &self.members).await;
                troubles.insert(trouble, to_take_back);
            }
            (true, Some(as_it_was)) => drop(troubles.insert(trouble, as_it_was)),
            (false, Some(begun)) => {
                trouble.end(begun, &self.server, &self.broker, &self.members).await?;
            }
            (false, None) => {}
        }
        *self.on.lock().unwrap_or_else(PoisonError::into_inner) =
            troubles.keys().copied().collect();
        Ok(())
    }

    /// What adds up, or does not.
    pub(crate) fn account(&self) -> Account {
        let (waiting, resent) = (self.waiting.load(Ordering::Relaxed), self.feed.resent());
        let caught_up = self.broker.has_caught_up(GROUP, &self.topics.jobs);
        let (books, mailbox) = &*self.book();
        books.account(mailbox, waiting, resent, caught_up)
    }

    fn play(&self) -> Play {
        let on = self.on.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Play::new(self.account(), &self.broker, &self.topics, &self.members, &on)
    }

    /// The last records of a partition, the newest first; none if there is no such partition.
    fn records(&self, partition: &TopicPartition) -> Option<Vec<RecordView>> {
        self.broker.high_watermark(partition)?;
        let records = self.broker.records(&partition.topic, Isolation::ReadCommitted);
        let records = records.iter().rev().filter(|record| record.partition == *partition);
        Some(records.take(SHOWN_RECORDS).map(RecordView::of).collect())
    }

    fn mails(&self) -> Vec<MailLine> {
        self.book().1.lines()
    }

    fn mail(&self, number: u64) -> Option<Arc<Mail>> {
        self.book().1.mail(number)
    }
}

impl fmt::Debug for Playground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Playground").field("members", &self.members.len()).finish_non_exhaustive()
    }
}

/// A broker with the topics, whose clock is the wall's.
fn broker(topics: &Topics) -> Broker {
    let broker = Broker::builder()
        .seed(SEED)
        .wall_clock(environment::timestamp)
        .session_timeout(SESSION_TIMEOUT)
        .transaction_timeout(TRANSACTION_TIMEOUT)
        .build();
    let options = TopicOptions::partitions(PARTITIONS).max_message_bytes(MAX_MESSAGE_BYTES);
    broker.create_topic(&*topics.jobs, options.clone().max_message_bytes(usize::MAX));
    for topic in [&*topics.results, &*topics.dead_letters, LEDGER] {
        broker.create_topic(topic, options.clone());
    }
    broker
}
