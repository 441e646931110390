//! The shipping mail topology with a job sink that answers at once, beside a hand-written consume,
//! decode, produce loop over the same broker.
//!
//! `cargo bench --bench topology`; with `-- --test`, one short pass that asserts its outcome.
//!
//! 400-byte jobs with keys, 6 partitions, one thread, a commit a second; a pass is from the start of
//! the worker to its last commit. Neither ever waits, so that on a machine that does other work too
//! the ratio of CPU time means more than that of the clock. Every record must have its result and be
//! committed. The loop does what the topology promises for this input and no more: same decode, same
//! splice, same headers.

#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use criterion::{Criterion, Throughput};
use futures::{FutureExt as _, StreamExt as _};
use jobstream::codec::Codec as _;
use jobstream::job::{Job, JobCodec, JobStatus};
use jobstream::position::{PartitionPosition, Position};
use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream::sinks::smtp::Accepted;
use jobstream::sinks::{Batch, JobError, JobSink, Sink as _};
use jobstream::sources::{Source as _, SourceEvent};
use jobstream::topology::{Limits, Retry, Topology};
use jobstream_testkit::broker::{Broker, Retention, TopicOptions};
use mailjob::topology::{Topics, topology};
use tokio::runtime::{Builder, Runtime};
use tokio::time::Instant;

const PARTITIONS: i32 = 6;
const GROUP: &str = "bench";
const COMMIT_INTERVAL: Duration = Duration::from_secs(1);
/// What the hand-written loop publishes at once.
const BATCH_RECORDS: usize = 1_000;
/// Jobs that are produced and not committed, at most, where memory is measured.
const BACKLOG_RECORDS: usize = 8_000;
const PAIRS: usize = 5;
/// Makes this program one measured pass of so many records.
const MEMORY_VARIABLE: &str = "TOPOLOGY_BENCH_MEMORY_RECORDS";
/// Makes this program some passes of so many records, of which it tells the least CPU time: see
/// scripts/observer-cost.
const PASS_VARIABLE: &str = "TOPOLOGY_BENCH_PASS_RECORDS";
const PASSES: usize = 5;

fn job(number: usize) -> ProducerRecord {
    let value = format!(
        r#"{{"Id":"{number:024x}","Name":"job1","ScheduleTime":"2024-01-01T00:00:00Z","CreatedAt":"2023-06-30T16:50:46.3042083Z","UpdatedAt":"2023-06-30T16:50:46.3042086Z","Status":2,"JobData":{{"SourceAddress":"example@example.com","DestinationAddress":"example@example.com","Subject":"subject","Message":"{:88}"}}}}"#,
        "message"
    );
    debug_assert_eq!(value.len(), 400);
    ProducerRecord::to("topic-job-run").key(format!("{number:024x}")).value(value)
}

/// A job sink that answers at once.
struct AtOnce {
    message_id: String,
}

#[async_trait]
impl JobSink<Job, Accepted> for AtOnce {
    async fn execute(&self, _: &Job, _: &ConsumerRecord) -> Result<Accepted, JobError> {
        Ok(Accepted { message_id: self.message_id.clone(), reply: String::new(), relay: None })
    }
}

fn at_once() -> AtOnce {
    AtOnce { message_id: "<00000000000000000000000000000000@example.com>".into() }
}

fn broker(retention: Retention) -> Broker {
    let broker = Broker::new();
    let Topics { jobs, results, dead_letters } = Topics::default();
    broker.create_topic(jobs, TopicOptions::partitions(PARTITIONS).retention(retention));
    let latest = Retention::Latest(0);
    broker.create_topic(results, TopicOptions::partitions(PARTITIONS).retention(latest));
    broker.create_topic(dead_letters, 1);
    broker
}

/// Ends of the partitions of a topic, added up: how many records it was given.
fn given(broker: &Broker, topic: &str) -> usize {
    let ends = broker.partitions(topic).into_iter().filter_map(|p| broker.high_watermark(&p));
    ends.sum::<i64>() as usize
}

