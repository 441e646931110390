//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::dead_letters::DeadLettersCommand;
use crate::manual;
use crate::parked::ParkedCommand;

const SETTINGS: &str = "\
Settings come from the environment, then from .env, then from TOPICS_FILE (./.env.topics).
Required: KAFKA_BROKERS, MAIL_SERVER_HOST, and MAIL_FROM or SMTP_USER with EMAIL_DOMAIN.";

const SUBMIT_EXAMPLES: &str = "\
Settings come from where those of 'run' do; KAFKA_BROKERS is required.

Examples:
  mailjob submit jobs.jsonl
  cat job.json | mailjob submit -";

/// Takes e-mail jobs from Kafka, sends them by SMTP and reports the results.
#[derive(Debug, Parser)]
#[command(version, long_version = manual::version(), about, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Say where the demo is
    #[command(hide = true, disable_help_flag = true)]
    Demo(DemoArgs),
    /// Run the service on Kafka and a mail server, until SIGTERM or Ctrl-C
    #[command(after_help = SETTINGS)]
    Run(RunArgs),
    /// Read the settings, reach Kafka and the mail server, and say what is wrong
    #[command(after_help = SETTINGS)]
    Check,
    /// Ask the service that runs with these settings whether it is well, as a container's health check
    #[command(after_help = SETTINGS)]
    Healthcheck,
    /// Produce jobs to TOPIC_JOB_RUN, each with its Id as key
    #[command(after_help = SUBMIT_EXAMPLES)]
    Submit(SubmitArgs),
    /// Look at what could not be worked on, and send it back to its topic
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Decide about jobs of which nobody knows whether their mail was sent
    #[command(subcommand)]
    Parked(ParkedCommand),
    /// Write completions for a shell to standard output
    Completions(CompletionsArgs),
    /// Write the man pages to a folder, one of the program and one of each command
    Man(ManArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The folder, made if it is missing
    #[arg(value_name = "DIR")]
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Show what the service does on a page, read-only; outside loopback it wants PAGE_TOKEN
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) page: Option<SocketAddr>,
}

#[derive(Debug, Args)]
pub(crate) struct SubmitArgs {
    /// JSON values one after another, on one line or many ('-' is standard input)
    #[arg(value_name = "FILE")]
    pub(crate) jobs: PathBuf,
}

/// Whatever was said to the demo when it was a command of this program.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<std::ffi::OsString>,
}

/// The demo is no command of this program.
#[derive(Debug, thiserror::Error)]
#[error("the demo is a program of its own, mailjob-demo: cargo run --release -p mailjob-demo")]
pub(crate) struct DemoMoved;
