//! What a page hears: all events of the topology, its sinks and Kafka.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
#[cfg(feature = "kafka")]
use jobstream::kafka::{KafkaEvent, KafkaObserver};
use jobstream::record::TopicPartition;
use jobstream::sinks::JobErrorKind;
use jobstream::sinks::ledger;
use jobstream::topology::{Event, Fate, Observer};

use super::Topics;
use super::counts::Counts;
use super::met::Met;
use super::recent::Recent;
use super::standing::Standings;

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
    heard: Mutex<Heard>,
}

/// What was heard.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) counts: Counts,
    pub(super) standings: Standings,
    pub(super) fates: Recent<Met, FATES_SHOWN>,
    pub(super) dead_letters: Recent<Met, DEAD_LETTERS_SHOWN>,
    pub(super) ambiguous: Recent<Met, AMBIGUOUS_SHOWN>,
    /// Why the server of the jobs is away, as each job sink has found.
    pub(super) away: BTreeMap<usize, String>,
}

impl Feed {
    /// Hears what becomes of the records of these topics.
    pub fn new(topics: Topics, name_of: NameOf, content: Content) -> Self {
        Self { topics, name_of, content, heard: Mutex::default() }
    }

    /// Notes why the server of this job sink is away, or that it is there.
    pub fn server_is_away(&self, sink: usize, reason: Option<String>) {
        let away = &mut self.heard().away;
        match reason {
            Some(reason) => drop(away.insert(sink, reason)),
            None => drop(away.remove(&sink)),
        }
    }

    /// Notes the lowest offset that a partition has, and the one after its last.
    pub fn ends(&self, partition: &TopicPartition, low: i64, high: i64) {
        self.heard().standings.ends(partition, low, high);
    }

    /// How many attempts have followed one whose end nobody knew, as the ledger says.
    pub fn resent(&self) -> u64 {
        self.heard().counts.resent
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
        if let Event::Finished { record, fate } = event {
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
impl KafkaObserver for Feed {
    fn on(&self, event: &KafkaEvent<'_>) {
        if let KafkaEvent::Watermarks { partition, low, high } = event {
            self.ends(partition, *low, *high);
        }
    }
}
