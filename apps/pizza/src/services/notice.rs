//! What deliver hears, on its two topics.

use bytes::Bytes;
use jobstream::codec::{Codec as _, CodecError, Json};
use jobstream::record::ConsumerRecord;
use jobstream::topology::{Flow, Stage, UNDECODABLE};

use crate::customer_id::CustomerId;
use crate::order::OrderEvent;
use crate::topics;

/// News of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Notice {
    /// It was ordered, by this customer.
    Ordered(CustomerId),
    /// It is baked.
    Baked,
}

/// Reads a value as its topic has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct ReadNotice;

impl Stage<Option<Bytes>> for ReadNotice {
    type Out = Notice;

    fn apply(&self, record: &ConsumerRecord, value: Option<Bytes>) -> Flow<Notice> {
        let notice = if *record.partition.topic == *topics::BAKED {
            baked(value.as_ref())
        } else {
            ordered(value.as_ref())
        };
        notice.map_or_else(
            |error| Flow::DeadLetter { reason: UNDECODABLE, cause: error.to_string() },
            Flow::Next,
        )
    }
}

fn ordered(value: Option<&Bytes>) -> Result<Notice, CodecError> {
    let event: OrderEvent = Json::new().decode(value)?;
    Ok(Notice::Ordered(event.order.customer_id))
}

/// A baked pizza has no value; an empty one is taken, too.
fn baked(value: Option<&Bytes>) -> Result<Notice, CodecError> {
    match value {
        Some(value) if !value.is_empty() => {
            let found = value.len();
            Err(CodecError::new(format!("found a value of {found} bytes, expected none")))
        }
        _ => Ok(Notice::Baked),
    }
}
