//! Dead letters: looked at, and sent back to where they came from, or to a topic that is named.
//!
//! ```text
//!  dead letters ─▶ selection ─▶ list · show
//!                      └──────▶ redrive ─▶ (records, position of the run) ─▶ topic
//! ```

mod args;
mod letter;
mod list;
mod origins;
mod redrive;
mod report;
mod run;
mod selection;
mod show;

pub(crate) use args::DeadLettersCommand;

use crate::defaults::Defaults;
use crate::operations::{Brokers, OperationError, shown};

/// Does what the command says.
///
/// # Errors
/// If a setting or an argument is wrong, or Kafka does not do it.
pub(crate) async fn run(
    defaults: &Defaults,
    command: &DeadLettersCommand,
) -> Result<(), OperationError> {
    let brokers = Brokers::from_settings(defaults)?;
    match command {
        DeadLettersCommand::List(args) => shown(list::run(&brokers, args).await),
        DeadLettersCommand::Show(args) => shown(show::run(&brokers, args).await),
        DeadLettersCommand::Redrive(args) if args.dry_run => {
            shown(redrive::run(&brokers, args).await)
        }
        DeadLettersCommand::Redrive(args) => redrive::run(&brokers, args).await,
    }
}
