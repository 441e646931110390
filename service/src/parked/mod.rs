//! Parked jobs: those whose result says `job-outcome: ambiguous`, and which nobody has decided
//! about.
//!
//! ```text
//!  results ─▶ ambiguous ─▶ without a later result ─▶ list
//!                               └──────────────────▶ resend · settle ─▶ topic of the jobs
//! ```
//!
//! A decision is a job with a header, which its owner obeys: nothing here writes what the owner
//! remembers.

mod args;
mod find;
mod identity;
mod list;
mod resolve;

pub(crate) use args::ParkedCommand;

use crate::jobs::Resolution;

use crate::defaults::Defaults;
use crate::operations::{Brokers, OperationError, shown};

/// Does what the command says.
///
/// # Errors
/// If a setting or an argument is wrong, or Kafka does not do it.
pub(crate) async fn run(
    defaults: &Defaults,
    command: &ParkedCommand,
) -> Result<(), OperationError> {
    let brokers = Brokers::from_settings(defaults)?;
    match command {
        ParkedCommand::List(args) => shown(list::run(&brokers, args).await),
        ParkedCommand::Resend(which) => resolve::run(&brokers, which, Resolution::Resend).await,
        ParkedCommand::Settle(args) => resolve::run(&brokers, &args.which, args.resolution()).await,
    }
}
