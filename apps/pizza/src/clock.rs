//! The wall clock, which comes in from outside.

use std::sync::Arc;

use jobstream::record::Timestamp;
use jobstream_service::environment;

/// Gives the time, in milliseconds since 1970.
pub type WallClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The machine's clock.
pub fn system() -> WallClock {
    Arc::new(environment::timestamp)
}
