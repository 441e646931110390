//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;

const EXAMPLES: &str = "\
Examples:
  mailjob-demo
      The jobs that come with the program, one of every fate.
  mailjob-demo --jobs jobs.jsonl --results results.jsonl --mails mails/
      Your own jobs, one a line; results and mails go to files.
  grep example.com jobs.jsonl | mailjob-demo --jobs -
      Jobs from standard input.
  mailjob-demo --generate 100000
      Synthetic load, with its throughput at the end.
  mailjob-demo --page 127.0.0.1:8090
      A page in your browser: submit jobs, break what you like, watch that nothing is lost.";

/// Runs the whole mail executor in this process: broker, mail server and all, nothing to install.
#[derive(Debug, Parser)]
#[command(name = "mailjob-demo", version, about, after_help = EXAMPLES, max_term_width = 100)]
pub(crate) struct Cli {
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

    /// With --page: let the mail server listen on ADDRESS, for other programs, too
    #[arg(long, value_name = "ADDRESS", requires = "page")]
    pub(crate) smtp: Option<SocketAddr>,

    /// With --page: open the broker to Kafka's clients on ADDRESS
    #[cfg(feature = "kafka")]
    #[arg(long, value_name = "ADDRESS", requires = "page")]
    pub(crate) kafka: Option<SocketAddr>,
}
