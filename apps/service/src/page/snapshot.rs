//! What there is to see at one moment.

use serde::Serialize;
use serde_json::value::RawValue;

use super::counts::Counts;
use super::feed::Feed;
use super::met::Met;
use super::recent::{Numbered, Recent};
use super::standing::PartitionView;

/// What there is to see at one moment.
#[derive(Debug, Serialize)]
pub(super) struct Snapshot {
    topics: TopicNames,
    counts: Counts,
    partitions: Vec<PartitionView>,
    /// Why the server of the jobs is away, if it is.
    away: Option<String>,
    /// Whether values of records may be asked for.
    shows_content: bool,
    fates: Last,
    dead_letters: Last,
    ambiguous: Last,
    /// What is there in a demo only.
    play: Option<Box<RawValue>>,
}

#[derive(Debug, Serialize)]
struct TopicNames {
    jobs: String,
    results: String,
    dead_letters: String,
}

/// The last of many, the newest first.
#[derive(Debug, Serialize)]
struct Last {
    count: u64,
    last: Vec<Numbered<Met>>,
}

impl Snapshot {
    pub(super) fn of(feed: &Feed, play: Option<Box<RawValue>>) -> Self {
        let topics = feed.topics();
        let heard = feed.heard();
        Self {
            topics: TopicNames {
                jobs: topics.jobs.to_string(),
                results: topics.results.to_string(),
                dead_letters: topics.dead_letters.to_string(),
            },
            counts: heard.counts,
            partitions: heard.standings.view(),
            away: heard.away.values().next().cloned(),
            shows_content: feed.shows_content(),
            fates: Last::of(&heard.fates),
            dead_letters: Last::of(&heard.dead_letters),
            ambiguous: Last::of(&heard.ambiguous),
            play,
        }
    }
}

impl Last {
    fn of<const N: usize>(recent: &Recent<Met, N>) -> Self {
        Self { count: recent.count(), last: recent.iter().cloned().collect() }
    }
}
