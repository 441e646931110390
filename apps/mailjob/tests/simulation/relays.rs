//! Two mail servers: whatever befalls each of them, mails are accounted for over both.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jobstream::job::Job;
use jobstream::record::ConsumerRecord;
use jobstream::sinks::smtp::{Accepted, Connect, Event, MailSink, Observer, RelayConfig, Stream};
use jobstream::sinks::{Ambiguous, Effect, JobError, JobSink};
use jobstream::topology::Topology;
use jobstream_testkit::simulation::{Delivery, History, Member, Search, SmtpStream, World};
use jobstream_testkit::smtp::{Mail, SmtpServer};
use mailjob::topology::{Topics, topology};
use tokio::time::Instant;

use crate::effects::{header, results};
use crate::invariants::{
    Inboxes, mails_are_accounted_for, mails_are_repeatable, mails_go_where_they_should,
    no_job_fails_for_its_connection, results_are_true,
};
use crate::jobs::{identity, jobs};
use crate::misfortunes::with_misfortunes_of;
use crate::outside::{ATTEMPTS, config, retry, server};
use crate::search::{first_seed, passes, schedules};

/// Both have a certificate for this host.
const NAMES: [&str; 2] = ["localhost:25", "localhost:26"];

/// Who has no connection to a relay that is away, and wants none, waits for its next probe: for the
/// longest back-off at most, as `outside::config` sets it, and half a second of grace.
const ASKED_WITHIN: Duration = Duration::from_millis(2_500);

/// Two mail servers, in order of preference.
struct Servers {
    both: [SmtpServer; 2],
    /// What a sink has left undone.
    forgotten: Mutex<Vec<String>>,
}

impl Servers {
    fn new(world: &World) -> Self {
        Self { both: [server(world), server(world)], forgotten: Mutex::default() }
    }
}

impl Inboxes for Servers {
    fn mails(&self) -> Vec<Arc<Mail>> {
        self.both.iter().flat_map(|server| server.inbox().mails()).collect()
    }
}

/// Connects to one of them through the world.
struct InMemory {
    world: World,
    servers: Arc<Servers>,
    place: usize,
}

#[async_trait]
impl Connect for InMemory {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(SmtpStream::connect(&self.world, &self.servers.both[self.place])))
    }
}

/// What was last heard of a relay.
struct Heard {
    at: Mutex<Instant>,
    /// Connections that are open, and those that wait for one.
    connections: AtomicUsize,
}

impl Heard {
    fn new() -> Self {
        Self { at: Mutex::new(Instant::now()), connections: AtomicUsize::new(0) }
    }

    fn now(&self) {
        *self.at.lock().unwrap() = Instant::now();
    }

    fn at(&self) -> Instant {
        *self.at.lock().unwrap()
    }

    /// Whether nobody has a connection, or is about to have one: so no probe is under way either.
    fn is_quiet(&self) -> bool {
        self.connections.load(Relaxed) == 0
    }
}

impl Observer for Heard {
    fn on(&self, event: &Event<'_>) {
        if let Event::Connections { open, waiting } = event {
            self.connections.store(open + waiting, Relaxed);
        }
        self.now();
    }
}

/// A sink over both, which is watched: a preferred relay that is away is asked again.
struct Watched {
    sink: MailSink,
    heard: Arc<Heard>,
    servers: Arc<Servers>,
}

#[async_trait]
impl JobSink<Job, Accepted> for Watched {
    async fn execute(&self, job: &Job, record: &ConsumerRecord) -> Result<Accepted, JobError> {
        self.execute_with_effect(job, record, &Effect::new()).await
    }

    async fn execute_with_effect(
        &self,
        job: &Job,
        record: &ConsumerRecord,
        effect: &Effect,
    ) -> Result<Accepted, JobError> {
        let is_away =
            || self.sink.relays().next().is_some_and(|it| it.unavailable_reason().is_some());
        let (was_due, begun, heard) =
            (is_away() && self.heard.is_quiet(), Instant::now(), self.heard.at());
        let ended = self.sink.execute_with_effect(job, record, effect).await;
        let is_elsewhere = ended.as_ref().is_ok_and(|it| it.relay.as_deref() == Some(NAMES[1]));
        let was_asked = self.heard.at() != heard;
        if was_due && is_elsewhere && !was_asked && begun - heard > ASKED_WITHIN {
            let forgotten = format!("{} was not asked for {:?}", NAMES[0], begun - heard);
            self.servers.forgotten.lock().unwrap().push(forgotten);
        }
        ended
    }

