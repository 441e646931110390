//! Intake: whether records are taken in, by what is in flight and by the job sink's readiness.

use futures::future::BoxFuture;

use super::limits::Limits;

/// What is in flight, and what keeps intake shut.
pub(super) struct Intake<'a> {
    records: usize,
    /// Of these, the ones that execute, or wait for their key.
    executing: usize,
    bytes: usize,
    limits: Limits,
    /// Shut from the moment a limit is reached until there is room again, so that the source is
    /// not paused and resumed for every record.
    is_full: bool,
    /// Pending while the job sink's circuit is open.
    pub(super) gate: Option<BoxFuture<'a, ()>>,
    /// No record is taken in any more.
    pub(super) is_stopped: bool,
    /// What the source was told.
    pub(super) is_paused: bool,
}

impl Intake<'_> {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            records: 0,
            executing: 0,
            bytes: 0,
            limits,
            is_full: false,
            gate: None,
            is_stopped: false,
            is_paused: false,
        }
    }

    pub(super) fn records(&self) -> usize {
        self.records
    }

    pub(super) fn add(&mut self, bytes: usize) {
        self.records += 1;
        self.executing += 1;
        self.bytes += bytes;
        self.is_full = self.records >= self.limits.in_flight_records.max(1)
            || !self.has_place()
            || self.bytes >= self.limits.in_flight_bytes;
    }

    /// Whether another record may execute. What holds the places comes to its end: who is in line
    /// behind a job that waits has none.
    pub(super) fn has_place(&self) -> bool {
        self.executing < self.limits.executing_records.max(1)
    }

    /// Records that waited for an attempt, or for one that did, execute again or wait for their key.
    pub(super) fn execute_again(&mut self, records: usize) {
        self.executing += records;
        self.is_full |= !self.has_place();
    }

    /// A record is executed, or is not going to be, or waits for another attempt.
    pub(super) fn executed(&mut self) {
        self.executing -= 1;
        self.make_room();
    }

    pub(super) fn remove(&mut self, bytes: usize) {
        self.records -= 1;
        self.bytes -= bytes;
        self.make_room();
    }

    fn make_room(&mut self) {
        let is_full = self.executing >= low(self.limits.executing_records).max(1)
            || self.records >= low(self.limits.in_flight_records).max(1)
            || self.bytes >= low(self.limits.in_flight_bytes);
        self.is_full &= is_full && self.records > 0;
    }

    pub(super) fn is_open(&self) -> bool {
        !self.is_full && !self.is_stopped && self.gate.is_none()
    }
}

/// The lower of the two watermarks: there is room below it.
fn low(limit: usize) -> usize {
    limit - limit / 8
}
