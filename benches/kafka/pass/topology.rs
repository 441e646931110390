//! The shipping topology between source and sink on Kafka, with the default limits.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use futures::stream::BoxStream;
use jobstream::job::Job;
use jobstream::kafka::exactly_once;
use jobstream::position::PartitionPosition;
use jobstream::record::{ConsumerRecord, TopicPartition};
use jobstream::sinks::kafka::KafkaSink;
use jobstream::sinks::smtp::Accepted;
use jobstream::sinks::{Batch, Commits, JobError, JobSink, Published, Sink, SinkError};
use jobstream::sources::kafka::KafkaSource;
use jobstream::sources::{CommitError, Source, SourceError, SourceEvent};
use jobstream::topology::{Retry, Worker};
use mailjob::topology::{Topics, topology};
use tokio::runtime::Builder;
use tokio::sync::Notify;

use super::properties;
use super::timing::Timing;
use crate::process::Role;

/// What the mail sink names a mail that was accepted.
pub(super) const MESSAGE_ID: &str = "<00000000000000000000000000000000@example.com>";

pub(crate) fn run(role: &Role) {
    // As the service has it.
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let timing = runtime.block_on(work(role));
    let figure = serde_json::to_string(&timing.figure(role.records)).expect("a figure");
    println!("{figure}");
}

async fn work(role: &Role) -> Arc<Timing> {
    let timing = Arc::new(Timing::default());
    let topics = Topics {
        jobs: role.input.as_str().into(),
        results: role.output.as_str().into(),
        dead_letters: "dead-letters".into(),
    };
    let at_once = Arc::new(AtOnce { timing: timing.clone() });
    let topology = topology(&topics, at_once, Retry::default());
    let all = Arc::new(Notify::new());
    let worker = worker(role, &timing, &all).await;
    let drained = topology.run_workers(&[worker], all.notified()).await;
    assert_eq!(drained.expect("no fault is set").unfinished, 0);
    timing
}

/// The ends, with a look at what is acknowledged.
async fn worker(role: &Role, timing: &Arc<Timing>, all: &Arc<Notify>) -> Worker {
    let (config, topics) = (properties::config(role), [role.input.as_str()]);
    let (source, sink): (Box<dyn Source>, Box<dyn Sink>) = match role.is_exactly_once {
        true => {
            let pair = exactly_once(&config, &role.output, topics, &role.output).await;
            let (source, sink) = pair.expect("the broker is there");
            (Box::new(source), Box::new(sink))
        }
        false => (
            Box::new(KafkaSource::new(&config, &role.output, topics).expect("a client")),
            Box::new(KafkaSink::new(&config).expect("a client")),
        ),
    };
    let left = AtomicUsize::new(role.records);
    let sink = TimedSink { sink, timing: timing.clone(), left, all: all.clone() };
    Worker {
        source: Box::new(TimedSource { source, timing: timing.clone() }),
        sink: Box::new(sink),
        store: None,
    }
}

/// A job sink that answers at once.
struct AtOnce {
    timing: Arc<Timing>,
}

#[async_trait]
impl JobSink<Job, Accepted> for AtOnce {
    async fn execute(&self, _: &Job, _: &ConsumerRecord) -> Result<Accepted, JobError> {
        self.timing.begin();
        Ok(Accepted { message_id: MESSAGE_ID.into(), reply: String::new(), relay: None })
    }
}

struct TimedSource {
    source: Box<dyn Source>,
    timing: Arc<Timing>,
}

#[async_trait]
impl Source for TimedSource {
    fn events(&self) -> BoxStream<'_, Result<SourceEvent, SourceError>> {
        self.source.events()
    }

    fn pause(&self, partitions: &[TopicPartition]) {
        self.source.pause(partitions);
    }

    fn resume(&self, partitions: &[TopicPartition]) {
        self.source.resume(partitions);
    }

    async fn commit(&self, positions: &[PartitionPosition]) -> Result<(), CommitError> {
        let committed = self.source.commit(positions).await;
        self.timing.mark();
        committed
    }

    fn window_offsets(&self) -> i64 {
        self.source.window_offsets()
    }

    async fn release(&self, partitions: &[TopicPartition]) -> Result<(), SourceError> {
        self.source.release(partitions).await
    }

    async fn close(&self) -> Result<(), SourceError> {
        self.source.close().await
    }
}

struct TimedSink {
    sink: Box<dyn Sink>,
    timing: Arc<Timing>,
    /// Results that are not acknowledged.
    left: AtomicUsize,
    all: Arc<Notify>,
}

#[async_trait]
impl Sink for TimedSink {
    async fn publish(&self, batch: &Batch) -> Result<Published, SinkError> {
        let published = self.sink.publish(batch).await?;
        self.timing.mark();
        let outputs = batch.outputs.len();
        if self.left.fetch_sub(outputs, Ordering::Relaxed) == outputs {
            self.all.notify_one();
        }
        Ok(published)
    }

    fn commits(&self) -> Commits {
        self.sink.commits()
    }

    async fn close(&self) -> Result<(), SinkError> {
        self.sink.close().await
    }
}
