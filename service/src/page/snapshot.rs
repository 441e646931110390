//! What there is to see at one moment.

use std::collections::BTreeMap;

use jobstream::topology::StageKind;
use serde::Serialize;
use serde_json::value::RawValue;

use super::counts::Counts;
use super::feed::{Feed, Title};
use super::met::Met;
use super::panel::PanelView;
use super::recent::{Numbered, Recent};
use super::standing::PartitionView;

/// What there is to see at one moment.
#[derive(Debug, Serialize)]
pub(super) struct Snapshot {
    topology: Picture,
    topics: TopicNames,
    counts: Counts,
    partitions: Vec<PartitionView>,
    /// Why no server of the jobs is there, if none is.
    away: Option<String>,
    servers: Vec<ServerView>,
    /// Whether values of records may be asked for.
    shows_content: bool,
    fates: Last,
    dead_letters: Last,
    ambiguous: Last,
    /// What the service has to show besides.
    panels: Vec<PanelView>,
    /// What is there in a demo only.
    play: Option<Box<RawValue>>,
}

/// What the picture is of.
#[derive(Debug, Serialize)]
struct Picture {
    service: &'static str,
    /// What executes the jobs.
    server: &'static str,
    stages: Vec<StageBox>,
}

/// A server that executes jobs.
#[derive(Debug, Serialize)]
struct ServerView {
    name: String,
    /// Why it is away, if it is.
    away: Option<String>,
}

/// A stage, as a box.
#[derive(Debug, Serialize)]
struct StageBox {
    name: &'static str,
    kind: &'static str,
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
        let panels = feed.panels();
        let topics = feed.topics();
        let heard = feed.heard();
        let Title { service, server } = feed.title();
        let servers = servers(&heard.servers);
        let stages = heard.stages.iter().copied().map(StageBox::from).collect();
        Self {
            topology: Picture { service, server, stages },
            topics: TopicNames {
                jobs: topics.jobs.to_string(),
                results: topics.results.to_string(),
                dead_letters: topics.dead_letters.to_string(),
            },
            counts: heard.counts.clone(),
            partitions: heard.standings.view(),
            away: away(&servers),
            servers,
            shows_content: feed.shows_content(),
            fates: Last::of(&heard.fates),
            dead_letters: Last::of(&heard.dead_letters),
            ambiguous: Last::of(&heard.ambiguous),
            panels,
            play,
        }
    }
}

/// Each server, with the first reason why it is away, if a sink has found it so.
fn servers(heard: &BTreeMap<(String, usize), Option<String>>) -> Vec<ServerView> {
    let mut servers = BTreeMap::<&str, Option<&String>>::new();
    for ((name, _), away) in heard {
        let known = servers.entry(name).or_default();
        *known = known.or(away.as_ref());
    }
    let view = |(name, away): (&str, Option<&String>)| ServerView {
        name: name.to_owned(),
        away: away.cloned(),
    };
    servers.into_iter().map(view).collect()
}

/// Why all servers are away, if they are; each is named where there are several.
fn away(servers: &[ServerView]) -> Option<String> {
    let reason = |server: &ServerView| match (server.away.clone()?, servers.len()) {
        (reason, 1) => Some(reason),
        (reason, _) => Some(format!("{}: {reason}", server.name)),
    };
    let reasons: Vec<_> = servers.iter().map(reason).collect::<Option<_>>()?;
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

impl From<StageKind> for StageBox {
    fn from(stage: StageKind) -> Self {
        let kind = match stage {
            StageKind::Decode => "decode",
            StageKind::Filter(_) => "filter",
            StageKind::Execute => "execute",
            StageKind::Encode => "encode",
            _ => "stage",
        };
        Self { name: stage.name(), kind }
    }
}

impl Last {
    fn of<const N: usize>(recent: &Recent<Met, N>) -> Self {
        Self { count: recent.count(), last: recent.iter().cloned().collect() }
    }
}
