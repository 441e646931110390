//! A source around another one, with what a test adds to it.

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt as _};
use jobstream::position::PartitionPosition;
use jobstream::record::TopicPartition;
use jobstream::sources::{CommitError, Source, SourceError, SourceEvent};

/// A source that shows its events to `with`.
pub(crate) struct Wrapped<S, W> {
    pub(crate) source: S,
    pub(crate) with: W,
}

/// What a test adds to a source.
pub(crate) trait Watch: Send + Sync {
    /// The source is about to yield this event.
    fn on(&self, _event: &SourceEvent) {}
}

#[async_trait]
impl<S: Source, W: Watch> Source for Wrapped<S, W> {
    fn events(&self) -> BoxStream<'_, Result<SourceEvent, SourceError>> {
        let watch = |event: &Result<SourceEvent, SourceError>| {
            event.iter().for_each(|event| self.with.on(event));
        };
        self.source.events().inspect(watch).boxed()
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
