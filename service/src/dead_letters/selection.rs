//! Which dead letters: what a filter says, once its times are fixed.

use jobstream::kafka::{PartitionRange, TopicReader};
use jobstream::record::{ConsumerRecord, Timestamp};
use serde::{Deserialize, Serialize};

use super::args::Filter;
use super::letter::Letter;
use crate::operations::OperationError;

/// Which dead letters. As text it is part of a run's note.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Selection {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<Timestamp>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    partitions: Vec<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
}

impl Selection {
    pub(super) fn new(filter: &Filter, now_ms: Timestamp) -> Self {
        Self {
            reasons: filter.reason.clone(),
            from: filter.from.map(|moment| moment.timestamp(now_ms)),
            to: filter.to.map(|moment| moment.timestamp(now_ms)),
            partitions: filter.partition.clone(),
            key: filter.key.clone(),
            groups: filter.group.clone(),
        }
    }

    /// Whether it says of which groups.
    pub(super) fn names_groups(&self) -> bool {
        !self.groups.is_empty()
    }

    /// Whether it selects everything.
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a dead letter is one of them. One without a timestamp is of no time.
    pub(super) fn has(&self, record: &ConsumerRecord) -> bool {
        let at = |is_in: &dyn Fn(Timestamp) -> bool| record.timestamp.is_some_and(is_in);
        let (reason, group) = (Letter(record).reason(), Letter(record).group());
        let is_of = |wanted: &String| Some(wanted.as_str()) == group;
        (self.reasons.is_empty() || self.reasons.iter().any(|wanted| wanted == reason))
            && (self.partitions.is_empty() || self.partitions.contains(&record.partition.partition))
            && self.from.is_none_or(|from| at(&|timestamp| timestamp >= from))
            && self.to.is_none_or(|to| at(&|timestamp| timestamp < to))
            && (self.groups.is_empty() || self.groups.iter().any(is_of))
            && self.key.as_ref().is_none_or(|key| record.key.as_deref() == Some(key.as_bytes()))
    }

    /// What is to be read for it now, by partition.
    ///
    /// # Errors
    /// If a partition does not exist, or the brokers do not answer.
    pub(super) async fn ranges(
        &self,
        reader: &TopicReader,
        partitions: usize,
    ) -> Result<Vec<PartitionRange>, OperationError> {
        let exists = |number: &&i32| usize::try_from(**number).is_ok_and(|n| n < partitions);
        if let Some(number) = self.partitions.iter().find(|number| !exists(number)) {
            let last = partitions.saturating_sub(1);
            let text = format!("--partition: found {number}, expected 0 to {last}");
            return Err(OperationError::Usage(text));
        }
        let mut ranges = reader.ranges(partitions).await?;
        ranges.retain(|range| {
            self.partitions.is_empty() || self.partitions.contains(&range.partition)
        });
        Ok(match self.from {
            Some(from) => reader.since(ranges, from).await?,
            None => ranges,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::letter::tests::letter;
    use super::*;
    use crate::operations::TimeArg;

    #[test]
    fn every_filter_must_hold() {
        let headers = [("dead-letter-reason", "undecodable"), ("dead-letter-group", "mailers")];
        let record = letter(&headers);
        let none = Filter::default();
        let filters = [
            (true, none.clone()),
            (true, Filter { reason: vec!["a".into(), "undecodable".into()], ..none.clone() }),
            (false, Filter { reason: vec!["a".into()], ..none.clone() }),
            (true, Filter { from: Some(TimeArg::At(1_000)), ..none.clone() }),
            (false, Filter { from: Some(TimeArg::At(1_001)), ..none.clone() }),
            (true, Filter { to: Some(TimeArg::At(1_001)), ..none.clone() }),
            (false, Filter { to: Some(TimeArg::At(1_000)), ..none.clone() }),
            (false, Filter { to: Some(TimeArg::Ago(1)), ..none.clone() }),
            (true, Filter { partition: vec![0, 2], ..none.clone() }),
            (false, Filter { partition: vec![0], ..none.clone() }),
            (true, Filter { group: vec!["a".into(), "mailers".into()], ..none.clone() }),
            (false, Filter { group: vec!["mailer".into()], ..none.clone() }),
            (true, Filter { key: Some("key".into()), ..none.clone() }),
            (false, Filter { key: Some("kez".into()), ..none }),
        ];
        for (expected, filter) in filters {
            assert_eq!(Selection::new(&filter, 1_500).has(&record), expected, "{filter:?}");
        }
    }

    #[test]
    fn a_letter_without_key_time_or_group_is_of_none() {
        let mut record = letter(&[]);
        (record.key, record.timestamp) = (None, None);
        assert!(Selection::default().has(&record));
        assert!(!Selection { key: Some(String::new()), ..Selection::default() }.has(&record));
        assert!(!Selection { from: Some(0), ..Selection::default() }.has(&record));
        assert!(!Selection { groups: vec![String::new()], ..Selection::default() }.has(&record));
    }
}
