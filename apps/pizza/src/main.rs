//! The command line of the pizza shop.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;

mod cli;
mod demo;
mod open;
mod run;

use cli::Command;
use open::Part;
use run::{CommandError, until_signal};

/// Wrong usage, a wrong setting or an unreadable file.
const EXIT_USAGE: u8 = 2;
/// Anything else that went wrong.
const EXIT_FAILURE: u8 = 1;
/// A second signal.
const EXIT_ABORTED: u8 = 130;

fn main() -> ExitCode {
    let command = cli::Cli::parse().command;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(EXIT_FAILURE, &error),
    };
    match runtime.block_on(run(&command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(error.exit_code(), &error),
    }
}

async fn run(command: &Command) -> Result<(), CommandError> {
    let (parts, args): (&[Part], _) = match command {
        Command::Demo(args) => return until_signal(demo::open(args)).await,
        Command::All(args) => (&open::ALL, args),
        Command::Webapp(args) => (&[Part::WebApp], args),
        Command::Assemble(args) => (&[Part::Assemble], args),
        Command::Bake(args) => (&[Part::Bake], args),
        Command::Deliver(args) => (&[Part::Deliver], args),
        Command::Status(args) => (&[Part::Status], args),
    };
    until_signal(open::open(parts, args)).await
}

/// Says in one line what went wrong.
fn fail(code: u8, error: &dyn std::error::Error) -> ExitCode {
    // Where standard error can't be written either, the exit code is all there is to say.
    drop(writeln!(anstream::stderr(), "pizza: {error}"));
    ExitCode::from(code)
}
