//! A member: a process that works on jobs, and can be killed, stopped and brought back.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jobstream::sinks::Ambiguous;
use jobstream::sinks::ledger::LedgerLimits;
use jobstream::sinks::smtp::{self, ConfigError, MailConfig, MailSink, RelayConfig, TlsMode};
use jobstream::topology::{Drained, Limits, Retry, RunError, Topology, Worker};
use jobstream_service::environment;
use jobstream_testkit::broker::{Broker, MemberId};
use tokio::sync::watch;

use super::{GROUP, LEDGER, PlaygroundError};
use jobstream_service::page::Feed;
use mailjob::page::MailFeed;
use mailjob::topology::{Topics, ledger, topology_with_ledger};

const MAIL_FROM: &str = "mailjob@example.com";
/// Whose addresses may stand in `From`.
const ALLOWED_FROM_DOMAIN: &str = "example.com";
const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(4).expect("4 is not 0");
/// Quick enough to be watched: a job gives up after some 15 s of refusals.
const RETRY: Retry = Retry::new()
    .attempts(Some(8))
    .deadline(Duration::from_secs(60))
    .first_delay(Duration::from_millis(250))
    .max_delay(Duration::from_secs(4))
    .ambiguous(Ambiguous::Resend);
const PROBE_BACKOFF_MIN: Duration = Duration::from_millis(200);
const PROBE_BACKOFF_MAX: Duration = Duration::from_secs(1);
const COMMIT_INTERVAL: Duration = Duration::from_millis(200);
/// A person who ends the demo does not wait for a misfortune to end.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(3);
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// What a member is made to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It runs, anew if it was killed.
    Running,
    /// Its process is gone.
    Killed,
    /// Its process stands still, as by SIGSTOP.
    Suspended,
}

/// A process that works on jobs.
pub(super) struct Member {
    pub(super) number: usize,
    topics: Topics,
    broker: Broker,
    feed: Arc<Feed>,
    server: SocketAddr,
    life: watch::Sender<Life>,
    /// Its name in the group, while it has one.
    id: Mutex<Option<MemberId>>,
}

impl Member {
    pub(super) fn new(
        number: usize,
        topics: Topics,
        broker: Broker,
        feed: Arc<Feed>,
        server: SocketAddr,
    ) -> Self {
        let life = watch::Sender::new(Life::Running);
        Self { number, topics, broker, feed, server, life, id: Mutex::default() }
    }

    /// Makes it live on so.
    pub(super) fn set(&self, life: Life) {
        self.life.send_replace(life);
    }

    pub(super) fn life(&self) -> Life {
        *self.life.borrow()
    }

    /// Its name in the group, while it has one.
    pub(super) fn id(&self) -> Option<MemberId> {
        *self.id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs, one life after another, until it is stopped; one that is killed or suspended then ends
    /// at once.
    pub(super) async fn run(
        &self,
        mut stopped: watch::Receiver<bool>,
    ) -> Result<(), PlaygroundError> {
        let mut life = self.life.subscribe();
        loop {
            tokio::select! {
                biased;
                () = until(&mut stopped, |stopped| *stopped) => return Ok(()),
                () = until(&mut life, |life| *life == Life::Running) => {}
            }
            let worker = self.begin();
            let topology = self.topology()?;
            let mut stop = stopped.clone();
            let run = topology.run_worker(&worker, async move {
                until(&mut stop, |stopped| *stopped).await;
            });
            match self.live(pin!(run), &mut life, &mut stopped).await {
                Some(ended) => return Ok(ended.map(drop)?),
                None => *self.id.lock().unwrap_or_else(PoisonError::into_inner) = None,
            }
        }
    }

    /// Lives one life: nothing if it was killed.
    async fn live(
        &self,
        mut run: Pin<&mut (impl Future<Output = Result<Drained, RunError>> + Send)>,
        life: &mut watch::Receiver<Life>,
        stopped: &mut watch::Receiver<bool>,
    ) -> Option<Result<Drained, RunError>> {
        loop {
            tokio::select! {
                biased;
                () = until(life, |life| *life != Life::Running) => {}
                ended = &mut run => return Some(ended),
            }
            if self.life() == Life::Suspended {
                self.stand_still(life, stopped).await;
            }
            if self.life() == Life::Killed || *stopped.borrow() && self.life() != Life::Running {
                return None;
            }
        }
    }

    /// Completes when the process goes on, or ends.
    async fn stand_still(
        &self,
        life: &mut watch::Receiver<Life>,
        stopped: &mut watch::Receiver<bool>,
    ) {
        let Some(id) = self.id() else { return };
        self.broker.suspend(id);
        tokio::select! {
            biased;
            () = until(stopped, |stopped| *stopped) => {}
            () = until(life, |life| *life != Life::Suspended) => self.broker.wake(id),
        }
    }

    /// Its ends of a new life; those of the last one are fenced.
    fn begin(&self) -> Worker {
        let jobs = self.topics.jobs.clone();
        let transactional_id = format!("mailjob-{}", self.number);
        let (source, sink) = self.broker.exactly_once(GROUP, [jobs], transactional_id);
        *self.id.lock().unwrap_or_else(PoisonError::into_inner) = Some(source.member());
        let store = self.broker.store(LEDGER).beside(source.member());
        Worker { source: Box::new(source), sink: Box::new(sink), store: Some(Box::new(store)) }
    }

    /// The shipping topology, with a mail sink of its own.
    fn topology(&self) -> Result<Topology, ConfigError> {
        let host = self.server.ip().to_string();
        let config = MailConfig::new(host, MAIL_FROM)
            .port(self.server.port())
            .tls(TlsMode::None)
            .allowed_from_domains(vec![ALLOWED_FROM_DOMAIN.into()])
            .connections_max(CONNECTIONS)
            .probe_backoff_min(PROBE_BACKOFF_MIN)
            .probe_backoff_max(PROBE_BACKOFF_MAX);
        let observer = |relay: &RelayConfig| -> Arc<dyn smtp::Observer> {
            Arc::new(MailFeed::new(self.feed.clone(), relay.name(), self.number))
        };
        let sink = Arc::new(MailSink::with_observer(&config, observer)?);
        let clock = Arc::new(environment::now);
        let ledger = ledger(sink, clock, RETRY.ambiguous, LedgerLimits::new());
        let ledger = Arc::new(ledger.with_observer(self.feed.clone()));
        let limits = Limits::new()
            .commit_interval(COMMIT_INTERVAL)
            .shutdown_timeout(SHUTDOWN_TIMEOUT)
            .close_timeout(CLOSE_TIMEOUT);
        let topology = topology_with_ledger(&self.topics, ledger, RETRY);
        self.feed.shows(&topology);
        Ok(topology.with_limits(limits).with_group(GROUP).with_observer(self.feed.clone()))
    }
}

/// Completes when a value is so; if nobody is left to change it, never.
async fn until<T: Send + Sync>(value: &mut watch::Receiver<T>, is_so: fn(&T) -> bool) {
    if value.wait_for(is_so).await.is_err() {
        std::future::pending::<()>().await;
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("number", &self.number).finish_non_exhaustive()
    }
}
