//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{ArgMatches, Args, Command as Program, CommandFactory as _, Parser, Subcommand};

use crate::BuildInfo;
use crate::dead_letters::DeadLettersCommand;
use crate::parked::ParkedCommand;

const SUBMIT_EXAMPLES: &str = "\
Settings come from where those of 'run' do; KAFKA_BROKERS is required.

Examples:
  {name} submit jobs.jsonl
  cat job.json | {name} submit -";

#[derive(Debug, Parser)]
#[command(max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the service on Kafka, until SIGTERM or Ctrl-C
    #[command(after_help = "{settings}")]
    Run(RunArgs),
    /// Read the settings, reach Kafka and what executes the jobs, and say what is wrong
    #[command(after_help = "{settings}")]
    Check,
    /// Ask the service that runs with these settings whether it is well, as a container's health check
    #[command(after_help = "{settings}")]
    Healthcheck,
    /// Produce jobs to TOPIC_JOB_RUN, each with its Id as key
    #[command(after_help = SUBMIT_EXAMPLES)]
    Submit(SubmitArgs),
    /// Look at what could not be worked on, and send it back to its topic
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Decide about jobs of which nobody knows whether they were done
    #[command(subcommand)]
    Parked(ParkedCommand),
    /// List every setting: its default, and what it is
    Settings(SettingsArgs),
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
pub(crate) struct SettingsArgs {
    /// As tables in Markdown, with what each setting takes and its unit
    #[arg(long)]
    pub(crate) markdown: bool,
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

/// What a command line of a service says of the service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Title<'a> {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) build: &'a BuildInfo,
    /// The settings without which it does not start.
    pub(crate) required: &'a str,
}

/// The program of that name, with commands of its own.
pub(crate) fn program(title: Title<'_>, own: impl IntoIterator<Item = Program>) -> Program {
    let Title { name, about, build, required } = title;
    let settings = format!(
        "Settings come from the environment, then from .env, then from TOPICS_FILE \
         (./.env.topics); '{name} settings' lists them.\nRequired: {required}."
    );
    let program = Cli::command()
        .name(name)
        .bin_name(name)
        .about(about)
        .version(build.version)
        .long_version(build.long_version())
        .subcommands(own);
    filled(program, &[("{name}", name), ("{settings}", &settings)])
}

/// The same command, where placeholders of its texts, and of those of the commands below it, are
/// replaced.
fn filled(command: Program, words: &[(&str, &str)]) -> Program {
    let help = command.get_after_help().map(|help| {
        let text = help.to_string();
        words.iter().fold(text, |text, (placeholder, word)| text.replace(placeholder, word))
    });
    let command = match help {
        Some(help) => command.after_help(help),
        None => command,
    };
    command.mut_subcommands(|command| filled(command, words))
}

impl Cli {
    /// The command that was asked for; ends the process where it is none.
    pub(crate) fn of(matches: &ArgMatches) -> Self {
        use clap::FromArgMatches as _;
        Self::from_arg_matches(matches).unwrap_or_else(|error| error.exit())
    }
}