/// Committed offsets of all partitions, added up.
fn committed(broker: &Broker) -> usize {
    broker.committed(GROUP).values().map(|committed| committed.offset).sum::<i64>() as usize
}

/// Asserts that every record met its fate: a result each, no dead letter, and all committed.
fn check(broker: &Broker, records: usize) {
    let Topics { jobs, results, dead_letters } = Topics::default();
    assert_eq!(given(broker, &results), records, "results");
    assert_eq!(given(broker, &dead_letters), 0, "dead letters");
    assert_eq!(committed(broker), records, "committed");
    assert!(broker.has_caught_up(GROUP, &jobs));
}

fn shipping_topology(commit_interval: Duration) -> Topology {
    let limits = Limits::new().commit_interval(commit_interval);
    topology(&Topics::default(), Arc::new(at_once()), Retry::default()).with_limits(limits)
}

async fn run_topology(broker: &Broker, records: usize, commit_interval: Duration) {
    let source = broker.consumer(GROUP, [Topics::default().jobs]).build();
    let results = Topics::default().results;
    let all = broker.until(|broker| given(broker, &results) == records);
    let drained = shipping_topology(commit_interval).run(&source, &broker.producer(), all).await;
    assert_eq!(drained.expect("no fault is set").unfinished, 0);
}

/// What one would write by hand: it stops at nothing, forgets nothing, and knows no faults.
async fn run_loop(broker: &Broker, records: usize) {
    let (sink, job_sink, results) = (broker.producer(), at_once(), Topics::default().results);
    let source = broker.consumer(GROUP, [Topics::default().jobs]).build();
    let mut events = source.events();
    let mut positions: Vec<PartitionPosition> = Vec::new();
    let (mut done, mut batch) = (0, Batch::default());
    let mut commit_at = Instant::now() + COMMIT_INTERVAL;
    while done < records {
        let ready = match batch.outputs.len() {
            0 => Some(events.next().await),
            _ => events.next().now_or_never(),
        };
        match ready.flatten().map(|event| event.expect("no fault is set")) {
            Some(SourceEvent::Record(record)) => {
                let frontier = Position::at(record.offset + 1);
                match positions.iter_mut().find(|known| known.partition == record.partition) {
                    Some(known) => known.position = frontier,
                    None => positions.push(PartitionPosition {
                        partition: record.partition.clone(),
                        generation: record.generation,
                        position: frontier,
                    }),
                }
                let job = JobCodec.decode(record.value.as_ref()).expect("a job");
                assert!(job.is_runnable() && job.is_email(), "no other job is produced");
                let accepted = job_sink.execute(&job, &record).await.expect("it always answers");
                let mut result = ProducerRecord::to(results.clone());
                result.value = Some(job.result(JobStatus::Succeeded));
                (result.key, result.headers) = (record.key, record.headers);
                result.headers.set("job-attempts", Bytes::from_static(b"1"));
                result.headers.set("job-outcome", Bytes::from_static(b"accepted"));
                result.headers.set("job-message-id", accepted.message_id);
                batch.outputs.push(result);
                if batch.outputs.len() < BATCH_RECORDS {
                    continue;
                }
            }
            Some(_) => continue,
            None => {}
        }
        done += batch.outputs.len();
        sink.publish(&batch).await.expect("no fault is set");
        batch.outputs.clear();
        if done == records || Instant::now() >= commit_at {
            source.commit(&positions).await.expect("no fault is set");
            commit_at = Instant::now() + COMMIT_INTERVAL;
        }
        tokio::task::yield_now().await;
    }
}

#[derive(Clone, Copy)]
enum Contender {
    Topology,
    Loop,
}

/// What a pass took: of the clock, and of this thread's CPU.
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

