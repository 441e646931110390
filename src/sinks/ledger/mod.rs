//! The ledger: a job sink around a job sink, which knows what was executed.
//!
//! ```text
//!  job ─▶ entry? ─▶ intent ─▶ execute ─▶ outcome ─▶ result
//!           │         │                     │
//!           │         ▼                     ▼
//!           │      durable before        durable before the result, or the next attempt
//!           ▼
//!      done: the result again · parked: stays so · intent without outcome: by policy
//! ```
//!
//! Entries lie in the keyed [state](crate::state) of the record's partition. With an exactly-once
//! pair and a store, each write is a transaction that holds the partition's position: a member that
//! has lost the partition can write none.
//!
//! # What is promised
//!
//! | the last attempt | the entry | the job, when it comes again |
//! |---|---|---|
//! | succeeded | done, durable before the result | is not executed; [`Recorded::Duplicate`] |
//! | [permanent](crate::sinks::JobErrorKind::Permanent) | none, or "not executed" where resends count; durable before the result | is executed |
//! | [transient](crate::sinks::JobErrorKind::Transient), [unavailable](crate::sinks::JobErrorKind::Unavailable) | not executed, durable before the wait | is executed |
//! | [ambiguous](crate::sinks::JobErrorKind::Ambiguous), or cut off by a crash or a lost assignment | the intent | by policy |
//!
//! With [`Resend`](crate::sinks::Ambiguous::Resend) a job is executed at most once and once more
//! for each of its ambiguous ends; each such resend is reported, and counted in its entry. With
//! [`Park`](crate::sinks::Ambiguous::Park) it is executed at most once, possibly not at all: it
//! ends as ambiguous, and stays so until a record [overrules](Ledger::overruled_by) that.
//!
//! # The end of a drain
//!
//! A partition that is asked back, or a run that shuts down, lets its jobs go on for a time. When that
//! is over, no intent is written any more; each attempt whose [effect](crate::sinks::Effect) has not
//! begun is dropped, and it is durable within the time to flush that it has not executed its job. Only
//! what is between the begin of its effect and its answer may be left in doubt, if the answer does
//! not come within that time. Where the partition is lost, or the broker is silent until then, the
//! others stay in doubt as well. Each that is left so is [reported](Event::LeftInDoubt).
//!
//! # What is not
//!
//! A member that is paused past its session, between the moment when an intent became durable and
//! the end of its attempt, goes on with that attempt when it wakes, while the partition's new owner
//! has found the intent. Such a zombie begins no further attempt, since its next intent is refused.
//! For mails: a zombie sends at most as many as it had in doubt. The new owner counts each as any
//! intent without outcome.
//!
//! Entries are known in one partition: the same job in another one is another job. Producers place
//! records by their keys, so the jobs of one ledger key must have one record key. A job whose record
//! has no key is refused, unless the ledger was built to [execute it](Ledger::executing_unkeyed).
//! Adding partitions to the input topic moves keys, and with them jobs that come again after it.
//!
//! Without an exactly-once pair nobody is fenced, and nothing of this holds.
//!
//! # Two policies
//!
//! The ledger and the topology's [retry](crate::topology::Retry::ambiguous) each say what is done with
//! an ambiguous end. The ledger's comes first: what it parks is settled, and is not tried again
//! whatever the retry says. Where the ledger resends and the retry parks, the job is finished as
//! ambiguous at its first such end, and its entry stays an intent: when the job comes again, it is
//! executed again, and that is counted. They should be the same.
//!
//! # Bounds
//!
//! Entries are removed when their record is below the frontier and they are older than
//! [`LedgerLimits::retention`], some with each write. While a partition has
//! [`LedgerLimits::entries_max`], new jobs wait, and so does intake.
//!
//! A job is *in doubt* while its intent may be durable and its outcome is not. There are at most
//! [`LedgerLimits::in_doubt_max`] such jobs, whoever executes them: a job has one of these places from
//! before its intent is written until its outcome is durable. So a process that dies leaves at most
//! so many jobs of which nobody knows whether they were executed. Those whose attempt has ended as
//! ambiguous, and that wait for their next one, are none of them: that end is counted by itself.
//!
//! # Why it is so
//!
//! It is a job sink and not a stage: it stands between a job and its execution, writes before and
//! after, and waits in between, which is what a job sink may do. It knows neither Kafka nor mail.
//! Its entries are keyed state, so restore, fencing, abort and hand-over are those of state.
//!
//! An attempt waits until its intent is durable. A send can't be taken back, and a crash may follow
//! it at once: only what was durable before shows the next owner that there is something to decide.
//! The intents of many jobs share a transaction, so the wait is one commit for all of them.
//!
//! An intent goes in a transaction with the position of its partition, although it moves none: only a
//! position lets the group refuse it. An idempotent producer without transactions would be quicker, but a
//! broker takes its records from a member that has lost the partition, too. Such a member would execute
//! each job that it has in flight, beside the new owner, who has restored before and knows of no intent;
//! and neither would count a resend.
//!
//! An attempt that certainly failed is recorded before the wait for the next one. Otherwise a crash
//! during that wait, which may take a minute, would leave an intent without an outcome, and a job
//! that was surely not sent would be parked.
//!
//! What is in doubt has a limit because without it every job in flight would be in doubt after a
//! crash, and [`Park`](crate::sinks::Ambiguous::Park) would park them all. The limit is no limit of what
//! is executed at once: a job sink has one of its own, and what it has executed waits for its
//! outcome beside the next execution. Otherwise a commit would carry no more outcomes than there are
//! connections.
//!
//! Old entries are found a few with each write. A list by age would cost memory for every entry,
//! and a sweep would stop the run. Entries lie in the order of their keys, which are hashes, so
//! each write meets entries of any age, and removes old ones faster than new ones come.
//!
//! An entry must be below the frontier to be removed, since its record could otherwise be delivered
//! again: a wall clock that jumps must not make it look old enough.
//!
//! Between the commit of an intent and the end of its attempt no broker is asked, so nothing can
//! stop a zombie there.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

