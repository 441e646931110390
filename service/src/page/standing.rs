//! Where the partitions of the input stand.

use std::collections::BTreeMap;
use std::time::Duration;

use jobstream::record::TopicPartition;
use jobstream::topology::Event;
use serde::Serialize;

/// The partitions that are assigned here, and where each stands.
#[derive(Debug, Default)]
pub(super) struct Standings(BTreeMap<TopicPartition, Standing>);

#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// Runs of this process that have it: two, while one hands it to another.
    owners: usize,
    in_flight: usize,
    frontier: Option<i64>,
    age: Duration,
    watermarks: Option<(i64, i64)>,
}

/// A partition, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct PartitionView {
    topic: String,
    partition: i32,
    /// Records taken in and not finished.
    in_flight: usize,
    /// The lowest unfinished offset.
    frontier: Option<i64>,
    /// Offsets from there to the end of the partition.
    lag: Option<i64>,
    /// For how many seconds the frontier has stood before an unfinished record.
    age_seconds: u64,
}

impl Standings {
    pub(super) fn count(&mut self, event: &Event<'_>) {
        match event {
            Event::Assigned(assignment) => {
                let standing = self.0.entry(assignment.partition.clone()).or_default();
                // An owner that crashed reported no end: what it had in flight is fetched again.
                let owners = standing.owners + 1;
                *standing =
                    Standing { owners, watermarks: standing.watermarks, ..Standing::default() };
            }
            Event::Released(partition) | Event::Lost(partition) => self.gone(partition),
            Event::Fetched(record) => {
                self.change(&record.partition, |standing| standing.in_flight += 1);
            }
            Event::Finished { record, .. } => self.change(&record.partition, |standing| {
                standing.in_flight = standing.in_flight.saturating_sub(1);
            }),
            Event::Frontier { partition, offset, in_flight, age } => {
                self.change(partition, |standing| {
                    standing.frontier = Some(*offset);
                    (standing.in_flight, standing.age) = (*in_flight, *age);
                });
            }
            _ => {}
        }
    }

    fn change(&mut self, partition: &TopicPartition, change: impl FnOnce(&mut Standing)) {
        if let Some(standing) = self.0.get_mut(partition) {
            change(standing);
        }
    }

    fn gone(&mut self, partition: &TopicPartition) {
        let Some(standing) = self.0.get_mut(partition) else { return };
        standing.owners -= 1;
        if standing.owners == 0 {
            self.0.remove(partition);
        }
    }

    /// Takes note of the lowest offset that is there, and of the one after the last.
    pub(super) fn ends(&mut self, partition: &TopicPartition, low: i64, high: i64) {
        self.change(partition, |standing| standing.watermarks = Some((low, high)));
    }

    pub(super) fn view(&self) -> Vec<PartitionView> {
        let view = |(partition, standing): (&TopicPartition, &Standing)| PartitionView {
            topic: partition.topic.to_string(),
            partition: partition.partition,
            in_flight: standing.in_flight,
            frontier: standing.frontier,
            lag: standing.lag(),
            age_seconds: standing.age.as_secs(),
        };
        self.0.iter().map(view).collect()
    }
}

impl Standing {
    /// Offsets that are there and unfinished: from the frontier, or from what retention has left.
    fn lag(&self) -> Option<i64> {
        let (low, high) = self.watermarks?;
        Some((high - self.frontier?.max(low)).max(0))
    }
}
