//! The command line of the mail executor.

use std::process::ExitCode;

use clap::Parser;
use jobstream_service::{EXIT_FAILURE, EXIT_USAGE};
use tikv_jemallocator::Jemalloc;

mod check;
mod cli;
mod dead_letters;
mod healthcheck;
mod log;
mod manual;
mod operations;
mod parked;
mod service;
mod submit;

/// Records are made on one thread and dropped on another, here and in librdkafka: the allocator of
/// the C library spends more time on that than any other part of a job takes.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

fn main() -> ExitCode {
    let command = cli::Cli::parse().command;
    // The topology is one task, and whoever drives its sockets is best the thread that runs it: it
    // needs no wake-up. What blocks has threads of its own.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(EXIT_FAILURE, &error),
    };
    let ended = match command {
        cli::Command::Demo(_) => Err(fail(EXIT_USAGE, &cli::DemoMoved)),
        cli::Command::Run(args) => {
            runtime.block_on(service::run(&args)).map_err(|error| fail(error.exit_code(), &error))
        }
        cli::Command::Check => {
            runtime.block_on(check::run()).map_err(|error| fail(error.exit_code(), &error))
        }
        cli::Command::Healthcheck => {
            runtime.block_on(healthcheck::run()).map_err(|error| fail(error.exit_code(), &error))
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
    jobstream_service::fail("mailjob", code, error)
}
