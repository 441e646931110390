//! The command line of the pizza shop.

use std::process::ExitCode;

use clap::Parser as _;
use jobstream_service::EXIT_FAILURE;
use pizza::log;
use tracing::Level;

mod cli;
mod demo;
mod open;
mod run;

use cli::Command;
use open::Component;
use run::{CommandError, until_signal};

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
    let (components, args): (&[Component], _) = match command {
        Command::Demo(args) => {
            let _log = log::start(Level::INFO).map_err(CommandError::Log)?;
            return until_signal(demo::open(args)).await;
        }
        Command::All(args) => (&open::ALL, args),
        Command::Webapp(args) => (&[Component::WebApp], args),
        Command::Assemble(args) => (&[Component::Assemble], args),
        Command::Bake(args) => (&[Component::Bake], args),
        Command::Deliver(args) => (&[Component::Deliver], args),
        Command::Status(args) => (&[Component::Status], args),
    };
    let settings = open::settings(components, args)?;
    let _log = log::start(settings.level).map_err(CommandError::Log)?;
    let (metrics, told) = open::metrics(components, &settings).unzip();
    let (traces, _exports) = settings.start_traces()?;
    tokio::select! {
        biased;
        ended = until_signal(open::open(components, args, settings, metrics, traces)) => ended,
        untold = run::tell(told) => Err(untold),
    }
}

/// Says in one line what went wrong.
fn fail(code: u8, error: &dyn std::error::Error) -> ExitCode {
    jobstream_service::fail("pizza", code, error)
}
