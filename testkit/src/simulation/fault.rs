//! Faults, and when they strike.

use std::fmt;

use super::world::Effect;
use crate::broker::{self, Operation, When};

/// When a fault strikes. Each fault strikes at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// At this poll of the scheduler, of any actor.
    Step(u64),
    /// Instead of this poll of a member, counted from 0 over all its lives.
    Poll {
        /// The member.
        member: usize,
        /// Its poll.
        poll: u64,
    },
    /// When a member has reached this moment of an effect for the nth time.
    Effect {
        /// The member.
        member: usize,
        /// The effect's name.
        effect: Effect,
        /// From 1, over all its lives.
        nth: u64,
        /// Before the effect or after it.
        when: When,
    },
}

impl Trigger {
    /// Plans a fault for this time.
    pub const fn then(self, fault: Fault) -> Planned {
        Planned { at: self, fault }
    }

    /// The same moment of an effect of another member.
    pub(super) const fn of(self, member: usize) -> Self {
        match self {
            Self::Effect { effect, nth, when, .. } => Self::Effect { member, effect, nth, when },
            Self::Step(_) | Self::Poll { .. } => self,
        }
    }
}

/// What can go wrong. Durations are numbers of polls of the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A member's future is dropped; the member is started again later.
    Crash {
        /// The member.
        member: usize,
        /// When it is started again.
        restart_after_steps: u64,
    },
    /// A member is shut down as by SIGTERM, and started again later.
    Stop {
        /// The member.
        member: usize,
        /// When it is started again, at the earliest.
        restart_after_steps: u64,
    },
    /// A member is not polled, as after SIGSTOP. If that lasts, its session runs out, and it wakes
    /// as a zombie.
    Pause {
        /// The member.
        member: usize,
        /// For how long.
        steps: u64,
        /// How long it does not learn, after it wakes, that its session has ended.
        unaware_steps: u64,
    },
    /// A member's session is ended by the broker.
    Expire {
        /// The member.
        member: usize,
        /// For how long it does not learn that.
        unaware_steps: u64,
    },
    /// Another process of a static member is started, as where two have the same
    /// `group.instance.id`: the group fences the one that runs, which goes on until it learns that.
    /// Nothing happens in runs whose members are not static.
    Replace {
        /// The member.
        member: usize,
        /// For how long the process before does not learn that.
        unaware_steps: u64,
    },
    /// Partitions of this number, of all topics that the member's group consumes, are moved to it.
    Move {
        /// The partition.
        partition: i32,
        /// The member that gets it.
        to: usize,
    },
    /// Operations fail.
    Fail {
        /// The member; `None` means the first that calls the operation.
        member: Option<usize>,
        /// The operation.
        operation: Operation,
        /// How many.
        times: usize,
        /// How.
        how: broker::Fault,
    },
    /// Operations of a kind hang.
    Hang {
        /// The member; `None` means every member.
        member: Option<usize>,
        /// The operation.
        operation: Operation,
        /// For how long.
        steps: u64,
    },
    /// The broker is away.
    Away {
        /// For how long.
        steps: u64,
    },
    /// Retention removes records from a partition of the jobs' topic: those that every group has
    /// finished, and some more, but not the last record.
    Truncate {
        /// The partition.
        partition: i32,
        /// How many unfinished offsets.
        beyond: i64,
    },
    /// The jobs' topic is deleted and created again, and the next jobs are produced into it.
    /// Nothing happens in runs whose broker accepts so little metadata that commits do not name
    /// their topic.
    Recreate {
        /// How many at once.
        jobs: usize,
    },
    /// A partition of the jobs' topic loses its last records, as by an unclean election. No new job
    /// comes until each member that had read them has polled again, or has lost the partition: a
    /// member that polls when the log has grown again can't notice the loss.
    LoseEnd {
        /// The partition.
        partition: i32,
        /// How many offsets.
        offsets: i64,
    },
    /// Another program takes a partition of the jobs' topic from its owner, whose session ends, and
    /// commits for the first group that consumes it.
    ForeignCommit {
        /// The partition.
        partition: i32,
        /// Which offset it commits.
        offset: ForeignOffset,
        /// Its metadata; `None` copies the metadata that the group has committed.
        metadata: Option<&'static str>,
    },
    /// The topics of keyed state are compacted.
    Compact,
    /// The wall clock jumps.
    ClockJump {
        /// Forward, or backward.
        milliseconds: i64,
    },
    /// A misfortune of the outside, by its name in the search.
    Outside(&'static str),
}

/// The offset that another program commits for a group, relative to what the group has committed.
/// It never skips unfinished records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignOffset {
    /// The same offset.
    Same,
    /// This many offsets below, as an operator resets a group.
    Back(i64),
    /// Far beyond the end of the log.
    BeyondTheEnd,
}

/// A fault and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// When it strikes.
    pub at: Trigger,
    /// What it is.
    pub fault: Fault,
}

/// Rust code for the value.
impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Effect { member, effect, nth, when } => write!(
                f,
                "Trigger::Effect {{ member: {member}, effect: {effect:?}, nth: {nth}, \
                 when: When::{when:?} }}"
            ),
            other => write!(f, "Trigger::{other:?}"),
        }
    }
}

/// Rust code for the value.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fail { member, operation, times, how } => write!(
                f,
                "Fault::Fail {{ member: {member:?}, operation: Operation::{operation:?}, \
                 times: {times}, how: broker::Fault::{how:?} }}"
            ),
            Self::Hang { member, operation, steps } => write!(
                f,
                "Fault::Hang {{ member: {member:?}, operation: Operation::{operation:?}, \
                 steps: {steps} }}"
            ),
            Self::ForeignCommit { partition, offset, metadata } => write!(
                f,
                "Fault::ForeignCommit {{ partition: {partition}, offset: ForeignOffset::{offset:?}, \
                 metadata: {metadata:?} }}"
            ),
            other => write!(f, "Fault::{other:?}"),
        }
    }
}

/// Rust code for the value.
impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.then({})", self.at, self.fault)
    }
}
