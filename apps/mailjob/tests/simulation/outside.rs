//! The outside of a run: the mail server, and the sinks that reach it.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use async_trait::async_trait;
use jobstream::job::Job;
use jobstream::record::ConsumerRecord;
use jobstream::sinks::ledger::LedgerLimits;
use jobstream::sinks::smtp::{
    Accepted, Connect, Login, MailConfig, MailSink, Stream, TimeLimits, TlsMode,
};
use jobstream::sinks::{Ambiguous, Effect, JobError, JobSink};
use jobstream::topology::{Retry, Topology};
use jobstream_testkit::simulation::{Member, SmtpStream, World};
use jobstream_testkit::smtp::{Act, Extension, Misfortune, Moment, Per, SmtpServer, Tls};
use mailjob::topology::{Topics, ledger, topology, topology_with_ledger};

/// Attempts of a job, at most.
pub(crate) const ATTEMPTS: u32 = 4;
/// Gets 550 at RCPT, always.
pub(crate) const REFUSED: &str = "refused@example.org";
/// Gets 451 at RCPT, always.
pub(crate) const BUSY: &str = "busy@example.org";
/// Gets 554 at the final dot, always.
pub(crate) const UNWANTED: &str = "unwanted@example.org";

/// What a server says that has a limit of mails on one connection, and what one that wants no
/// commands behind a final dot: no job fails for it.
pub(crate) const SESSION_LIMIT: &str = "too many mails on this connection";
pub(crate) const TOO_EARLY: &str = "commands came too early";

/// The user, and the password.
const LOGIN: [&str; 2] = ["mailjob", "secret"];

/// Whether the mail server of a run wants a login.
const fn wants_login(seed: u64) -> bool {
    seed % 4 == 1
}

/// Whether it offers, and wants, STARTTLS.
const fn wants_tls(seed: u64) -> bool {
    matches!(seed % 8, 5 | 6)
}

/// The most connections of a member; the fewer, the more mails follow each other.
const fn connections(seed: u64) -> NonZeroUsize {
    let connections = match seed % 3 {
        0 => NonZeroUsize::new(3),
        1 => NonZeroUsize::new(2),
        _ => NonZeroUsize::new(1),
    };
    connections.unwrap()
}

/// How many jobs a member may have in doubt: from fewer than it has connections to far more.
pub(crate) const fn in_doubt_max(seed: u64) -> usize {
    match seed / 3 % 3 {
        0 => 1,
        1 => 4,
        _ => 12,
    }
}

/// What a mail server of a run does that no job is to notice, if anything: it takes few mails on one
/// connection, or does not take what stands behind a final dot.
fn whim(seed: u64) -> Option<Misfortune> {
    let moment = match seed / 16 % 3 {
        0 => Moment::Mail,
        1 => Moment::Rcpt,
        _ => Moment::Data,
    };
    let limit = 1 + seed / 48 % 4;
    match seed / 4 % 4 {
        1 => {
            let spent = Misfortune::at(moment).after(limit).per(Per::Connection);
            Some(spent.reply(452, SESSION_LIMIT))
        }
        2 => Some(Misfortune::at(moment).behind_dot().reply(554, TOO_EARLY)),
        3 => Some(Misfortune::at(moment).behind_dot().then(Act::Ignore)),
        _ => None,
    }
}

/// A mail server that refuses some addresses. In every other run it has no PIPELINING.
pub(crate) fn server(world: &World) -> SmtpServer {
    let server = SmtpServer::builder()
        .seed(world.seed())
        .exchanges_kept(0)
        .misfortune(Misfortune::at(Moment::Rcpt).to(REFUSED).reply(550, "no such user"))
        .misfortune(Misfortune::at(Moment::Rcpt).to(BUSY).reply(451, "try again later"))
        .misfortune(Misfortune::at(Moment::Dot).to(UNWANTED).reply(554, "unwanted"));
    let [user, password] = LOGIN;
    let seed = world.seed();
    let server = match whim(seed) {
        Some(whim) => server.misfortune(whim),
        None => server,
    };
    let server =
        if seed.is_multiple_of(2) { server } else { server.without(Extension::Pipelining) };
    let server =
        if wants_login(seed) { server.login(user, password).require_login() } else { server };
    let server = if wants_tls(seed) { server.tls(Tls::StartTls).require_tls() } else { server };
    server.in_memory().unwrap()
}

