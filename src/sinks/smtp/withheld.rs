//! Slots that are left out, since the server has fewer connections for us than we are allowed.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::gauge::Gauge;

/// How long a slot that the server did not want is left out, in seconds; then one at a time comes back.
const WITHHELD_SECONDS: u64 = 60;

/// The number of them; the observer is notified when it changes.
pub(super) struct Withheld {
    slots: usize,
    one_back_at: Option<Instant>,
    gauge: Arc<Gauge>,
}

impl Withheld {
    pub(super) const fn new(gauge: Arc<Gauge>) -> Self {
        Self { slots: 0, one_back_at: None, gauge }
    }

    /// Leaves out one more.
    pub(super) fn add(&mut self) {
        self.set(self.slots + 1);
        self.one_back_at = Some(Instant::now() + Duration::from_secs(WITHHELD_SECONDS));
    }

    /// Takes one back, if it is time to try whether the server has room again; gives their number.
    pub(super) fn take_due(&mut self) -> usize {
        if self.slots == 0 {
            return 0;
        }
        let now = Instant::now();
        if self.one_back_at.is_none_or(|at| at > now) {
            return 0;
        }
        self.one_back_at = Some(now + Duration::from_secs(WITHHELD_SECONDS));
        self.take_one()
    }

    /// Takes one back, if there is one; gives their number.
    pub(super) fn take_one(&mut self) -> usize {
        let taken = self.slots.min(1);
        self.set(self.slots - taken);
        taken
    }

    /// Takes all of them back; gives their number.
    pub(super) fn take_all(&mut self) -> usize {
        let taken = self.slots;
        self.set(0);
        taken
    }

    fn set(&mut self, slots: usize) {
        if std::mem::replace(&mut self.slots, slots) != slots {
            self.gauge.left_out(slots);
        }
    }
}
