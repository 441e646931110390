//! The outside of a run: the receiver, and the sinks that reach it.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use jobstream::sinks::ledger::{LedgerLimits, WallClock};
use jobstream::sinks::{Ambiguous, JobSink};
use jobstream::topology::{KeyLimits, Retry, Topology};
use jobstream_service::jobs::{self, Resolving};
use jobstream_service::outbound::{Network, Stream};
use jobstream_service::{Executor, Stages, Topics};
use jobstream_testkit::simulation::{Member, World};
use tokio::io::duplex;
use webhook::topology::stages;
use webhook::{Answer, Webhook, WebhookJob, WebhookSettings};

use crate::jobs::{BUSY, FAILS, REFUSED};
use crate::receiver::{Act, PUBLIC, Receiver};
use crate::stream::EffectfulStream;

/// Attempts of a job, at most.
pub(crate) const ATTEMPTS: u32 = 4;
/// How long the ledger keeps an entry at least, by the wall clock.
pub(crate) const LEDGER_RETENTION: Duration = Duration::from_secs(3_600);

/// What signs, so that the receiver can verify.
pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A receiver that refuses some paths.
pub(crate) fn receiver(_: &World) -> Receiver {
    Receiver::with(|_, path| match path.rsplit('/').next() {
        Some(REFUSED) => Act::answer(404),
        Some(BUSY) => Act::answer(503),
        Some(FAILS) => Act::answer(500),
        _ => Act::answer(200),
    })
}

/// Connects through the world, so that every write is an effect.
struct InWorld {
    world: World,
    receiver: Arc<Receiver>,
}

#[async_trait]
impl Network for InWorld {
    async fn resolve(&self, _: &str) -> io::Result<Vec<IpAddr>> {
        Ok(vec![PUBLIC])
    }

    async fn connect(&self, _: SocketAddr) -> io::Result<Box<dyn Stream>> {
        let (client, side) = duplex(64 * 1024);
        self.world.spawn(self.receiver.clone().serve(side));
        Ok(Box::new(EffectfulStream::new(&self.world, client)))
    }
}

/// How jobs are posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Posting {
    /// Each by itself.
    Single,
    /// Up to four by one request.
    Batches,
}

/// The webhook executor of one member.
pub(crate) fn executor(member: &Member<Receiver>, posting: Posting) -> Topology {
    topology(Executor::Sink(Arc::new(Resolving::new(sink(member, posting)))), Ambiguous::Resend)
}

/// The webhook executor of one member with a ledger.
pub(crate) fn executor_with_ledger(
    member: &Member<Receiver>,
    posting: Posting,
    ambiguous: Ambiguous,
) -> Topology {
    let limits = LedgerLimits::new().retention(LEDGER_RETENTION).entries_max(1_000);
    let ledger = jobs::ledger(sink(member, posting), clock(member.world()), ambiguous, limits);
    topology(Executor::Ledger(Arc::new(ledger)), ambiguous)
}

fn topology(executor: Executor<WebhookJob, Answer>, ambiguous: Ambiguous) -> Topology {
    let retry = Retry::new()
        .attempts(Some(ATTEMPTS))
        .first_delay(Duration::from_millis(300))
        .max_delay(Duration::from_secs(2))
        .ambiguous(ambiguous);
    let limits = KeyLimits::new().executing_jobs(Some(4));
    stages(Stages::new(Topics::default(), retry), executor, limits)
}

fn clock(world: &World) -> WallClock {
    let world = world.clone();
    Arc::new(move || {
        let since = Duration::from_millis(world.wall_clock().try_into().unwrap_or(0));
        UNIX_EPOCH + since
    })
}

fn sink(member: &Member<Receiver>, posting: Posting) -> Arc<dyn JobSink<WebhookJob, Answer>> {
    let (world, receiver) = (member.world().clone(), member.outside().clone());
    let clock = clock(&world);
    let network = Arc::new(InWorld { world, receiver });
    let webhook = Webhook::new(settings(), network, clock);
    match posting {
        Posting::Single => member.watched(webhook),
        Posting::Batches => member.watched(webhook.in_batches()),
    }
}

/// The certificates of the system are read once.
fn settings() -> WebhookSettings {
    static SETTINGS: LazyLock<WebhookSettings> = LazyLock::new(|| {
        let environment = [
            ("KAFKA_BROKERS", "localhost:9092"),
            ("WEBHOOK_SECRET", SECRET),
            ("WEBHOOK_TIMEOUT", "4"),
            ("WEBHOOK_BATCH_JOBS", "4"),
        ];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let read = |_: &Path| Err(io::ErrorKind::NotFound.into());
        let read = webhook::service::settings().read_settings(&BTreeMap::from(environment), &read);
        read.unwrap().1
    });
    SETTINGS.clone()
}
