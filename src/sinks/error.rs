//! Why a job was not executed, and what follows from it.

use std::time::Duration;

use crate::reason::bounded;

/// The longest wait that an error can ask for: a year of 365 days.
pub const NOT_BEFORE_LIMIT: Duration = Duration::from_secs(365 * 86_400);

/// Why a job was not executed, and what follows from it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct JobError {
    kind: JobErrorKind,
    reason: String,
    is_settled: bool,
    not_before: Option<Duration>,
}

/// What follows from a [`JobError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum JobErrorKind {
    /// The job can never succeed: it is finished as failed.
    Permanent,
    /// Certainly not executed, and worth another attempt: retried with back-off, within the limits.
    Transient,
    /// Executed or not, which is not known: decided by policy.
    Ambiguous,
    /// Certainly not executed, and not the job's fault: tried again after a back-off, when the sink
    /// is ready, and sooner once a gate that was shut has opened and others succeed; neither attempts nor
    /// the deadline count.
    Unavailable,
}

impl JobErrorKind {
    /// A short name, in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Permanent => "permanent",
            Self::Transient => "transient",
            Self::Ambiguous => "ambiguous",
            Self::Unavailable => "unavailable",
        }
    }
}

impl JobError {
    /// An error of the given kind; `reason` is for people. It goes into headers and logs, so it
    /// should name type and place, and must show nothing of the job. It is cut at
    /// [`REASON_LIMIT_BYTES`](crate::reason::REASON_LIMIT_BYTES).
    pub fn new(kind: JobErrorKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: bounded(reason), is_settled: false, not_before: None }
    }

    /// The job can never succeed.
    pub fn permanent(reason: impl Into<String>) -> Self {
        Self::new(JobErrorKind::Permanent, reason)
    }

    /// Certainly not executed, worth another attempt.
    pub fn transient(reason: impl Into<String>) -> Self {
        Self::new(JobErrorKind::Transient, reason)
    }

    /// It is not known whether the job was executed.
    pub fn ambiguous(reason: impl Into<String>) -> Self {
        Self::new(JobErrorKind::Ambiguous, reason)
    }

    /// Certainly not executed, and not the job's fault.
    pub fn unavailable(reason: impl Into<String>) -> Self {
        Self::new(JobErrorKind::Unavailable, reason)
    }

    /// The same error, but final: the job is not tried again, whatever the kind.
    #[must_use]
    pub fn settled(mut self) -> Self {
        self.is_settled = true;
        self
    }

    /// The same error, of a receiver that has said when the next attempt makes sense, as
    /// `Retry-After` does (RFC 9110, section 10.2.3): this long after the end of this attempt at the
    /// earliest. A longer back-off stays as it is. At most [`NOT_BEFORE_LIMIT`].
    ///
    /// [`Retry::max_delay`] does not shorten the wait. A job whose
    /// [deadline](crate::topology::Retry::deadline) comes first is finished as failed at once, since
    /// no attempt is left for it; an [unavailable](JobErrorKind::Unavailable) job waits for the
    /// length of the deadline at most, and is tried again. A record that is delivered anew begins
    /// anew: nobody remembers its wait.
    ///
    /// [`Retry::max_delay`]: crate::topology::Retry::max_delay
    #[must_use]
    pub fn not_before(mut self, wait: Duration) -> Self {
        self.not_before = Some(wait.min(NOT_BEFORE_LIMIT));
        self
    }

    /// How long after this attempt the next one makes sense, if the receiver has said so.
    pub const fn earliest(&self) -> Option<Duration> {
        self.not_before
    }

    /// Whether the error is final, whatever its kind.
    pub const fn is_settled(&self) -> bool {
        self.is_settled
    }

    /// What follows from it.
    pub const fn kind(&self) -> JobErrorKind {
        self.kind
    }

    /// The reason, for people.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}
