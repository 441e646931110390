//! What becomes of an order, and in which direction.
//!
//! ```text
//!  100 ordered ─▶ 200 in the oven ─▶ 300 on its way ─▶ -100 pending ─▶ 400 delivered
//!       │         └───────────────────────┴──────────────┘                  (final)
//!       ▼                             ▼
//!  0 cancelled (final)     -200, -500, -999, unknown: shown until one of the above comes
//! ```

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// The status of an order: its code, as events have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Status(i64);

impl Status {
    /// Received, and being prepared.
    pub const ORDERED: Self = Self(100);
    /// Assembled, and in the oven.
    pub const IN_THE_OVEN: Self = Self(200);
    /// Baked, and out for delivery.
    pub const OUT_FOR_DELIVERY: Self = Self(300);
    /// Delivered; final.
    pub const DELIVERED: Self = Self(400);
    /// Cancelled before it was in the oven; final.
    pub const CANCELLED: Self = Self(0);
    /// Baked, and the order is not known yet.
    pub const PENDING: Self = Self(-100);
    /// What an event without a status says.
    pub const UNKNOWN_ORDER: Self = Self(-200);
    /// No progress for too long.
    pub const LOST: Self = Self(-500);
    /// An event of the order can't be read.
    pub const FAILED: Self = Self(-999);

    /// The status with that code, which may be none of ours.
    pub const fn from_code(code: i64) -> Self {
        Self(code)
    }

    /// Its code.
    pub const fn code(self) -> i64 {
        self.0
    }

    /// What the customer reads.
    pub fn label(self) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::ORDERED => "Order received and being prepared",
            Self::IN_THE_OVEN => "Your pizza is in the oven",
            Self::OUT_FOR_DELIVERY => "Your pizza is out for delivery",
            Self::DELIVERED => "Your pizza was delivered",
            Self::CANCELLED => "Order has been cancelled",
            Self::PENDING => "Bear with us we are checking your order",
            Self::UNKNOWN_ORDER => "Oops! Unknown order",
            Self::LOST => "Oops! Your order has fallen through the cracks",
            Self::FAILED => "Oops! Something went wrong, we will refund your order",
            Self(code) => return Cow::Owned(format!("Oops! Unknown status ({code})")),
        })
    }

    /// Whether nothing comes after it.
    pub const fn is_final(self) -> bool {
        matches!(self, Self::DELIVERED | Self::CANCELLED)
    }

    /// Whether something is expected to come after it, so that its absence is a loss.
    pub const fn is_waiting(self) -> bool {
        !self.is_final() && !matches!(self, Self::LOST | Self::FAILED)
    }

    /// How far on its way an order is; `None` if the status does not say.
    const fn step(self) -> Option<u8> {
        match self {
            Self::ORDERED => Some(1),
            Self::IN_THE_OVEN => Some(2),
            Self::OUT_FOR_DELIVERY => Some(3),
            Self::PENDING => Some(4),
            Self::DELIVERED => Some(5),
            _ => None,
        }
    }
}

/// Where an order is: what is shown of it, and how far it is known to have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is shown.
    pub status: Status,
    /// The furthest status on its way, from [`Status::ORDERED`].
    pub furthest: Status,
}

impl Progress {
    /// An order of which nothing was heard yet.
    pub const NEW: Self = Self { status: Status::ORDERED, furthest: Status::ORDERED };

