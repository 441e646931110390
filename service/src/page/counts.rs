//! How often what has happened.

use std::collections::BTreeMap;

use jobstream::record::Topic;
use jobstream::sinks::ledger;
use jobstream::sinks::{Batch, JobError, JobErrorKind};
use jobstream::topology::{Event, Fate};
use serde::Serialize;

use crate::Topics;

/// How often what has happened since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    /// Records taken in.
    fetched: u64,
    /// Dead letters made.
    dead_lettered: u64,
    /// Records that a stage skipped.
    skipped: u64,
    /// The same by the name of the stage.
    skipped_by: BTreeMap<&'static str, u64>,
    /// Jobs that were executed.
    executed: u64,
    /// Attempts that have failed, whatever their reason.
    failed_attempts: u64,
    /// Waits for another attempt.
    retried: u64,
    /// Waits for the server of the jobs.
    suspended: u64,
    /// Attempts after which nobody knew whether the job was done.
    ambiguous_ends: u64,
    /// Attempts that followed one with an unknown end, as the ledger reports.
    pub(super) resent: u64,
    /// Jobs that had been executed before, as the ledger reports.
    duplicates: u64,
    /// Results that were acknowledged.
    results: u64,
    /// Dead letters that were acknowledged.
    dead_letters: u64,
    /// Commits of positions.
    commits: u64,
    succeeded: u64,
    rejected: u64,
    exhausted: u64,
    ambiguous: u64,
}

impl Counts {
    pub(super) fn count(&mut self, event: &Event<'_>, topics: &Topics) {
        match event {
            Event::Fetched(_) => self.fetched += 1,
            Event::DeadLettered { .. } => self.dead_lettered += 1,
            Event::Skipped { stage, .. } => self.skipped_at(stage),
            Event::Executed { error: None, .. } => self.executed += 1,
            Event::Executed { error: Some(error), .. } => self.failed_attempt(error),
            Event::Retried { .. } => self.retried += 1,
            Event::Suspended { .. } => self.suspended += 1,
            Event::Published { batch, .. } => self.published(batch, topics),
            Event::Committed { .. } => self.commits += 1,
            Event::Finished { fate, .. } => self.finished(*fate),
            _ => {}
        }
    }

    fn skipped_at(&mut self, stage: &'static str) {
        self.skipped += 1;
        *self.skipped_by.entry(stage).or_default() += 1;
    }

    fn failed_attempt(&mut self, error: &JobError) {
        self.failed_attempts += 1;
        self.ambiguous_ends += u64::from(error.kind() == JobErrorKind::Ambiguous);
    }

    fn published(&mut self, batch: &Batch, topics: &Topics) {
        let to = |topic: &Topic| batch.outputs.iter().filter(|it| it.topic == *topic).count();
        self.results += to(&topics.results) as u64;
        self.dead_letters += to(&topics.dead_letters) as u64;
    }

    const fn finished(&mut self, fate: Fate) {
        match fate {
            Fate::Succeeded => self.succeeded += 1,
            Fate::Failed(JobErrorKind::Permanent) => self.rejected += 1,
            Fate::Failed(JobErrorKind::Ambiguous) => self.ambiguous += 1,
            Fate::Failed(_) => self.exhausted += 1,
            _ => {}
        }
    }

    pub(super) const fn count_ledger(&mut self, event: &ledger::Event<'_>) {
        match event {
            ledger::Event::Resent { .. } => self.resent += 1,
            ledger::Event::Duplicate(_) => self.duplicates += 1,
            _ => {}
        }
    }
}
