//! The command line of the dead letters.

use std::num::NonZeroUsize;
use std::str::FromStr;

use clap::{Args, Subcommand};

use crate::operations::TimeArg;

const LIST_EXAMPLES: &str = "\
Settings come from where those of 'run' do; KAFKA_BROKERS is required.

Examples:
  {name} dead-letters list --reason undecodable --from 2h
  {name} dead-letters list --json --limit 1000000 > dead-letters.jsonl";

const REDRIVE_EXAMPLES: &str = "\
A run covers the dead letters that are there when it begins. Each batch is one transaction with the
run's position, so that the same --run goes on after an interruption and sends nothing twice.
A job that fails again becomes a dead letter again; dead-letter-redrives counts the rounds.

Examples:
  {name} dead-letters redrive --reason undecodable --dry-run
  {name} dead-letters redrive --reason undecodable --run monday --limit 10
  {name} dead-letters redrive --run monday
  {name} dead-letters redrive --group webhooks --to-topic topic-webhook-run --dry-run";

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List dead letters, by partition and offset
    #[command(after_help = LIST_EXAMPLES)]
    List(ListArgs),
    /// Show one dead letter with its headers and its value
    Show(ShowArgs),
    /// Send dead letters back to TOPIC_JOB_RUN, or to another topic that is named
    #[command(after_help = REDRIVE_EXAMPLES)]
    Redrive(RedriveArgs),
}

/// Which dead letters.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Filter {
    /// Only those with this reason, such as undecodable (may be repeated)
    #[arg(long, value_name = "REASON")]
    pub(crate) reason: Vec<String>,

    /// Only those that became dead letters at this time or later: 2026-11-22T03:00:00Z, 2h (ago)
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<TimeArg>,

    /// Only those that became dead letters before this time
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<TimeArg>,

    /// Only those in this partition of the dead letters (may be repeated)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(i32).range(0..))]
    pub(crate) partition: Vec<i32>,

    /// Only those with this key
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<String>,

    /// Only those of this consumer group (may be repeated); without it 'list' shows those of all,
    /// and 'redrive' sends those of the service's own and those that name none
    #[arg(long, value_name = "GROUP")]
    pub(crate) group: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) filter: Filter,

    /// At most so many
    #[arg(long, value_name = "N", default_value = "100")]
    pub(crate) limit: NonZeroUsize,

    /// Each as one JSON line, whole
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    /// Where it is in the dead letters
    #[arg(value_name = "PARTITION:OFFSET")]
    pub(crate) at: At,

    /// As one JSON line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RedriveArgs {
    #[command(flatten)]
    pub(crate) filter: Filter,

    /// The run's name, to go on with it later; made up if there is none
    #[arg(long, value_name = "NAME", value_parser = run_name)]
    pub(crate) run: Option<String>,

    /// Send all of them to this topic; without it, those that came from TOPIC_JOB_RUN go back
    /// there, and nothing goes anywhere else
    #[arg(long, value_name = "TOPIC", value_parser = topic_name)]
    pub(crate) to_topic: Option<String>,

    /// Show what would be sent, and send nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Send at most so many now; the same run goes on behind them
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<NonZeroUsize>,

    /// Dead letters in one transaction
    #[arg(long, value_name = "N", default_value = "500")]
    pub(crate) batch: NonZeroUsize,

    /// Each record as one JSON line
    #[arg(long)]
    pub(crate) json: bool,
}

/// A place in a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct At {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
}

impl FromStr for At {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let at = text.split_once(':').and_then(|(partition, offset)| {
            Some(Self { partition: partition.parse().ok()?, offset: offset.parse().ok()? })
        });
        let at = at.filter(|at| at.partition >= 0 && at.offset >= 0);
        at.ok_or("expected PARTITION:OFFSET, such as 0:17")
    }
}

/// A name that can be part of a group's.
fn run_name(text: &str) -> Result<String, &'static str> {
    name(text, 100).ok_or("expected up to 100 of A-Z, a-z, 0-9, '.', '_' and '-'")
}

fn topic_name(text: &str) -> Result<String, &'static str> {
    name(text, 249).ok_or("expected a topic's name: up to 249 of A-Z, a-z, 0-9, '.', '_' and '-'")
}

fn name(text: &str, max_chars: usize) -> Option<String> {
    let is_legal = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let is_name = !text.is_empty() && text.len() <= max_chars && text.chars().all(is_legal);
    is_name.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_partition_and_an_offset() {
        assert_eq!("3:17".parse(), Ok(At { partition: 3, offset: 17 }));
        for text in ["", "3", ":", "3:", "a:1", "-1:1", "1:-1", "1:2:3"] {
            assert!(text.parse::<At>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_run_is_named_as_a_group_can_be() {
        assert!(run_name("monday-2.a").is_ok());
        assert!(run_name("").is_err() && run_name("a b").is_err() && run_name("ä").is_err());
    }
}
