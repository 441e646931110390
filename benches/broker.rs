//! The in-memory broker alone: records published through `Sink`, consumed through `Source`.
//!
//! `cargo bench --bench broker`; with `-- --test`, one short pass that asserts its outcome.
//!
//! 400-byte values with keys, 6 partitions, one member, one thread; a pass is from the first
//! produce to the last consume, and every record must arrive, once and in its partition's order.

#![expect(clippy::print_stdout, reason = "a bench prints its figure")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use futures::{StreamExt as _, future};
use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream::sinks::{Batch, Sink as _};
use jobstream::sources::{Source as _, SourceEvent};
use jobstream_testkit::broker::{Broker, Consumer, Producer};
use tokio::runtime::{Builder, Runtime};

const PARTITIONS: i32 = 6;
const BATCH_RECORDS: usize = 1_000;
const VALUE_BYTES: usize = 400;

fn batches(records: usize) -> Vec<Batch> {
    let record = |number: usize| {
        ProducerRecord::to("jobs").key(format!("{number:024x}")).value(vec![b'j'; VALUE_BYTES])
    };
    let numbers: Vec<_> = (0..records).collect();
    let batches = numbers.chunks(BATCH_RECORDS).map(|numbers| Batch {
        outputs: numbers.iter().copied().map(record).collect(),
        positions: Vec::new(),
    });
    batches.collect()
}

async fn publish(producer: Producer, batches: &[Batch]) {
    for batch in batches {
        producer.publish(batch).await.expect("the topic exists");
        tokio::task::yield_now().await;
    }
}

/// Consumes so many records, and asserts that they are all there.
async fn consume(consumer: &Consumer, records: usize) {
    let mut next_offset = [0; PARTITIONS as usize];
    let mut events = consumer.events();
    let mut arrived = 0;
    while arrived < records {
        let event = events.next().await.expect("the stream goes on").expect("no fault is set");
        if let SourceEvent::Record(record) = event {
            let ConsumerRecord { partition, offset, .. } = black_box(record);
            let next = &mut next_offset[partition.partition as usize];
            assert_eq!(offset, *next, "a record of {partition} is missing or came twice");
            *next += 1;
            arrived += 1;
        }
    }
    assert_eq!(next_offset.iter().sum::<i64>(), records as i64);
}

fn pass(runtime: &Runtime, batches: &[Batch]) -> Duration {
    let broker = Broker::new();
    broker.create_topic("jobs", PARTITIONS);
    let records = batches.iter().map(|batch| batch.outputs.len()).sum();
    let consumer = broker.consumer("bench", ["jobs"]).build();
    runtime.block_on(async {
        let start = tokio::time::Instant::now();
        future::join(publish(broker.producer(), batches), consume(&consumer, records)).await;
        start.elapsed()
    })
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let short = std::env::args().any(|argument| argument == "--test");
    let records = if short { 20_000 } else { 1_000_000 };
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    let batches = batches(records);

    let mut group = criterion.benchmark_group("broker");
    group.throughput(Throughput::Elements(records as u64)).sample_size(10);
    group.bench_function("publish and consume", |bencher| {
        bencher.iter_custom(|passes| (0..passes).map(|_| pass(&runtime, &batches)).sum());
    });
    group.finish();

    let elapsed = pass(&runtime, &batches);
    let per_second = records as f64 / elapsed.as_secs_f64();
    println!(
        "broker: {records} records arrived, each once and in order: {per_second:.0} records/s"
    );
    criterion.final_summary();
}
