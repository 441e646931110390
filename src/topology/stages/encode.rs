//! Encoding: from what came of a record to the records that are published for it.

use crate::codec::CodecError;
use crate::record::{ConsumerRecord, ProducerRecord};

/// The last stage: makes the outputs of a record, to any number of topics. Closures implement it.
///
/// The outputs of one record are published together, in order; with none, the record is finished
/// at once.
pub trait Encode<T>: Send + Sync {
    /// Makes the outputs. `record` is what `item` came from; its key and headers travel only if
    /// they are copied here.
    ///
    /// # Errors
    /// If `item` has no form in bytes: the record becomes a dead letter with this as its cause.
    fn encode(&self, record: &ConsumerRecord, item: T) -> Result<Vec<ProducerRecord>, CodecError>;
}

impl<T, F> Encode<T> for F
where
    F: Fn(&ConsumerRecord, T) -> Result<Vec<ProducerRecord>, CodecError> + Send + Sync,
{
    fn encode(&self, record: &ConsumerRecord, item: T) -> Result<Vec<ProducerRecord>, CodecError> {
        self(record, item)
    }
}
