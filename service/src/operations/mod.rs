//! What the commands for a person on call share: Kafka as the service's settings have it, times,
//! tables, errors.

mod brokers;
mod error;
mod table;
mod time;

pub(crate) use brokers::Brokers;
pub(crate) use error::{OperationError, print, shown};
pub(crate) use table::{Table, plain};
pub(crate) use time::{TimeArg, now_ms, rfc3339};
