//! The whole mail job in one process: in-memory broker, shipping topology, mail sink, fake SMTP
//! server over TCP and over in-memory streams; jobs a second and CPU time a job, the server's
//! included.
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
use jobstream::sinks::smtp::{Connect, MailConfig, MailSink, Stream, TcpConnect, TlsMode};
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

/// Opens in-memory streams to the server.
struct InMemory(SmtpServer);

#[async_trait]
impl Connect for InMemory {
    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(self.0.connect()?))
    }
}

fn job(number: usize) -> ProducerRecord {
    let value = format!(
        r#"{{"Id":"{number:024x}","Name":"job1","ScheduleTime":"2024-01-01T00:00:00Z","Status":2,"JobData":{{"SourceAddress":"example@example.com","DestinationAddress":"example@example.com","Subject":"subject","Message":"{:500}"}}}}"#,
        "message"
    );
    ProducerRecord::to(Topics::default().jobs).key(format!("{number:024x}")).value(value)
}

fn broker(jobs: usize) -> Broker {
    let broker = Broker::new();
    let topics = Topics::default();
    broker.create_topic(topics.jobs, PARTITIONS);
    let latest = TopicOptions::partitions(PARTITIONS).retention(Retention::Latest(0));
    broker.create_topic(topics.results, latest);
    broker.create_topic(topics.dead_letters, 1);
    for number in 0..jobs {
        broker.produce(job(number)).expect("the topic exists");
    }
    broker
}

fn given(broker: &Broker, topic: &str) -> usize {
    let ends = broker.partitions(topic).into_iter().filter_map(|p| broker.high_watermark(&p));
    ends.sum::<i64>() as usize
}

/// Runs so many jobs; gives the time they took.
async fn pass(transport: Transport, connections: usize, jobs: usize) -> Duration {
    let broker = broker(jobs);
    let builder = SmtpServer::builder().keep(Keep::Counts).exchanges_kept(0);
    let server = builder.listen().await.expect("a port is free");
    let (address, inbox) = (server.address(), server.inbox());
    let config = MailConfig::new("127.0.0.1", "mailjob@example.com")
        .tls(TlsMode::None)
        .allowed_from_domains(vec!["example.com".into()])
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

fn main() {
    let short = std::env::args().any(|argument| argument == "--test");
    let jobs = if short { 2_000 } else { 50_000 };
    println!("{:>9} {:>12} {:>9} {:>10}", "transport", "connections", "jobs/s", "CPU us/job");
    for transport in [Transport::Tcp, Transport::Duplex] {
        for connections in [1, 8, 100] {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            let cpu = cpu_seconds();
            let took = runtime.block_on(pass(transport, connections, jobs));
            let per_job = (cpu_seconds() - cpu) * 1e6 / jobs as f64;
            let per_second = jobs as f64 / took.as_secs_f64();
            let transport = format!("{transport:?}");
            println!("{transport:>9} {connections:>12} {per_second:>9.0} {per_job:>10.1}");
        }
    }
}
