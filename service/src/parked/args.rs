//! The command line of the parked jobs.

use std::num::NonZeroUsize;

use crate::jobs::Resolution;
use clap::{Args, Subcommand};

use crate::operations::TimeArg;

const LIST_EXAMPLES: &str = "\
Settings come from where those of 'run' do; KAFKA_BROKERS is required.

Examples:
  {name} parked list --from 1d
  {name} parked resend 649f07e619fca8aa63d842f6
  {name} parked settle --accepted --all";

#[derive(Debug, Subcommand)]
pub(crate) enum ParkedCommand {
    /// List the jobs of which nobody knows whether they were done
    #[command(after_help = LIST_EXAMPLES)]
    List(ListArgs),
    /// Put jobs back on their topic, to be executed although they may have been
    Resend(Which),
    /// Say what became of jobs: their results are published, and nothing is executed
    Settle(SettleArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only those parked at this time or later: 2026-11-22T03:00:00Z, 2h (ago)
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<TimeArg>,

    /// Only those parked before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<TimeArg>,

    /// Only those with this Id (may be repeated)
    #[arg(long, value_name = "ID")]
    pub(crate) id: Vec<String>,

    /// At most so many
    #[arg(long, value_name = "N", default_value = "100")]
    pub(crate) limit: NonZeroUsize,

    /// Each result as one JSON line, whole
    #[arg(long)]
    pub(crate) json: bool,
}

/// Which jobs a decision is about.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// The Ids of jobs that 'parked list' shows
    #[arg(value_name = "ID")]
    pub(crate) ids: Vec<String>,

    /// All that 'parked list' shows
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SettleArgs {
    #[command(flatten)]
    pub(crate) which: Which,

    #[command(flatten)]
    verdict: Verdict,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Verdict {
    /// They were done: results with Status 4
    #[arg(long)]
    accepted: bool,

    /// They were not done: results with Status 5
    #[arg(long)]
    rejected: bool,
}

impl SettleArgs {
    pub(super) const fn resolution(&self) -> Resolution {
        if self.verdict.accepted { Resolution::Accepted } else { Resolution::Rejected }
    }
}
