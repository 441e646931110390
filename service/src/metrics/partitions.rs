//! Where the assigned partitions stand.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobstream::record::TopicPartition;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;

/// The assigned partitions of this process, and what is known of each; a partition that is gone is
/// forgotten, and so are its metrics.
#[derive(Debug, Default)]
pub(super) struct Partitions(Mutex<BTreeMap<TopicPartition, Standing>>);

#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    /// Runs of this process that have it: two, while one hands it to another.
    owners: usize,
    frontier: Option<Frontier>,
    watermarks: Option<(i64, i64)>,
    /// It waits for a part of the state that there is no place for.
    lacks_part: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Frontier {
    pub(super) offset: i64,
    pub(super) in_flight: usize,
    pub(super) age: Duration,
}

impl Standing {
    /// Records that are there and unfinished: from the frontier, or from what retention has left.
    fn lag(&self) -> Option<i64> {
        let (low, high) = self.watermarks?;
        Some((high - self.frontier?.offset.max(low)).max(0))
    }
}

impl Partitions {
    pub(super) fn insert(&self, partition: &TopicPartition) {
        let mut all = self.all();
        let standing = all.entry(partition.clone()).or_default();
        *standing = Standing { owners: standing.owners + 1, ..Standing::default() };
    }

    pub(super) fn remove(&self, partition: &TopicPartition) {
        let mut all = self.all();
        let Some(standing) = all.get_mut(partition) else { return };
        standing.owners -= 1;
        if standing.owners == 0 {
            all.remove(partition);
        }
    }

    /// The partitions of this number have no part of the state, or have it now.
    pub(super) fn lack_part(&self, number: i32, lacks_part: bool) {
        for (partition, standing) in &mut *self.all() {
            if partition.partition == number {
                standing.lacks_part = lacks_part;
            }
        }
    }

    /// A partition that has no part of the state, and waits for it.
    pub(super) fn lacking_part(&self) -> Option<TopicPartition> {
        let all = self.all();
        let lacking = all.iter().find(|(_, standing)| standing.lacks_part);
        lacking.map(|(partition, _)| partition.clone())
    }

    pub(super) fn count(&self) -> usize {
        self.all().len()
    }

    pub(super) fn stands(&self, partition: &TopicPartition, frontier: Frontier) {
        if let Some(standing) = self.all().get_mut(partition) {
            standing.frontier = Some(frontier);
        }
    }

    /// Takes note of the lowest offset that is there, and of the one after the last.
    pub(super) fn ends(&self, partition: &TopicPartition, low: i64, high: i64) {
        if let Some(standing) = self.all().get_mut(partition) {
            standing.watermarks = Some((low, high));
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<TopicPartition, Standing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn gauge(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        (name, help): (&str, &str),
        value: impl Fn(&Standing) -> Option<f64>,
    ) -> fmt::Result {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (partition, standing) in &*self.all() {
            let Some(value) = value(standing) else { continue };
            let number = partition.partition.to_string();
            let labels = [("topic", &*partition.topic), ("partition", &*number)];
            ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

impl Collector for Partitions {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let frontier = |value: fn(&Frontier) -> f64| {
            move |standing: &Standing| standing.frontier.as_ref().map(value)
        };
        let encoder = &mut encoder;
        self.gauge(encoder, IN_FLIGHT, frontier(|frontier| frontier.in_flight as f64))?;
        self.gauge(encoder, OFFSET, frontier(|frontier| frontier.offset as f64))?;
        self.gauge(encoder, AGE, frontier(|frontier| frontier.age.as_secs_f64()))?;
        self.gauge(encoder, LAG, |standing| standing.lag().map(|lag| lag as f64))
    }
}

const IN_FLIGHT: (&str, &str) =
    ("jobstream_partition_in_flight_records", "Records taken in and not finished.");
const OFFSET: (&str, &str) = ("jobstream_frontier_offset", "The lowest unfinished offset.");
const AGE: (&str, &str) = (
    "jobstream_frontier_age_seconds",
    "How long the frontier has stood before an unfinished record.",
);
const LAG: (&str, &str) =
    ("jobstream_partition_lag_records", "Offsets from the frontier to the end of the partition.");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lag_counts_what_is_there_from_the_frontier_on() {
        let at = |offset| Frontier { offset, in_flight: 0, age: Duration::ZERO };
        let lag = |offset, low, high| {
            let (frontier, watermarks) = (Some(at(offset)), Some((low, high)));
            Standing { frontier, watermarks, owners: 1, lacks_part: false }.lag()
        };
        assert_eq!(lag(3, 0, 10), Some(7));
        assert_eq!(lag(0, 8, 10), Some(2), "retention has removed the others");
        assert_eq!(lag(12, 0, 10), Some(0), "the end is not the latest");
        assert_eq!(Standing::default().lag(), None);
    }

    #[test]
    fn a_partition_is_forgotten_when_its_last_owner_has_gone() {
        let (partitions, partition) = (Partitions::default(), TopicPartition::new("jobs", 1));
        partitions.insert(&partition);
        partitions.insert(&partition);
        partitions.remove(&partition);
        assert_eq!(partitions.count(), 1);
        partitions.remove(&partition);
        partitions.ends(&partition, 0, 1);
        assert_eq!(partitions.count(), 0);
    }
}
