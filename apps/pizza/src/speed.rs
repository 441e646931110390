//! How fast time goes in the shop.

use std::num::NonZeroU32;
use std::time::Duration;

/// The factor by which every wait of the shop is shorter than its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Speed(NonZeroU32);

impl Speed {
    /// Waits take as long as they say.
    pub const REAL: Self = Self(NonZeroU32::MIN);

    /// Waits are shorter by this factor.
    pub const fn times(factor: NonZeroU32) -> Self {
        Self(factor)
    }

    /// How long a wait takes that is said to take so long.
    pub fn of(self, wait: Duration) -> Duration {
        wait / self.0.get()
    }
}

impl Default for Speed {
    fn default() -> Self {
        Self::REAL
    }
}
