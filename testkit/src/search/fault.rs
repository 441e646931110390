//! What goes wrong at a program, and at which of its requests.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::wire::faults::script::{self, Exact, Mistake};
use crate::wire::faults::{FaultAct, FaultMoment, FaultScriptError};

/// A moment that a program comes to by its own requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// A request of the API with this key.
    Request(i16),
    /// The request that brings a record to a topic of outputs. Records are counted one by one,
    /// however the program batches them.
    Record,
    /// A request that commits positions: OffsetCommit, or the EndTxn of a transaction that commits.
    Commit,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// What the broker does to one request, as in its scripts of faults.
    Broker(FaultAct),
    /// No answer for this time; then the connection is cut.
    Silence {
        /// Whether the request has its effect.
        applied: bool,
        /// For how long.
        time: Duration,
    },
    /// `kill -9` of the member.
    Kill {
        /// Whether the request has its effect before.
        applied: bool,
        /// When the member is started again.
        restart_after: Duration,
    },
    /// SIGTERM to the member; after [some time](super::STOPPING_LIMIT) `kill -9`.
    Stop {
        /// When the member is started again, counted from its end.
        restart_after: Duration,
    },
    /// SIGSTOP, and SIGCONT after this time.
    Pause {
        /// Whether the request has its effect before; otherwise it has it when the member goes on.
        applied: bool,
        /// For how long.
        time: Duration,
    },
    /// Another member joins the group, stays for this time with a share of the partitions, and leaves.
    Rebalance {
        /// For how long.
        stay: Duration,
    },
    /// The brokers of all members cut their connections and refuse new ones.
    Away {
        /// For how long.
        time: Duration,
    },
}

/// A fault and the moment of a member at which it strikes, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// The member, from 0.
    pub member: usize,
    /// The kind of moment.
    pub at: Point,
    /// Which of them, from 1, over all lives of the member.
    pub nth: u64,
    /// What goes wrong.
    pub act: Act,
}

const A_MEMBER: &str = "member=N, such as member=0";
const A_POINT: &str = "record, commit, or the name of an API such as produce or end-txn";
const AN_NTH: &str = "nth=N, a whole number from 1";
const END: &str = "the end of the line";

impl Planned {
    pub(super) fn parse(line: &str) -> Result<Self, Mistake> {
        let mistake = |word: &str, expected| (word.to_owned(), expected);
        let (word, rest) = script::split(line);
        let member = word.strip_prefix("member=").and_then(|number| number.parse().ok());
        let member = member.ok_or_else(|| mistake(word, A_MEMBER))?;
        let (word, rest) = script::split(rest);
        let at = match word {
            "record" => Point::Record,
            "commit" => Point::Commit,
            word => match script::moment(word) {
                Ok(FaultMoment::Api(api)) => Point::Request(api),
                _ => return Err(mistake(word, A_POINT)),
            },
        };
        let (word, rest) = script::split(rest);
        let nth = word.strip_prefix("nth=").ok_or_else(|| mistake(word, AN_NTH))?;
        let nth = script::count(nth)?;
        let (word, rest) = script::split(rest);
        Ok(Self { member, at, nth, act: Act::parse(word, rest)? })
    }
}

/// Reads one line of a schedule.
impl FromStr for Planned {
    type Err = FaultScriptError;

    fn from_str(line: &str) -> Result<Self, FaultScriptError> {
        Self::parse(line.trim()).map_err(|mistake| script::located(1, mistake))
    }
}

impl Act {
    fn parse(word: &str, rest: &str) -> Result<Self, Mistake> {
        let (value, after) = script::split(rest);
        let time = || match after.is_empty() {
            true => script::duration(value),
            false => Err((after.to_owned(), END)),
        };
        Ok(match word {
            "silence" => Self::Silence { applied: false, time: time()? },
            "apply-then-silence" => Self::Silence { applied: true, time: time()? },
            "kill" => Self::Kill { applied: false, restart_after: time()? },
            "apply-then-kill" => Self::Kill { applied: true, restart_after: time()? },
            "stop" => Self::Stop { restart_after: time()? },
            "pause" => Self::Pause { applied: false, time: time()? },
            "apply-then-pause" => Self::Pause { applied: true, time: time()? },
            "rebalance" => Self::Rebalance { stay: time()? },
            "away" => Self::Away { time: time()? },
            word => Self::Broker(script::act(word, rest)?),
        })
    }

    /// The same with another time, if it has one.
    pub(super) fn lasting(self, lasts: impl Fn(Duration) -> Duration) -> Self {
        match self {
            Self::Broker(FaultAct::Delay(time)) => Self::Broker(FaultAct::Delay(lasts(time))),
            Self::Broker(FaultAct::ApplyThenDelay(time)) => {
                Self::Broker(FaultAct::ApplyThenDelay(lasts(time)))
            }
            Self::Broker(act) => Self::Broker(act),
            Self::Silence { applied, time } => Self::Silence { applied, time: lasts(time) },
            Self::Kill { applied, restart_after } => {
                Self::Kill { applied, restart_after: lasts(restart_after) }
            }
            Self::Stop { restart_after } => Self::Stop { restart_after: lasts(restart_after) },
            Self::Pause { applied, time } => Self::Pause { applied, time: lasts(time) },
            Self::Rebalance { stay } => Self::Rebalance { stay: lasts(stay) },
            Self::Away { time } => Self::Away { time: lasts(time) },
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(api) => write!(f, "{}", FaultMoment::Api(*api)),
            Self::Record => f.write_str("record"),
            Self::Commit => f.write_str("commit"),
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = |applied| if applied { "apply-then-" } else { "" };
        match *self {
            Self::Broker(act) => write!(f, "{act}"),
            Self::Silence { applied, time } => {
                write!(f, "{}silence {}", after(applied), Exact(time))
            }
            Self::Kill { applied, restart_after } => {
                write!(f, "{}kill {}", after(applied), Exact(restart_after))
            }
            Self::Stop { restart_after } => write!(f, "stop {}", Exact(restart_after)),
            Self::Pause { applied, time } => write!(f, "{}pause {}", after(applied), Exact(time)),
            Self::Rebalance { stay } => write!(f, "rebalance {}", Exact(stay)),
            Self::Away { time } => write!(f, "away {}", Exact(time)),
        }
    }
}

/// As a line of a schedule, which reads back as the same fault.
impl fmt::Display for Planned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { member, at, nth, act } = self;
        write!(f, "member={member} {at} nth={nth} {act}")
    }
}