    /// Where the order is once that status is reported; `None` if that is old news.
    ///
    /// It never goes back: a status before the furthest one is passed over, and so is one that is
    /// shown already. Nothing comes after a final status, and a cancellation comes too late once
    /// the pizza is in the oven. A status that says nothing of the way is shown until one comes
    /// that is as far as the furthest, or further.
    #[must_use]
    pub fn told(self, status: Status) -> Option<Self> {
        let reached = self.furthest.step().unwrap_or_default();
        let is_news = match status.step() {
            Some(step) => step >= reached,
            None if status == Status::CANCELLED => self.furthest == Status::ORDERED,
            None => true,
        };
        if self.status.is_final() || self.status == status || !is_news {
            return None;
        }
        let furthest = if status.step().is_some() { status } else { self.furthest };
        Some(Self { status, furthest })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAY: [Status; 5] = [
        Status::ORDERED,
        Status::IN_THE_OVEN,
        Status::OUT_FOR_DELIVERY,
        Status::PENDING,
        Status::DELIVERED,
    ];
    const MISHAPS: [Status; 4] =
        [Status::UNKNOWN_ORDER, Status::LOST, Status::FAILED, Status::from_code(7)];

    fn after(told: &[Status]) -> Status {
        let take = |progress: Progress, status: &Status| progress.told(*status).unwrap_or(progress);
        told.iter().fold(Progress::NEW, take).status
    }

    #[test]
    fn every_code_has_the_label_that_customers_know() {
        for (code, label) in [
            (100, "Order received and being prepared"),
            (200, "Your pizza is in the oven"),
            (300, "Your pizza is out for delivery"),
            (400, "Your pizza was delivered"),
            (0, "Order has been cancelled"),
            (-100, "Bear with us we are checking your order"),
            (-200, "Oops! Unknown order"),
            (-500, "Oops! Your order has fallen through the cracks"),
            (-999, "Oops! Something went wrong, we will refund your order"),
            (250, "Oops! Unknown status (250)"),
        ] {
            assert_eq!(Status::from_code(code).label(), label);
        }
    }

    #[test]
    fn an_order_never_goes_back() {
        for (index, status) in WAY.into_iter().enumerate() {
            for earlier in &WAY[..=index] {
                assert_eq!(after(&[status, *earlier]), status, "{earlier:?} after {status:?}");
            }
        }
    }

    #[test]
    fn an_order_may_skip_steps() {
        for (index, status) in WAY.into_iter().enumerate() {
            for later in &WAY[index..] {
                assert_eq!(after(&[status, *later]), *later, "{later:?} after {status:?}");
            }
        }
    }

    #[test]
    fn nothing_comes_after_a_final_status() {
        for last in [Status::DELIVERED, Status::CANCELLED] {
            for status in WAY.into_iter().chain(MISHAPS).chain([Status::CANCELLED]) {
                assert_eq!(after(&[last, status]), last, "{status:?} after {last:?}");
            }
        }
    }

    #[test]
    fn an_order_is_cancelled_only_before_it_is_in_the_oven() {
        assert_eq!(after(&[Status::CANCELLED]), Status::CANCELLED);
        assert_eq!(after(&[Status::LOST, Status::CANCELLED]), Status::CANCELLED);
        for status in &WAY[1..] {
            assert_eq!(after(&[*status, Status::CANCELLED]), *status);
            assert_ne!(after(&[*status, Status::LOST, Status::CANCELLED]), Status::CANCELLED);
        }
    }

    #[test]
    fn a_mishap_is_shown_until_progress_comes_and_lets_nothing_go_back() {
        for mishap in MISHAPS {
            assert_eq!(after(&[Status::OUT_FOR_DELIVERY, mishap]), mishap);
            assert_eq!(after(&[Status::OUT_FOR_DELIVERY, mishap, Status::IN_THE_OVEN]), mishap);
            for later in &WAY[2..] {
                assert_eq!(after(&[Status::OUT_FOR_DELIVERY, mishap, *later]), *later);
            }
        }
    }

    #[test]
    fn only_an_order_that_something_is_expected_of_can_be_lost() {
        for status in [Status::DELIVERED, Status::CANCELLED, Status::LOST, Status::FAILED] {
            assert!(!status.is_waiting());
        }
        assert!(WAY[..4].iter().all(|status| status.is_waiting()));
        assert!(Status::UNKNOWN_ORDER.is_waiting());
    }
}
