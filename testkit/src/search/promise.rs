//! What a program promises, and how a play has shown that it does not keep it.

use std::fmt;

/// What is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// Each job has an output; nothing is committed that has none.
    AtLeastOnce,
    /// The same, and no job has two outputs for a `read_committed` reader.
    ExactlyOnce,
    /// Each job has one mail; nothing is committed that has none.
    OneMail,
    /// Each job has one HTTP request that was answered with 200; nothing is committed that has none.
    OneRequest,
}

impl Promise {
    /// What is counted for it, as one thing.
    pub(super) const fn effect(self) -> &'static str {
        match self {
            Self::AtLeastOnce | Self::ExactlyOnce => "output",
            Self::OneMail => "mail",
            Self::OneRequest => "request",
        }
    }

    /// Whether a job may have one effect at most.
    pub(super) const fn is_once(self) -> bool {
        !matches!(self, Self::AtLeastOnce)
    }

    /// Whether it is about topics of outputs.
    pub(super) const fn is_about_outputs(self) -> bool {
        matches!(self, Self::AtLeastOnce | Self::ExactlyOnce)
    }
}

/// As on a command line.
impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AtLeastOnce => "at-least-once",
            Self::ExactlyOnce => "exactly-once",
            Self::OneMail => "one-mail",
            Self::OneRequest => "one-request",
        })
    }
}

/// How a promise is broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The part of the promise; it is the same in each play that breaks it in the same way.
    pub part: &'static str,
    /// What was found.
    pub reason: String,
}

pub(super) const COMMITTED_UNDONE: &str = "nothing is committed that is not done";
pub(super) const ONCE: &str = "nothing is done twice";
pub(super) const ORDER: &str = "outputs of a key are in the order of its jobs";
pub(super) const DONE: &str = "each job is done";

/// Why nothing can be said about a program's promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It could not be started.
    Start(String),
    /// It ends again and again by itself.
    Ends(String),
    /// It makes no progress any more.
    Hangs(String),
    /// It writes, or produces, without bound.
    Floods(String),
}

impl Unusable {
    /// What it does, the same in each play that shows it.
    pub const fn what(&self) -> &'static str {
        match self {
            Self::Start(_) => "can't be started",
            Self::Ends(_) => "ends by itself",
            Self::Hangs(_) => "hangs",
            Self::Floods(_) => "floods",
        }
    }

    /// What was found.
    pub fn reason(&self) -> &str {
        let (Self::Start(reason) | Self::Ends(reason) | Self::Hangs(reason) | Self::Floods(reason)) =
            self;
        reason
    }
}

/// What a play has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The promise held.
    Kept,
    /// It did not.
    Broken(Broken),
    /// The program could not be judged to its end.
    Unusable(Unusable),
}

impl Verdict {
    /// What distinguishes this verdict from others; none if all is well.
    pub fn name(&self) -> Option<&'static str> {
        match self {
            Self::Kept => None,
            Self::Broken(broken) => Some(broken.part),
            Self::Unusable(unusable) => Some(unusable.what()),
        }
    }
}

/// For people.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept => f.write_str("not broken"),
            Self::Broken(Broken { part, reason }) => write!(f, "broken: {part}\n  {reason}"),
            Self::Unusable(unusable) => {
                write!(f, "the program {}\n  {}", unusable.what(), unusable.reason())
            }
        }
    }
}
