//! The outside of a run: the mail server, and the sinks that reach it.

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jobstream::sinks::smtp::{Connect, MailConfig, MailSink, Stream, TimeLimits, TlsMode};
use jobstream::topology::{Retry, Topology};
use jobstream_testkit::simulation::{Member, SmtpStream, World};
use jobstream_testkit::smtp::{Extension, Misfortune, Moment, SmtpServer};
use mailjob::topology::{Topics, topology};

/// Attempts of a job, at most.
pub(crate) const ATTEMPTS: u32 = 4;
/// Gets 550 at RCPT, always.
pub(crate) const REFUSED: &str = "refused@example.org";
/// Gets 451 at RCPT, always.
pub(crate) const BUSY: &str = "busy@example.org";
/// Gets 554 at the final dot, always.
pub(crate) const UNWANTED: &str = "unwanted@example.org";

/// A mail server that refuses some addresses. In every other run it has no PIPELINING.
pub(crate) fn server(world: &World) -> SmtpServer {
    let server = SmtpServer::builder()
        .seed(world.seed())
        .exchanges_kept(0)
        .misfortune(Misfortune::at(Moment::Rcpt).to(REFUSED).reply(550, "no such user"))
        .misfortune(Misfortune::at(Moment::Rcpt).to(BUSY).reply(451, "try again later"))
        .misfortune(Misfortune::at(Moment::Dot).to(UNWANTED).reply(554, "unwanted"));
    let server = match world.seed() % 2 {
        0 => server,
        _ => server.without(Extension::Pipelining),
    };
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

/// The mail executor of one member, with a pool of its own.
pub(crate) fn executor(member: &Member<SmtpServer>) -> Topology {
    let (world, server) = (member.world().clone(), member.outside().clone());
    let sink = MailSink::with(&config(), Arc::new(InMemory { world, server }), Arc::new(()));
    let retry = Retry {
        attempts: ATTEMPTS,
        first_delay: Duration::from_millis(300),
        max_delay: Duration::from_secs(2),
        ..Retry::default()
    };
    topology(&Topics::default(), member.watched(sink.unwrap()), retry)
}

fn config() -> MailConfig {
    let seconds = Duration::from_secs;
    MailConfig {
        tls: TlsMode::None,
        allowed_from_domains: vec!["example.com".into()],
        connections_max: NonZeroUsize::new(3).unwrap(),
        limits: TimeLimits {
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
        },
        probe_backoff_max: seconds(2),
        ..MailConfig::new("mail.example.com", "mailjob@example.com")
    }
}
