//! The whole mail job in one process: in-memory broker, shipping topology, mail sink, fake SMTP
//! server over TCP and over in-memory streams; jobs a second and CPU time a job, the server's
//! included. Then the same for mails with HTML and a file, and for signed ones.
//!
//! `cargo bench --bench mail`; with `-- --test`, one short pass. Every pass asserts at its end that
//! every job has its result and every mail arrived exactly once.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::io;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jobstream::record::ProducerRecord;
use jobstream::sinks::smtp::{
    Connect, Dkim, MailConfig, MailSink, Secret, Stream, TcpConnect, TlsMode,
};
use jobstream::topology::Retry;
use jobstream_testkit::broker::{Broker, Retention, TopicOptions};
use jobstream_testkit::smtp::{Keep, SmtpServer};
use mailjob::topology::{Topics, topology};
use tokio::runtime::Builder;
use tokio::time::Instant;

const PARTITIONS: i32 = 6;
const GROUP: &str = "bench";
/// The kernel's clock ticks a second, in which `/proc` counts CPU time.
const TICKS_PER_SECOND: f64 = 100.0;

/// What the conversations run over.
#[derive(Clone, Copy, Debug)]
enum Transport {
    Tcp,
    Duplex,
}

/// What the mails are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Text of 500 bytes.
    Plain,
    /// The same with HTML of 2 KB and a file of 24 KB.
    Parts,
    /// Text, signed with RSA of 2,048 bits.
    Rsa,
    /// Text, signed with Ed25519.
    Ed25519,
}

impl Kind {
    fn dkim(self) -> Option<Dkim> {
        let pem = match self {
            Self::Plain | Self::Parts => return None,
            Self::Rsa => include_str!("../tests/keys/rsa.pem"),
            Self::Ed25519 => include_str!("../tests/keys/ed25519.pem"),
        };
        Some(Dkim::new("bench", "example.com", &Secret::new(pem)).expect("a good key"))
    }
}

/// Opens in-memory streams to the server.
struct InMemory(SmtpServer);

#[async_trait]
impl Connect for InMemory {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(self.0.connect()?))
    }
}

fn job(number: usize, kind: Kind) -> ProducerRecord {
    let more = match kind {
        Kind::Parts => format!(
            r#","Html":"<p>{:2000}</p>","Attachments":[{{"Name":"invoice.pdf","ContentType":"application/pdf","Content":"{}"}}]"#,
            "message",
            "JVBERi0x".repeat(4_000)
        ),
        _ => String::new(),
    };
    let value = format!(
        r#"{{"Id":"{number:024x}","Name":"job1","ScheduleTime":"2024-01-01T00:00:00Z","Status":2,"JobData":{{"SourceAddress":"example@example.com","DestinationAddress":"example@example.com","Subject":"subject","Message":"{:500}"{more}}}}}"#,
        "message"
    );
    ProducerRecord::to(Topics::default().jobs).key(format!("{number:024x}")).value(value)
}

fn broker(jobs: usize, kind: Kind) -> Broker {
    let broker = Broker::new();
    let topics = Topics::default();
    broker.create_topic(topics.jobs, PARTITIONS);
    let latest = TopicOptions::partitions(PARTITIONS).retention(Retention::Latest(0));
    broker.create_topic(topics.results, latest);
    broker.create_topic(topics.dead_letters, 1);
    for number in 0..jobs {
        broker.produce(job(number, kind)).expect("the topic exists");
    }
    broker
}

fn given(broker: &Broker, topic: &str) -> usize {
    let ends = broker.partitions(topic).into_iter().filter_map(|p| broker.high_watermark(&p));
    ends.sum::<i64>() as usize
}

/// Runs so many jobs; gives the time they took.
async fn pass(transport: Transport, connections: usize, jobs: usize, kind: Kind) -> Duration {
    let broker = broker(jobs, kind);
    let builder = SmtpServer::builder().keep(Keep::Counts).exchanges_kept(0);
    let server = builder.listen().await.expect("a port is free");
    let (address, inbox) = (server.address(), server.inbox());
    let config = MailConfig::new("127.0.0.1", "mailjob@example.com")
        .tls(TlsMode::None)
        .allowed_from_domains(vec!["example.com".into()])
        .dkim(kind.dkim())
        .connections_max(NonZeroUsize::new(connections).expect("at least one connection"));
    let connect: Arc<dyn Connect> = match transport {
        Transport::Tcp => Arc::new(TcpConnect::new("127.0.0.1", address.port())),
        Transport::Duplex => Arc::new(InMemory(server)),
    };
    let sink = MailSink::with(&config, connect, Arc::new(())).expect("the settings are good");
    let topology = topology(&Topics::default(), Arc::new(sink), Retry::default());
    let source = broker.consumer(GROUP, [Topics::default().jobs]).build();
    let all = broker.until(|broker| given(broker, &Topics::default().results) == jobs);
    let start = Instant::now();
    let drained = topology.run(&source, &broker.producer(), all).await.expect("no fault is set");
    let took = start.elapsed();
    assert_eq!(drained.unfinished, 0);
    assert!(broker.has_caught_up(GROUP, &Topics::default().jobs));
    let counts = inbox.counts();
    assert_eq!((counts.len(), inbox.count()), (jobs, jobs as u64), "each mail once");
    took
}

/// CPU time of this process.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc is there");
    let fields = stat.rsplit(')').next().expect("the name ends").split_whitespace();
    let ticks = fields.skip(11).take(2).map(|ticks| ticks.parse::<f64>().expect("a number"));
    ticks.sum::<f64>() / TICKS_PER_SECOND
}

/// Runs so many jobs; gives jobs a second, and CPU time a job in microseconds.
fn measured(transport: Transport, connections: usize, jobs: usize, kind: Kind) -> (f64, f64) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let cpu = cpu_seconds();
    let took = runtime.block_on(pass(transport, connections, jobs, kind));
    let jobs = jobs as f64;
    (jobs / took.as_secs_f64(), (cpu_seconds() - cpu) * 1e6 / jobs)
}

fn main() {
    let short = std::env::args().any(|argument| argument == "--test");
    let jobs = if short { 2_000 } else { 50_000 };
    println!("{:>9} {:>12} {:>9} {:>10}", "transport", "connections", "jobs/s", "CPU us/job");
    for transport in [Transport::Tcp, Transport::Duplex] {
        for connections in [1, 8, 100] {
            let (a_second, cpu) = measured(transport, connections, jobs, Kind::Plain);
            let transport = format!("{transport:?}");
            println!("{transport:>9} {connections:>12} {a_second:>9.0} {cpu:>10.1}");
        }
    }
    println!("\n{:>9} {:>12} {:>9} {:>10}", "mails", "connections", "jobs/s", "CPU us/job");
    // Those with a file fill the memory, and those that are signed with RSA take their time.
    let jobs = jobs / 10;
    for kind in [Kind::Plain, Kind::Parts, Kind::Rsa, Kind::Ed25519] {
        let (a_second, cpu) = measured(Transport::Duplex, 8, jobs, kind);
        println!("{:>9} {:>12} {a_second:>9.0} {cpu:>10.1}", format!("{kind:?}"), 8);
    }
}