/// Connects through the world, so that every write is an effect.
struct InMemory {
    world: World,
    server: Arc<SmtpServer>,
}

#[async_trait]
impl Connect for InMemory {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(SmtpStream::connect(&self.world, &self.server)))
    }
}

/// How long the ledger keeps an entry at least, by the wall clock.
pub(crate) const LEDGER_RETENTION: Duration = Duration::from_secs(3_600);

/// The mail executor of one member, with a pool of its own.
pub(crate) fn executor(member: &Member<SmtpServer>) -> Topology {
    topology(&Topics::default(), mail_sink(member), retry(Ambiguous::Resend))
}

/// The mail executor of one member with a ledger.
pub(crate) fn executor_with_ledger(member: &Member<SmtpServer>, ambiguous: Ambiguous) -> Topology {
    let world = member.world().clone();
    let clock = move || {
        let since = Duration::from_millis(world.wall_clock().try_into().unwrap_or(0));
        UNIX_EPOCH + since
    };
    let limits = LedgerLimits::new()
        .retention(LEDGER_RETENTION)
        .entries_max(1_000)
        .in_doubt_max(in_doubt_max(member.world().seed()));
    let ledger = ledger(mail_sink(member), Arc::new(clock), ambiguous, limits);
    topology_with_ledger(&Topics::default(), Arc::new(ledger), retry(ambiguous))
}

fn mail_sink(member: &Member<SmtpServer>) -> Arc<dyn JobSink<Job, Accepted>> {
    let (world, server) = (member.world().clone(), member.outside().clone());
    let config = config(member.world().seed(), &server);
    let sink = MailSink::with(&config, Arc::new(InMemory { world, server }), Arc::new(()));
    member.watched(Attended(sink.unwrap()))
}

/// Goes on with connections that no mail waits for, while mails are sent. The service does it beside
/// the topology.
struct Attended(MailSink);

#[async_trait]
impl JobSink<Job, Accepted> for Attended {
    async fn execute(&self, job: &Job, record: &ConsumerRecord) -> Result<Accepted, JobError> {
        self.execute_with_effect(job, record, &Effect::new()).await
    }

    async fn execute_with_effect(
        &self,
        job: &Job,
        record: &ConsumerRecord,
        effect: &Effect,
    ) -> Result<Accepted, JobError> {
        tokio::select! {
            biased;
            ended = self.0.execute_with_effect(job, record, effect) => ended,
            () = self.0.retire_idle() => unreachable!("it never completes"),
        }
    }

    fn timed_out(&self, effect: &Effect, limit: Duration) -> JobError {
        self.0.timed_out(effect, limit)
    }

    async fn ready(&self) {
        self.0.ready().await;
    }
}

pub(crate) fn retry(ambiguous: Ambiguous) -> Retry {
    Retry::new()
        .attempts(Some(ATTEMPTS))
        .first_delay(Duration::from_millis(300))
        .max_delay(Duration::from_secs(2))
        .ambiguous(ambiguous)
}

pub(crate) fn config(seed: u64, server: &SmtpServer) -> MailConfig {
    let seconds = Duration::from_secs;
    MailConfig::new("localhost", "mailjob@example.com")
        .tls(if wants_tls(seed) { TlsMode::StartTls } else { TlsMode::None })
        .tls_ca_pem(server.ca_pem().map(|pem| pem.as_bytes().to_vec()))
        .login(wants_login(seed).then(|| Login::new(LOGIN[0], LOGIN[1])))
        .allow_plaintext_auth(true)
        .allowed_from_domains(vec!["example.com".into()])
        .connections_max(connections(seed))
        .limits(TimeLimits {
            connect: seconds(3),
            tls: seconds(3),
            greeting: seconds(3),
            ehlo: seconds(3),
            auth: seconds(3),
            command: seconds(3),
            data: seconds(3),
            body: seconds(3),
            final_reply: seconds(4),
            whole: seconds(12),
        })
        .probe_backoff_max(seconds(2))
}
