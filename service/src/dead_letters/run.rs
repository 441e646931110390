//! A run: which dead letters it covers, and how far it has come. The group keeps it.
//!
//! The position of a run has the run's end with it. A job that fails again becomes a dead letter
//! again: a run that always read to the topic's end would send its own letters back for ever.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use jobstream::kafka::{PartitionRange, Redrive, RedriveError, RunPosition, TopicReader};
use jobstream::record::{Topic, TopicPartition};
use serde::{Deserialize, Serialize};

use super::selection::Selection;
use crate::operations::{Brokers, OperationError};

/// What a group's coordinator takes with a position, in bytes.
const NOTE_LIMIT_BYTES: usize = 4_095;

/// What a run keeps with each position, so that it stays the same run when it goes on.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    /// The offset after the last one that the run covers.
    end: i64,
    selection: Selection,
    /// Where all of them go, if not to where they came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    to_topic: Option<String>,
}

/// A run of the redrive.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) name: String,
    pub(super) selection: Selection,
    /// Where all of them go, if not to where they came from.
    pub(super) to_topic: Option<String>,
    /// What is left of each partition.
    pub(super) left: Vec<PartitionRange>,
    topic: Topic,
}

impl Run {
    /// The group that keeps a run's positions, which is its transactional id, too.
    pub(super) fn group(brokers: &Brokers, name: &str) -> String {
        format!("{}.redrive.{name}", brokers.settings.group)
    }

    /// A name that no other run has.
    pub(super) fn made_up_name() -> String {
        format!("{:016x}", RandomState::new().build_hasher().finish())
    }

    /// A run that begins now, and covers what is there now. Nothing keeps it yet.
    pub(super) async fn begin(
        brokers: &Brokers,
        reader: &TopicReader,
        name: &str,
        selection: Selection,
        to_topic: Option<String>,
    ) -> Result<Self, OperationError> {
        let topic = brokers.settings.topics.dead_letters.clone();
        let partitions = brokers.existing(&topic).await?;
        let left = selection.ranges(reader, partitions).await?;
        let run = Self { name: name.to_owned(), selection, to_topic, left, topic };
        let longest = run.positions().iter().map(|position| position.note.len()).max();
        if longest.is_some_and(|bytes| bytes > NOTE_LIMIT_BYTES) {
            let text = "the filters are too long to be kept with a run: expected fewer or shorter";
            return Err(OperationError::Usage(text.to_owned()));
        }
        Ok(run)
    }

    /// A run that has begun before, if there is one of that name.
    pub(super) async fn find(
        brokers: &Brokers,
        name: &str,
        asked: (&Selection, Option<&str>),
    ) -> Result<Option<Self>, OperationError> {
        let topic = brokers.settings.topics.dead_letters.clone();
        let count = brokers.existing(&topic).await?;
        let partition = |number| TopicPartition::new(topic.clone(), number);
        let partitions: Vec<_> = (0_i32..).take(count).map(partition).collect();
        let group = Self::group(brokers, name);
        let positions = Redrive::positions(&brokers.config, &group, &partitions).await;
        let positions = positions.map_err(|error| failed(name, error))?;
        Self::of(name, &topic, &positions, asked)
    }

    fn of(
        name: &str,
        topic: &Topic,
        positions: &[RunPosition],
        (asked, to_topic): (&Selection, Option<&str>),
    ) -> Result<Option<Self>, OperationError> {
        let mut run: Option<Self> = None;
        for position in positions {
            let note: Note = serde_json::from_str(&position.note).map_err(|error| {
                let text = format!("run '{name}': found no note of a run in its group: {error}");
                OperationError::Missing(text)
            })?;
            let PartitionRange { partition, start, end } = PartitionRange {
                partition: position.partition.partition,
                start: position.offset,
                end: note.end,
            };
            let run = run.get_or_insert_with(|| Self {
                name: name.to_owned(),
                selection: note.selection,
                to_topic: note.to_topic,
                left: Vec::new(),
                topic: topic.clone(),
            });
            run.left.push(PartitionRange { partition, start, end });
        }
        match &run {
            Some(run) if !asked.is_empty() && *asked != run.selection => {
                let text = format!(
                    "run '{name}' has begun with other filters: expected the same, or none"
                );
                Err(OperationError::Usage(text))
            }
            // It is asked for again: the group is not to choose a topic by its note.
            Some(run) if to_topic != run.to_topic.as_deref() => {
                let text = format!(
                    "run '{name}' has begun with {}: expected the same",
                    run.to_topic.as_ref().map_or_else(
                        || "no --to-topic".to_owned(),
                        |topic| format!("--to-topic {topic}")
                    )
                );
                Err(OperationError::Usage(text))
            }
            _ => Ok(run),
        }
    }

