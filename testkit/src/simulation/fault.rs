//! Faults, and when they strike.

use std::fmt;

use super::world::Effect;
use crate::broker::{self, Moment, Operation};

/// When a fault strikes. Each does so at most once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// At this poll of the scheduler, whoever is polled.
    Step(u64),
    /// Instead of this poll of a member, counted from 0 over all its lives.
    Poll {
        /// The member.
        member: usize,
        /// Its poll.
        poll: u64,
    },
    /// When a member has come to this moment of an effect for the nth time.
    Effect {
        /// The member.
        member: usize,
        /// The effect's name.
        effect: Effect,
        /// From 1, over all its lives.
        nth: u64,
        /// Before the effect or after it.
        moment: Moment,
    },
}

impl Trigger {
    /// The fault, at this time.
    pub const fn then(self, fault: Fault) -> Planned {
        Planned { at: self, fault }
    }
}

/// What can go wrong. What lasts, lasts for a number of polls of the scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A member's future is dropped; another is started later.
    Crash {
        /// The member.
        member: usize,
        /// When it is started again.
        restart_after_steps: u64,
    },
    /// A member is shut down as by SIGTERM, and another is started later.
    Stop {
        /// The member.
        member: usize,
        /// When it is started again, at the earliest.
        restart_after_steps: u64,
    },
    /// A member is not polled, as after SIGSTOP. Its session runs out if it lasts; then it wakes as a
    /// zombie.
    Pause {
        /// The member.
        member: usize,
        /// For how long.
        steps: u64,
        /// How long after it wakes it does not learn that its session has ended.
        unaware_steps: u64,
    },
    /// A member's session is ended by the broker.
    Expire {
        /// The member.
        member: usize,
        /// For how long it does not learn that.
        unaware_steps: u64,
    },
    /// Partitions of this number, of all topics that the member's group consumes, are moved to it.
    Move {
        /// The partition.
        partition: i32,
        /// Who gets it.
        to: usize,
    },
    /// Operations fail.
    Fail {
        /// Whose; `None` is whoever comes first.
        member: Option<usize>,
        /// Which.
        operation: Operation,
        /// How many.
        times: usize,
        /// How.
        how: broker::Fault,
    },
    /// Operations of a kind hang.
    Hang {
        /// Whose; `None` is everyone's.
        member: Option<usize>,
        /// Which.
        operation: Operation,
        /// For how long.
        steps: u64,
    },
    /// The broker is away.
    Away {
        /// For how long.
        steps: u64,
    },
    /// Retention removes records from a partition of the jobs' topic: what every group has finished,
    /// and more, but not the last one.
    Truncate {
        /// The partition.
        partition: i32,
        /// How many offsets more.
        beyond: i64,
    },
    /// The jobs' topic is deleted and created again, and the next jobs are produced into it. It stays
    /// where the broker takes so little metadata that commits do not say of which topic they are.
    Recreate {
        /// How many at once.
        jobs: usize,
    },
    /// A partition of the jobs' topic loses its last records, as by an unclean election. No job comes
    /// before who had read them has looked there, or has lost the partition: who looks when the log
    /// has grown again can't know.
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
        /// Which offset.
        offset: ForeignOffset,
        /// Its metadata; `None` is what the group has committed, copied as it is.
        metadata: Option<&'static str>,
    },
    /// The topics of keyed state are compacted.
    Compact,
    /// The wall clock jumps.
    ClockJump {
        /// Forward, or backward.
        milliseconds: i64,
    },
    /// A misfortune of the outside, by the name under which the search knows it.
    Outside(&'static str),
}

/// What another program commits for a group, by what the group has committed. It is nowhere that
/// unfinished records are passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForeignOffset {
    /// The same offset.
    Same,
    /// So many offsets below it, as an operator resets a group.
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

/// As it is written in Rust.
impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Effect { member, effect, nth, moment } => write!(
                f,
                "Trigger::Effect {{ member: {member}, effect: {effect:?}, nth: {nth}, \
                 moment: Moment::{moment:?} }}"
            ),
            other => write!(f, "Trigger::{other:?}"),
        }
    }
}

/// As it is written in Rust.
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

/// As it is written in Rust.
impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.then({})", self.at, self.fault)
    }
}