mod entry;
mod event;
mod room;
mod sink;

pub use event::{Event, Observer};
pub use sink::Ledger;

/// The key of a job: a hash of what makes it the same job.
pub type LedgerKey = [u8; 16];

/// The wall clock.
pub type WallClock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// The limits of a ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LedgerLimits {
    /// How long an entry is kept at least.
    pub retention: Duration,
    /// Entries of one partition number at most; jobs that run at
    /// once may exceed it by their number.
    pub entries_max: usize,
    /// Jobs in doubt at most, of all workers that share the ledger: those whose intent is being
    /// written or is durable, and whose outcome is not. As many are left open by a crash. At least
    /// 1.
    pub in_doubt_max: usize,
}

impl LedgerLimits {
    /// A day, 1,000,000 entries, 256 jobs in doubt.
    pub const fn new() -> Self {
        Self { retention: Duration::from_secs(86_400), entries_max: 1_000_000, in_doubt_max: 256 }
    }

    /// Sets [`retention`](Self#structfield.retention).
    #[must_use]
    pub const fn retention(mut self, retention: Duration) -> Self {
        self.retention = retention;
        self
    }

    /// Sets [`entries_max`](Self#structfield.entries_max).
    #[must_use]
    pub const fn entries_max(mut self, entries_max: usize) -> Self {
        self.entries_max = entries_max;
        self
    }

    /// Sets [`in_doubt_max`](Self#structfield.in_doubt_max).
    #[must_use]
    pub const fn in_doubt_max(mut self, in_doubt_max: usize) -> Self {
        self.in_doubt_max = in_doubt_max;
        self
    }
}

impl Default for LedgerLimits {
    /// See [`new`](Self::new).
    fn default() -> Self {
        Self::new()
    }
}

/// What came of a job that the ledger has taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recorded<Out> {
    /// It was executed.
    Fresh {
        /// What the job sink made of it.
        out: Out,
        /// How often it was executed again after an end that left open whether it was.
        resends: u32,
    },
    /// It was executed before, and not again.
    Duplicate {
        /// As of [`Fresh`](Self::Fresh).
        resends: u32,
    },
}