fn pass(runtime: &Runtime, contender: Contender, jobs: &[ProducerRecord]) -> Took {
    let broker = broker(Retention::Everything);
    for job in jobs {
        broker.produce(job.clone()).expect("the topic exists");
    }
    runtime.block_on(async {
        let (start, cpu) = (Instant::now(), cpu_time());
        match contender {
            Contender::Topology => run_topology(&broker, jobs.len(), COMMIT_INTERVAL).await,
            Contender::Loop => run_loop(&broker, jobs.len()).await,
        }
        let took = Took { wall: start.elapsed(), cpu: cpu_time() - cpu };
        check(&broker, jobs.len());
        took
    })
}

/// Runs so many records through the topology, and prints the peak memory of this process in KiB.
/// Records are produced no faster than they are committed, which is when retention drops them.
fn memory_pass(runtime: &Runtime, records: usize) {
    let broker = broker(Retention::Unconsumed);
    let produce = async {
        for number in 0..records {
            if number % 1_000 == 0 {
                broker.until(|broker| number < committed(broker) + BACKLOG_RECORDS).await;
            }
            broker.produce(job(number)).expect("the topic exists");
        }
    };
    let often = Duration::from_millis(5);
    runtime.block_on(async { futures::join!(run_topology(&broker, records, often), produce) });
    check(&broker, records);
    let status = std::fs::read_to_string("/proc/self/status").expect("a Linux");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    println!("{}", peak.trim().trim_end_matches(" kB"));
}

/// Runs so many records through the topology several times, and prints the least CPU time of a pass,
/// in microseconds.
fn cheapest_pass(runtime: &Runtime, records: usize) {
    let jobs: Vec<_> = (0..records).map(job).collect();
    let took = (0..PASSES).map(|_| pass(runtime, Contender::Topology, &jobs).cpu).min();
    println!("{}", took.expect("a pass").as_micros());
}

/// The peak memory of a pass in a process of its own, in KiB.
fn peak_memory_kib(records: usize) -> f64 {
    let program = std::env::current_exe().expect("this program");
    let mut command = std::process::Command::new(program);
    let output = command.env(MEMORY_VARIABLE, records.to_string()).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number of KiB")
}

fn median(mut ratios: Vec<f64>) -> f64 {
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

fn main() {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    if let Ok(records) = std::env::var(MEMORY_VARIABLE) {
        return memory_pass(&runtime, records.parse().expect("a number of records"));
    }
    if let Ok(records) = std::env::var(PASS_VARIABLE) {
        return cheapest_pass(&runtime, records.parse().expect("a number of records"));
    }
    let mut criterion = Criterion::default().configure_from_args();
    let short = std::env::args().any(|argument| argument == "--test");
    let records = if short { 20_000 } else { 200_000 };
    let jobs: Vec<_> = (0..records).map(job).collect();

    let mut group = criterion.benchmark_group("mail topology in memory");
    group.throughput(Throughput::Elements(records as u64)).sample_size(10);
    let contenders =
        [("shipping topology", Contender::Topology), ("hand-written loop", Contender::Loop)];
    for (name, contender) in contenders {
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|passes| {
                (0..passes).map(|_| pass(&runtime, contender, &jobs).wall).sum()
            });
        });
    }
    group.finish();

    let pairs: Vec<_> = (0..PAIRS)
        .map(|_| [Contender::Topology, Contender::Loop].map(|it| pass(&runtime, it, &jobs)))
        .collect();
    let ratio = |of: fn(&Took) -> Duration| {
        let ratio = |[ours, theirs]: &[Took; 2]| of(theirs).as_secs_f64() / of(ours).as_secs_f64();
        median(pairs.iter().map(ratio).collect())
    };
    let (wall, cpu) = (ratio(|took| took.wall), ratio(|took| took.cpu));
    println!(
        "topology: {records} records, {wall:.2} of the hand-written loop's records/s, {cpu:.2} of \
         its records per second of CPU"
    );

    let (few, many) = if short { (20_000, 100_000) } else { (100_000, 1_000_000) };
    let (few_kib, many_kib) = (peak_memory_kib(few), peak_memory_kib(many));
    println!(
        "topology: peak memory {few_kib:.0} KiB at {few} records, {many_kib:.0} KiB at {many}: {:.2}",
        many_kib / few_kib
    );
    criterion.final_summary();
}
