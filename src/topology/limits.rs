//! The limits of a run and of one key's jobs in it, each with its unit.

use std::time::Duration;

/// The limits of a run. All are per worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Records taken in and not finished, at most: those that execute, wait for their key, wait for
    /// an attempt or wait to be published. At least 1. As many again may be kept, executed and not
    /// published, of partitions that were lost and may come back.
    pub in_flight_records: usize,
    /// Of these, the ones that execute or wait for their key, at most: what a drain waits for. Those
    /// that wait for another attempt, or for the key of one that does, are none of them; when an
    /// attempt is due it has precedence over new records. At least 1.
    pub executing_records: usize,
    /// Bytes of these records' keys, values and headers: at this many, intake stops. One record can
    /// exceed it, so that a record larger than the limit is worked on too. As many again, with the
    /// outputs, may be kept of partitions that were lost.
    pub in_flight_bytes: usize,
    /// How often positions are committed.
    pub commit_interval: Duration,
    /// How long the records of a revoked partition may take to finish.
    pub drain_timeout: Duration,
    /// How long the records in flight may take to finish after the shutdown.
    pub shutdown_timeout: Duration,
    /// How long it may take, after a drain, to publish and commit what is finished, and to close.
    pub close_timeout: Duration,
    /// When a frontier that stands still is reported as stuck.
    pub stuck_after: Duration,
}

impl Limits {
    /// 8,192 records or 7 MiB in flight, 1,024 of them executing, a commit a second, 20 s to drain a
    /// partition, 25 s to shut down, 4 s to close, stuck after 5 minutes.
    pub const fn new() -> Self {
        Self {
            in_flight_records: 8_192,
            executing_records: 1_024,
            in_flight_bytes: 7 << 20,
            commit_interval: Duration::from_secs(1),
            drain_timeout: Duration::from_secs(20),
            shutdown_timeout: Duration::from_secs(25),
            close_timeout: Duration::from_secs(4),
            stuck_after: Duration::from_secs(300),
        }
    }

    /// Sets [`in_flight_records`](Self#structfield.in_flight_records).
    #[must_use]
    pub const fn in_flight_records(mut self, in_flight_records: usize) -> Self {
        self.in_flight_records = in_flight_records;
        self
    }

    /// Sets [`executing_records`](Self#structfield.executing_records).
    #[must_use]
    pub const fn executing_records(mut self, executing_records: usize) -> Self {
        self.executing_records = executing_records;
        self
    }

    /// Sets [`in_flight_bytes`](Self#structfield.in_flight_bytes).
    #[must_use]
    pub const fn in_flight_bytes(mut self, in_flight_bytes: usize) -> Self {
        self.in_flight_bytes = in_flight_bytes;
        self
    }

    /// Sets [`commit_interval`](Self#structfield.commit_interval).
    #[must_use]
    pub const fn commit_interval(mut self, commit_interval: Duration) -> Self {
        self.commit_interval = commit_interval;
        self
    }

    /// Sets [`drain_timeout`](Self#structfield.drain_timeout).
    #[must_use]
    pub const fn drain_timeout(mut self, drain_timeout: Duration) -> Self {
        self.drain_timeout = drain_timeout;
        self
    }

    /// Sets [`shutdown_timeout`](Self#structfield.shutdown_timeout).
    #[must_use]
    pub const fn shutdown_timeout(mut self, shutdown_timeout: Duration) -> Self {
        self.shutdown_timeout = shutdown_timeout;
        self
    }

    /// Sets [`close_timeout`](Self#structfield.close_timeout).
    #[must_use]
    pub const fn close_timeout(mut self, close_timeout: Duration) -> Self {
        self.close_timeout = close_timeout;
        self
    }

    /// Sets [`stuck_after`](Self#structfield.stuck_after).
    #[must_use]
    pub const fn stuck_after(mut self, stuck_after: Duration) -> Self {
        self.stuck_after = stuck_after;
        self
    }

    /// Half of the time to close is for publishing and committing, half for closing.
    pub(super) fn flush_timeout(&self) -> Duration {
        self.close_timeout / 2
    }
}

impl Default for Limits {
    /// See [`new`](Self::new).
    fn default() -> Self {
        Self::new()
    }
}

/// The limits of the jobs with one key (of one tenant, or to one host), beside those that all jobs of
/// a worker share. All are per worker. See [`Executes::limited_by`](super::Executes::limited_by).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyLimits {
    /// Jobs of one key that execute at once, at most; at least 1. `None` leaves it to
    /// [`Limits::executing_records`].
    pub executing_jobs: Option<usize>,
    /// The time between the begins of two attempts of one key, on average; zero is no limit.
    pub attempt_interval: Duration,
    /// Attempts of one key that may begin at once after a pause; at least 1.
    pub burst_attempts: u32,
}

impl KeyLimits {
    /// No limit.
    pub const fn new() -> Self {
        Self { executing_jobs: None, attempt_interval: Duration::ZERO, burst_attempts: 1 }
    }

    /// Sets [`executing_jobs`](Self#structfield.executing_jobs).
    #[must_use]
    pub const fn executing_jobs(mut self, executing_jobs: Option<usize>) -> Self {
        self.executing_jobs = executing_jobs;
        self
    }

    /// Sets [`attempt_interval`](Self#structfield.attempt_interval), so that so many attempts, at
    /// least 1, begin in each period, evenly spread. Timers are exact to a millisecond: a higher rate
    /// than 1,000 a second needs a [burst](Self::burst_attempts).
    #[must_use]
    pub fn rate(mut self, attempts: u32, period: Duration) -> Self {
        self.attempt_interval = period / attempts.max(1);
        self
    }

    /// Sets [`burst_attempts`](Self#structfield.burst_attempts).
    #[must_use]
    pub const fn burst_attempts(mut self, burst_attempts: u32) -> Self {
        self.burst_attempts = burst_attempts;
        self
    }

    pub(super) fn executing_max(&self) -> usize {
        self.executing_jobs.map_or(usize::MAX, |most| most.max(1))
    }

    /// How far attempts may be ahead of their rate.
    pub(super) fn tolerance(&self) -> Duration {
        self.attempt_interval.saturating_mul(self.burst_attempts.saturating_sub(1))
    }
}

impl Default for KeyLimits {
    /// See [`new`](Self::new).
    fn default() -> Self {
        Self::new()
    }
}
