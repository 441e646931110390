//! The command line of the mail executor.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;

mod check;
mod cli;
mod dead_letters;
mod demo;
mod environment;
mod json_line;
mod log;
mod manual;
mod operations;
mod parked;
mod service;
mod submit;

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
    let ended = match command {
        cli::Command::Demo(args) => {
            runtime.block_on(demo::run(&args)).map_err(|error| fail(error.exit_code(), &error))
        }
        cli::Command::Run => {
            runtime.block_on(service::run()).map_err(|error| fail(error.exit_code(), &error))
        }
        cli::Command::Check => {
            runtime.block_on(check::run()).map_err(|error| fail(error.exit_code(), &error))
        }
        cli::Command::Submit(args) => {
            runtime.block_on(submit::run(&args)).map_err(|error| fail(error.exit_code(), &error))
        }
        cli::Command::DeadLetters(command) => runtime
            .block_on(dead_letters::run(&command))
            .map_err(|error| fail(error.exit_code(), &error)),
        cli::Command::Parked(command) => {
            runtime.block_on(parked::run(&command)).map_err(|error| fail(error.exit_code(), &error))
        }
        cli::Command::Completions(args) => {
            manual::completions(&args).map_err(|error| fail(EXIT_FAILURE, &error))
        }
        cli::Command::Man(args) => manual::man(&args).map_err(|error| fail(EXIT_USAGE, &error)),
    };
    ended.err().unwrap_or(ExitCode::SUCCESS)
}

/// Says in one line what went wrong.
fn fail(code: u8, error: &dyn std::error::Error) -> ExitCode {
    // Where standard error can't be written either, the exit code is all there is to say.
    drop(writeln!(anstream::stderr(), "mailjob: {error}"));
    ExitCode::from(code)
}
