//! A member under test: a Kafka source that can be frozen.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use jobstream::kafka::{KafkaEvent, KafkaObserver};
use jobstream::position::PartitionPosition;
use jobstream::record::TopicPartition;
use jobstream::sources::kafka::KafkaSource;
use jobstream::sources::{CommitError, Source, SourceError, SourceEvent};

pub(crate) struct Member {
    pub(crate) source: KafkaSource,
    pub(crate) group: String,
    pub(crate) client_id: String,
    pub(crate) freezer: std::sync::Arc<Freezer>,
}

#[async_trait]
impl Source for Member {
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
        self.source.commit(positions).await
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Brake {
    #[default]
    Off,
    Asked,
    On,
}

/// An observer that can stop the thread which polls, for good: no rebalance is answered any more.
#[derive(Debug, Default)]
pub(crate) struct Freezer {
    brake: Mutex<Brake>,
    never: Condvar,
}

impl Freezer {
    /// Completes when the thread stands still.
    pub(crate) async fn freeze(&self) {
        *self.brake.lock().unwrap() = Brake::Asked;
        while *self.brake.lock().unwrap() != Brake::On {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl KafkaObserver for Freezer {
    fn on(&self, _event: &KafkaEvent<'_>) {
        let mut brake = self.brake.lock().unwrap();
        while *brake != Brake::Off {
            *brake = Brake::On;
            brake = self.never.wait(brake).unwrap();
        }
    }
}
