//! What executes the jobs of a topology.

use std::fmt;
use std::sync::Arc;

use jobstream::sinks::JobSink;
use jobstream::sinks::ledger::Ledger;

/// What executes the jobs of a topology: a job sink, or a ledger around one.
pub enum Executor<In, Out> {
    /// A job sink. What was executed and not committed may be executed again.
    Sink(Arc<dyn JobSink<In, Out>>),
    /// A ledger, which remembers what was executed.
    Ledger(Arc<Ledger<In, Out>>),
}

impl<In, Out> fmt::Debug for Executor<In, Out> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sink(_) => "Sink",
            Self::Ledger(_) => "Ledger",
        })
    }
}