    fn timed_out(&self, effect: &Effect, limit: Duration) -> JobError {
        self.sink.timed_out(effect, limit)
    }

    async fn ready(&self) {
        self.sink.ready().await;
    }
}

fn executor(member: &Member<Servers>) -> Topology {
    let (world, servers) = (member.world().clone(), member.outside().clone());
    let [first, second] = &servers.both;
    let mut config = config(world.seed(), first).fallback("localhost");
    config.relays[1].port = 26;
    config.relays[1].tls_ca_pem = second.ca_pem().map(|pem| pem.as_bytes().to_vec());
    let heard = Arc::new(Heard::new());
    let ends = |relay: &RelayConfig| {
        let place = NAMES.iter().position(|name| *name == relay.name()).unwrap();
        let connect = InMemory { world: world.clone(), servers: servers.clone(), place };
        let observer: Arc<dyn Observer> = match place {
            0 => heard.clone(),
            _ => Arc::new(()),
        };
        (Arc::new(connect) as Arc<dyn Connect>, observer)
    };
    let sink = MailSink::over(&config, ends).unwrap();
    let watched = member.watched(Watched { sink, heard, servers: servers.clone() });
    topology(&Topics::default(), watched, retry(Ambiguous::Resend))
}

fn search(delivery: Delivery, count: u64) -> Search<Servers> {
    let topics = Topics::default();
    let search = Search::within(Servers::new, executor)
        .workload(topics.jobs, 3, move |seed| jobs(seed, count))
        .outputs(topics.results, 2)
        .outputs(topics.dead_letters, 1)
        .identified_by(identity)
        .delivery(delivery)
        .members(3)
        .attempts_max(ATTEMPTS)
        .effects(SmtpStream::effects())
        .invariant("mails go where they should", mails_go_where_they_should)
        .invariant("mails are accounted for", mails_are_accounted_for)
        .invariant("results are true", results_are_true)
        .invariant("mails are repeatable", mails_are_repeatable)
        .invariant("no job fails for its connection", no_job_fails_for_its_connection)
        .invariant("results name a relay", results_name_a_relay)
        .invariant("a relay that is away is asked again", away_is_asked_again)
        .seed(first_seed());
    let search = with_misfortunes_of(search, "first: ", |servers| &servers.both[0]);
    let search = with_misfortunes_of(search, "second: ", |servers| &servers.both[1]);
    search.healed_by(|servers| servers.both.iter().for_each(|it| it.serve_at_most(u64::MAX)))
}

/// A mail that was accepted is in the inbox of the relay that its result names.
fn results_name_a_relay(history: &History, servers: &Servers) -> Result<(), String> {
    for result in results(history).filter(|it| header(it, "job-outcome") == "accepted") {
        let (relay, id) = (header(result, "job-relay"), header(result, "job-message-id"));
        let place = NAMES.iter().position(|name| *name == relay);
        let place = place.ok_or_else(|| format!("found relay {relay:?}"))?;
        let mails = servers.both[place].inbox().mails();
        if !mails.iter().any(|mail| mail.message_id() == Some(id.trim_matches(['<', '>']))) {
            return Err(format!("found no mail {id} at {relay}"));
        }
    }
    Ok(())
}

fn away_is_asked_again(_: &History, servers: &Servers) -> Result<(), String> {
    servers.forgotten.lock().unwrap().first().map_or(Ok(()), |found| Err(found.clone()))
}

#[test]
fn two_relays_keep_the_promises_at_least_once() {
    passes(search(Delivery::AtLeastOnce, 50).schedules(schedules(40)).run());
}

#[test]
fn two_relays_keep_the_promises_exactly_once() {
    passes(search(Delivery::ExactlyOnce, 50).schedules(schedules(40)).run());
}