    /// Where it is in each of its partitions.
    pub(super) fn positions(&self) -> Vec<RunPosition> {
        self.left.iter().map(|range| self.position(range)).collect()
    }

    fn position(&self, range: &PartitionRange) -> RunPosition {
        let (selection, to_topic) = (self.selection.clone(), self.to_topic.clone());
        let note = Note { end: range.end, selection, to_topic };
        RunPosition {
            partition: TopicPartition::new(self.topic.clone(), range.partition),
            offset: range.start,
            note: serde_json::to_string(&note).expect("a note is text and numbers"),
        }
    }

    /// The records below this offset are dealt with; gives the position that says so.
    pub(super) fn advance(&mut self, index: usize, offset: i64) -> RunPosition {
        self.left[index].start = offset;
        self.position(&self.left[index])
    }

    /// Whether nothing is left.
    pub(super) fn is_complete(&self) -> bool {
        self.left.iter().all(|range| range.start >= range.end)
    }
}

/// A run that did not go on.
pub(super) fn failed(run: &str, error: RedriveError) -> OperationError {
    OperationError::Run { run: run.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letters::args::Filter;

    fn run(selection: &Selection) -> Run {
        Run {
            name: "a".into(),
            selection: selection.clone(),
            to_topic: Some("other".into()),
            left: vec![PartitionRange { partition: 4, start: 2, end: 9 }],
            topic: "dead".into(),
        }
    }

    #[test]
    fn a_run_goes_on_where_it_was_with_the_end_and_the_filters_that_it_began_with() {
        let filter = Filter { key: Some("k".into()), ..Filter::default() };
        let selection = Selection::new(&filter, 0);
        let mut begun = run(&selection);
        let position = begun.advance(0, 5);
        let found = |asked: &Selection, to_topic: Option<&str>| {
            let positions = std::slice::from_ref(&position);
            Run::of("a", &"dead".into(), positions, (asked, to_topic))
        };
        for asked in [Selection::default(), selection.clone()] {
            let found = found(&asked, Some("other")).unwrap().unwrap();
            assert_eq!(found.to_topic.as_deref(), Some("other"));
            assert_eq!(found.selection, selection);
            assert_eq!(found.left, [PartitionRange { partition: 4, start: 5, end: 9 }]);
            assert!(!found.is_complete());
        }
        let other = Filter { key: Some("l".into()), ..Filter::default() };
        for to_topic in [None, Some("jobs")] {
            let refused = found(&selection, to_topic).unwrap_err();
            assert!(refused.to_string().contains("begun with --to-topic other"), "{refused}");
        }
        let refused = found(&Selection::new(&other, 0), Some("other")).unwrap_err();
        assert!(refused.to_string().contains("other filters"), "{refused}");
        assert_eq!(refused.exit_code(), 2);
    }

    #[test]
    fn a_group_that_is_no_runs_is_not_taken_for_one() {
        let mut position = run(&Selection::default()).advance(0, 3);
        position.note = String::new();
        let none = (&Selection::default(), None);
        let found = Run::of("a", &"dead".into(), &[position], none);
        assert!(found.unwrap_err().to_string().contains("no note"));
        assert!(Run::of("a", &"dead".into(), &[], none).unwrap().is_none());
    }
}
