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

use crate::operations::{Brokers, OperationError};

/// Does what the command says.
///
/// # Errors
/// If a setting or an argument is wrong, or Kafka does not do it.
pub(crate) async fn run(command: &DeadLettersCommand) -> Result<(), OperationError> {
    let brokers = Brokers::from_settings()?;
    match command {
        DeadLettersCommand::List(args) => list::run(&brokers, args).await,
        DeadLettersCommand::Show(args) => show::run(&brokers, args).await,
        DeadLettersCommand::Redrive(args) => redrive::run(&brokers, args).await,
    }
}
