//! The command line of the pizza shop.

use std::io::{Write as _, stdout};
use std::process::ExitCode;

use clap::Parser as _;
use jobstream_service::metrics::{Told, probe};
use jobstream_service::settings::{LogFormat, LogSettings};
use jobstream_service::{Failure, fail};
use pizza::log;
use tracing::Level;

mod cli;
mod demo;
mod open;
mod shop;

use cli::{Command, ConfigArgs};
use open::Component;
use shop::until_signal;

/// What the demo logs.
const DEMO_LOG: LogSettings =
    LogSettings { level: Level::INFO, format: LogFormat::Text, environment: None };

fn main() -> ExitCode {
    let command = cli::Cli::parse().command;
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return ended(&Failure::new(error)),
    };
    match runtime.block_on(run(&command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ended(&failure),
    }
}

async fn run(command: &Command) -> Result<(), Failure> {
    let (components, args): (&[Component], _) = match command {
        Command::Demo(args) => {
            let _log = log::start(&DEMO_LOG)?;
            return until_signal(demo::open(args)).await;
        }
        Command::All(args) => (&open::ALL, args),
        Command::Webapp(args) => (&[Component::WebApp], args),
        Command::Assemble(args) => (&[Component::Assemble], args),
        Command::Bake(args) => (&[Component::Bake], args),
        Command::Deliver(args) => (&[Component::Deliver], args),
        Command::Status(args) => (&[Component::Status], args),
        Command::Check(args) => return open::check(args.config.as_deref()).await,
        Command::Healthcheck(args) => return healthcheck(args).await,
    };
    open::check_in_sync(args)?;
    let settings = open::settings(args.config.as_deref())?;
    let _log = log::start(&settings.log)?;
    let (process, told) = open::process(components, settings)?;
    tokio::select! {
        biased;
        ended = until_signal(open::open(components, args, &process)) => ended,
        failure = Told::tell(told) => Err(failure),
    }
}

/// Prints what the process with these settings says of its health.
async fn healthcheck(args: &ConfigArgs) -> Result<(), Failure> {
    let address = open::settings(args.config.as_deref())?.metrics_address.ok_or_else(|| {
        Failure::usage("METRICS_ADDRESS: found nothing, expected where health is served")
    })?;
    let reasons = probe(address, "/healthz").await.map_err(Failure::new)?;
    // Where standard output can't be written, the exit code says it.
    drop(writeln!(stdout(), "{reasons}"));
    Ok(())
}

/// Says in one line what went wrong.
fn ended(failure: &Failure) -> ExitCode {
    fail("pizza", failure.exit_code(), failure)
}
