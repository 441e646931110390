//! The command line of the mail executor.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;

mod cli;
mod demo;

/// Wrong usage, a wrong setting or an unreadable file.
const EXIT_USAGE: u8 = 2;
/// Anything else that went wrong.
const EXIT_FAILURE: u8 = 1;
/// A second Ctrl-C.
const EXIT_ABORTED: u8 = 130;

fn main() -> ExitCode {
    let command = cli::Cli::parse().command;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(EXIT_FAILURE, &error),
    };
    match command {
        cli::Command::Demo(args) => match runtime.block_on(demo::run(&args)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(error.exit_code(), &error),
        },
    }
}

/// Says in one line what went wrong.
fn fail(code: u8, error: &dyn std::error::Error) -> ExitCode {
    // Where standard error can't be written either, the exit code is all there is to say.
    drop(writeln!(anstream::stderr(), "mailjob: {error}"));
    ExitCode::from(code)
}
