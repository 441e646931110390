//! What a page hears: all events of the topology, its sinks and Kafka.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
#[cfg(feature = "kafka")]
use jobstream::kafka;
use jobstream::record::TopicPartition;
use jobstream::sinks::JobErrorKind;
use jobstream::sinks::ledger;
use jobstream::topology::{Event, Fate, Observer, StageKind, Topology};

use super::counts::Counts;
use super::met::Met;
use super::panel::{Panel, PanelView};
use super::recent::Recent;
use super::standing::Standings;
use crate::Topics;

/// How many of each kind are shown.
const FATES_SHOWN: usize = 50;
const DEAD_LETTERS_SHOWN: usize = 20;
const AMBIGUOUS_SHOWN: usize = 20;

/// Whether the page may show what is in jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// It shows ids and coordinates only, and keeps nothing else.
    Hidden,
    /// It shows the values of records.
    Shown,
}

/// Reads the name of a record from its value, for people: an `Id`, for example.
pub type NameOf = fn(value: Option<&[u8]>) -> Option<String>;

/// Counts what it hears, and keeps the last of it; bounded, whatever happens.
pub struct Feed {
    topics: Topics,
    name_of: NameOf,
    content: Content,
    title: Title,
    panels: Mutex<Vec<Arc<dyn Panel>>>,
    heard: Mutex<Heard>,
}

/// What is shown, in words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Title {
    pub(super) service: &'static str,
    pub(super) server: &'static str,
}

/// What was heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) stages: Vec<StageKind>,
    pub(super) counts: Counts,
    pub(super) standings: Standings,
    pub(super) fates: Recent<Met, FATES_SHOWN>,
    pub(super) dead_letters: Recent<Met, DEAD_LETTERS_SHOWN>,
    pub(super) ambiguous: Recent<Met, AMBIGUOUS_SHOWN>,
    /// Why a server of the jobs is away, if it is, as each job sink has found.
    pub(super) servers: BTreeMap<(String, usize), Option<String>>,
}

impl Feed {
    /// Hears what becomes of the records of these topics.
    pub fn new(topics: Topics, name_of: NameOf, content: Content) -> Self {
        let title = Title { service: "jobstream", server: "server" };
        let (panels, heard) = (Mutex::default(), Mutex::default());
        Self { topics, name_of, content, title, panels, heard }
    }

    /// What is shown is called so: the service, and what its jobs are executed by.
    #[must_use]
    pub const fn titled(mut self, service: &'static str, server: &'static str) -> Self {
        self.title = Title { service, server };
        self
    }

    /// What is heard from now on is of this topology: its stages are shown.
    pub fn shows(&self, topology: &Topology) {
        self.heard().stages = topology.stages();
    }

    /// Shows this besides.
    pub fn add_panel(&self, panel: Arc<dyn Panel>) {
        self.panels.lock().unwrap_or_else(PoisonError::into_inner).push(panel);
    }

    pub(super) fn panels(&self) -> Vec<PanelView> {
        let panels = self.panels.lock().unwrap_or_else(PoisonError::into_inner).clone();
        panels.iter().map(|panel| PanelView::of(&**panel)).collect()
    }

    /// Notes why the server of that name is away, as this job sink has found, or that it is there.
    /// Jobs wait where every server is away.
    pub fn server_is_away(&self, server: &str, sink: usize, reason: Option<String>) {
        self.heard().servers.insert((server.to_owned(), sink), reason);
    }

    /// Notes the lowest offset that a partition has, and the one after its last.
    pub fn ends(&self, partition: &TopicPartition, low: i64, high: i64) {
        self.heard().standings.ends(partition, low, high);
    }

    /// How many attempts have followed one whose end nobody knew, as the ledger says.
    pub fn resent(&self) -> u64 {
        self.heard().counts.resent
    }

    pub(super) const fn title(&self) -> Title {
        self.title
    }

    pub(super) const fn topics(&self) -> &Topics {
        &self.topics
    }

    pub(super) fn shows_content(&self) -> bool {
        self.content == Content::Shown
    }

    /// The content of a recent record, if it is still kept.
    pub(super) fn content(&self, number: u64) -> Option<Bytes> {
        self.heard().fates.get(number)?.content.clone()
    }

    pub(super) fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed").field("content", &self.content).finish_non_exhaustive()
    }
}

impl Observer for Feed {
    fn on(&self, event: &Event<'_>) {
        let mut heard = self.heard();
        heard.counts.count(event, &self.topics);
        heard.standings.count(event);
        if let Event::Finished { record, fate, .. } = event {
            let met = Met::new(record, *fate, self.name_of, self.shows_content());
            match fate {
                Fate::DeadLettered(_) => heard.dead_letters.push(met.clone()),
                Fate::Failed(JobErrorKind::Ambiguous) => heard.ambiguous.push(met.clone()),
                _ => {}
            }
            heard.fates.push(met);
        }
    }
}

impl ledger::Observer for Feed {
    fn on(&self, event: &ledger::Event<'_>) {
        self.heard().counts.count_ledger(event);
    }
}

#[cfg(feature = "kafka")]
impl kafka::Observer for Feed {
    fn on(&self, event: &kafka::Event<'_>) {
        if let kafka::Event::Watermarks { partition, low, high } = event {
            self.ends(partition, *low, *high);
        }
    }
}
