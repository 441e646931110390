//! The wall clock, which comes in from outside.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use jobstream::record::Timestamp;

/// Gives the time, in milliseconds since 1970.
pub type WallClock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// The machine's clock.
pub fn system() -> WallClock {
    Arc::new(|| {
        #[expect(clippy::disallowed_methods, reason = "this is where the clock comes in")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        now.ok().and_then(|now| i64::try_from(now.as_millis()).ok()).unwrap_or_default()
    })
}
