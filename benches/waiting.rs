//! What jobs that wait for a retry cost the others: the shipping mail topology over 60,000 jobs,
//! alone and behind 1,024 that a server greylists, as many as may execute at once.
//!
//! `cargo bench --bench waiting`; with `-- --test`, one short pass that asserts its outcome.
//!
//! 6 partitions, one thread, the default limits and waits. A pass is from the start of the worker to
//! the last result of the others, which all have one before the first greylisted job does. The passes
//! are made in turns; the ratio is that of the quickest ones, by the clock and by this thread's CPU
//! time.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jobstream::job::Job;
use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream::sinks::smtp::Accepted;
use jobstream::sinks::{JobError, JobSink};
use jobstream::topology::{Event, Limits, Retry};
use jobstream_testkit::broker::{Broker, TopicOptions};
use mailjob::topology::{Topics, topology};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

const PARTITIONS: i32 = 6;
const GROUP: &str = "bench";
/// Sets another number of others: for a build that is not optimised.
const SHORTER_VARIABLE: &str = "WAITING_BENCH_OTHERS";
const OTHERS: usize = 60_000;
const TURNS: usize = 7;

fn job(name: &str, number: usize) -> ProducerRecord {
    let id = format!("{name}-{number}");
    let value = format!(
        r#"{{"Id":"{id}","Status":2,"JobData":{{"SourceAddress":"a@example.com","DestinationAddress":"b@example.com","Subject":"subject","Message":"{:256}"}}}}"#,
        "message"
    );
    ProducerRecord::to(Topics::default().jobs).key(id).value(value)
}

/// Takes every mail at once, but for those that it greylists.
struct Greylisting;

#[async_trait]
impl JobSink<Job, Accepted> for Greylisting {
    async fn execute(&self, job: &Job, _: &ConsumerRecord) -> Result<Accepted, JobError> {
        if job.id().starts_with("greylisted") {
            return Err(JobError::transient("451 4.7.1 greylisted, come back later"));
        }
        Ok(Accepted {
            message_id: format!("<{}@example.com>", job.id()),
            reply: String::new(),
            relay: None,
        })
    }
}

struct Took {
    wall: Duration,
    cpu: Duration,
}

/// The CPU time of this thread so far.
fn cpu_time() -> Duration {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").expect("a Linux");
    let nanos = statistics.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.expect("a number of nanoseconds"))
}

fn pass(runtime: &Runtime, greylisted: usize, others: usize) -> Took {
    let (broker, topics) = (Broker::new(), Topics::default());
    for topic in [&topics.jobs, &topics.results, &topics.dead_letters] {
        broker.create_topic(topic.clone(), TopicOptions::partitions(PARTITIONS));
    }
    let waiting = (0..greylisted).map(|number| job("greylisted", number));
    for job in waiting.chain((0..others).map(|number| job("other", number))) {
        broker.produce(job).expect("the topic exists");
    }
    let retried = Arc::new(AtomicUsize::new(0));
    let seen = retried.clone();
    let observer = Arc::new(move |event: &Event<'_>| {
        if matches!(event, Event::Retried { attempt: 1, .. }) {
            seen.fetch_add(1, Ordering::Relaxed);
        }
    });
    let results = || {
        let ends = broker.partitions(&topics.results).into_iter();
        ends.filter_map(|partition| broker.high_watermark(&partition)).sum::<i64>() as usize
    };
    let topology =
        topology(&topics, Arc::new(Greylisting), Retry::default()).with_observer(observer);
    // The shutdown does not wait for jobs that wait for another attempt.
    let limits = Limits::new().shutdown_timeout(Duration::ZERO);
    let topology = topology.with_limits(limits);
    let (took, drained) = runtime.block_on(async {
        let source = broker.consumer(GROUP, [topics.jobs.clone()]).build();
        let (start, cpu) = (Instant::now(), cpu_time());
        let mut took = None;
        let all = async {
            broker.until(|_| results() == others).await;
            took = Some(Took { wall: start.elapsed(), cpu: cpu_time() - cpu });
        };
        let drained = topology.run(&source, &broker.producer(), all).await;
        (took.expect("it ends by the shutdown"), drained.expect("no fault is set"))
    });
    assert_eq!(retried.load(Ordering::Relaxed), greylisted, "all of them wait");
    assert_eq!(results(), others, "the others are done");
    assert!(drained.unfinished <= greylisted, "found {} unfinished", drained.unfinished);
    took
}

fn main() {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let waiting = Limits::default().executing_records;
    if std::env::args().any(|argument| argument == "--test") {
        pass(&runtime, waiting, 3_000);
        return println!("waiting: {waiting} greylisted jobs wait, 3,000 others are done");
    }
    let shorter = std::env::var(SHORTER_VARIABLE).ok().and_then(|others| others.parse().ok());
    let others = shorter.unwrap_or(OTHERS);
    let mut quickest: [Option<Took>; 2] = [None, None];
    for _ in 0..TURNS {
        for (quickest, greylisted) in quickest.iter_mut().zip([0, waiting]) {
            let took = pass(&runtime, greylisted, others);
            let least = quickest.get_or_insert(Took { wall: took.wall, cpu: took.cpu });
            least.wall = least.wall.min(took.wall);
            least.cpu = least.cpu.min(took.cpu);
        }
    }
    let [Some(alone), Some(beside)] = quickest else { unreachable!("there are some turns") };
    for (took, greylisted) in [(&alone, 0), (&beside, waiting)] {
        let rate = others as f64 / took.wall.as_secs_f64();
        let micros = took.cpu.as_secs_f64() * 1e6 / others as f64;
        println!("{greylisted:>5} wait: {rate:>9.0} others/s, {micros:.2} us of CPU each");
    }
    let wall = alone.wall.as_secs_f64() / beside.wall.as_secs_f64();
    let cpu = alone.cpu.as_secs_f64() / beside.cpu.as_secs_f64();
    println!("ratio of speed: {wall:.3} by the clock, {cpu:.3} by CPU time; the bar is 0.9");
}
