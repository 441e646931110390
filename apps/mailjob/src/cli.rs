//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::dead_letters::DeadLettersCommand;
use crate::manual;
use crate::parked::ParkedCommand;

const DEMO_EXAMPLES: &str = "\
Examples:
  mailjob demo
      The jobs that come with the program, one of every fate.
  mailjob demo --jobs jobs.jsonl --results results.jsonl --mails mails/
      Your own jobs, one a line; results and mails go to files.
  grep example.com jobs.jsonl | mailjob demo --jobs -
      Jobs from standard input.
  mailjob demo --generate 100000
      Synthetic load, with its throughput at the end.
  mailjob demo --page 127.0.0.1:8090
      A page in your browser: submit jobs, break what you like, watch that nothing is lost.";

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
    /// Run the whole service in this process: broker, mail server and all, nothing to install
    #[command(after_help = DEMO_EXAMPLES)]
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

#[derive(Debug, Default, Args)]
pub(crate) struct DemoArgs {
    /// Read jobs from FILE, one a line ('-' is standard input), instead of the built-in ones
    #[arg(long, value_name = "FILE", conflicts_with = "generate")]
    pub(crate) jobs: Option<PathBuf>,

    /// Make N jobs up and show the throughput
    #[arg(long, value_name = "N")]
    pub(crate) generate: Option<u64>,

    /// Write the results to FILE, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub(crate) results: Option<PathBuf>,

    /// Write the dead letters to FILE, as JSON lines
    #[arg(long, value_name = "FILE")]
    pub(crate) dead_letters: Option<PathBuf>,

    /// Write every mail to DIR as it was received, one .eml each; *.eml already there are removed
    #[arg(long, value_name = "DIR")]
    pub(crate) mails: Option<PathBuf>,

    /// Show it all on a page, to be broken by hand, until Ctrl-C
    #[arg(long, value_name = "ADDRESS", conflicts_with_all = ["results", "dead_letters", "mails"])]
    pub(crate) page: Option<SocketAddr>,
}
