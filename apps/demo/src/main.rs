//! The mail executor with all that it needs in one process: in-memory broker, shipping topology, mail
//! sink, inbox. With a page, it is a playground: everything can be broken by hand.

use std::process::ExitCode;

use clap::Parser as _;
use jobstream_service::EXIT_FAILURE;

mod cli;
mod demo;
mod fates;
mod inbox;
mod input;
mod live;
mod output;
mod playground;
mod summary;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    // The topology is one task, and whoever drives its sockets is best the thread that runs it: it
    // needs no wake-up.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(EXIT_FAILURE, &error),
    };
    let ended = runtime.block_on(demo::run(&cli));
    ended.err().map_or(ExitCode::SUCCESS, |error| fail(error.exit_code(), &error))
}

/// Says in one line what went wrong.
fn fail(code: u8, error: &dyn std::error::Error) -> ExitCode {
    jobstream_service::fail("mailjob-demo", code, error)
}
