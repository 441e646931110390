//! The mail executor as a service.

use std::process::ExitCode;

use jobstream_service::clap::{Arg, ArgAction, Command, value_parser};
use jobstream_service::{Failure, Service, build_info};

use crate::executor::executor;
use crate::settings::MailSettings;
use crate::topology::{Topics, stages};

/// Does what the command line says.
pub fn main() -> ExitCode {
    settings()
        .about("Takes e-mail jobs from Kafka, sends them by SMTP and reports the results")
        .command(demo(), |_| Err(demo_has_moved()))
        .executor(executor)
        .topology(stages)
        .main()
}

/// The service, as far as its settings depend on it. Its defaults are those of the service that
/// this replaces.
pub fn settings() -> Service<MailSettings> {
    Service::new("mailjob", build_info!())
        .topics(Topics::default())
        .group("topic-job-run-consumer-emailexecutor")
        .ledger_topic("topic-job-run-ledger")
        .metrics_port("EMAIL_SERVICE_PORT")
        .words("email job", "mail server")
        .settings()
}

/// Takes whatever was said to the demo when it was a command of this program.
fn demo() -> Command {
    let arguments = Arg::new("arguments")
        .action(ArgAction::Append)
        .value_parser(value_parser!(std::ffi::OsString))
        .num_args(0..)
        .trailing_var_arg(true)
        .allow_hyphen_values(true);
    Command::new("demo").hide(true).disable_help_flag(true).arg(arguments)
}

fn demo_has_moved() -> Failure {
    let program = "the demo is a program of its own, mailjob-demo";
    Failure::usage(format!("{program}: cargo run --release -p mailjob-demo"))
}
