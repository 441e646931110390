//! Where dead letters came from, and where they go.

use std::collections::BTreeMap;

use jobstream::kafka::TopicReader;
use jobstream::record::{ConsumerRecord, ProducerRecord, Topic};

use super::letter::{Letter, Origin};
use crate::operations::{Brokers, OperationError};

/// Decides where a dead letter goes, and reads what it does not hold.
///
/// Every client that can write to the dead letters can write these headers, and a redrive has its
/// operator's rights: so the headers choose neither the topic that is written to nor one that is
/// read.
pub(super) struct Origins<'a> {
    brokers: &'a Brokers,
    rules: Rules<'a>,
    partitions: BTreeMap<Topic, Option<usize>>,
    readers: BTreeMap<Topic, TopicReader>,
}

/// What the settings and the command line allow.
struct Rules<'a> {
    jobs: &'a Topic,
    group: &'a str,
    /// Where all go, if the operator says so.
    to_topic: Option<Topic>,
    /// Whether the operator has chosen the groups.
    any_group: bool,
}

impl Rules<'_> {
    /// Where it goes.
    fn target(&self) -> &Topic {
        self.to_topic.as_ref().unwrap_or(self.jobs)
    }

    /// Where it came from.
    ///
    /// # Errors
    /// Why it is passed over.
    fn origin(&self, letter: Letter<'_>) -> Result<Origin, String> {
        let Some(origin) = letter.origin() else {
            return Err("it does not say where it came from".to_owned());
        };
        if let Some(group) = letter.group().filter(|group| !self.any_group && *group != self.group)
        {
            return Err(format!("it is of the group '{group}', not '{}'; see --group", self.group));
        }
        if self.to_topic.is_none() && origin.partition.topic != *self.jobs {
            let (from, jobs) = (&origin.partition.topic, self.jobs);
            return Err(format!("it came from '{from}', not '{jobs}'; see --to-topic"));
        }
        Ok(origin)
    }

    /// Whether what a dead letter does not hold may be read there.
    fn may_read(&self, topic: &Topic) -> bool {
        topic == self.jobs || topic == self.target()
    }
}

impl<'a> Origins<'a> {
    /// Sends all to `to_topic`, or those of the jobs back to their topic; those of other groups
    /// only if the operator has chosen the groups.
    pub(super) fn new(brokers: &'a Brokers, to_topic: Option<&str>, any_group: bool) -> Self {
        let settings = &brokers.settings;
        let (jobs, group) = (&settings.topics.jobs, settings.group.as_str());
        let to_topic = to_topic.map(Topic::from);
        let rules = Rules { jobs, group, to_topic, any_group };
        Self { brokers, rules, partitions: BTreeMap::new(), readers: BTreeMap::new() }
    }

    /// What is sent for a dead letter, or why it is passed over.
    ///
    /// Back on its topic it goes to the partition that it came from, where the ledger knows it and
    /// other records of its key are, whatever partitioner its producer has.
    pub(super) async fn redriven(
        &mut self,
        record: &ConsumerRecord,
    ) -> Result<Result<ProducerRecord, String>, OperationError> {
        let letter = Letter(record);
        let origin = match self.rules.origin(letter) {
            Ok(origin) => origin,
            Err(cause) => return Ok(Err(cause)),
        };
        let target = self.rules.target().clone();
        let mut back = match letter.is_without_value() {
            false => letter.redriven(&target, record),
            true => match self.find(&origin).await?.filter(|found| letter.was(found)) {
                Some(found) => letter.redriven(&target, &found),
                None => {
                    let gone = "it has no value, and can't be read any more at its origin";
                    return Ok(Err(format!("{gone} {origin}")));
                }
            },
        };
        let Some(partitions) = self.partitions(&target).await? else {
            return Ok(Err(format!("the topic '{target}' does not exist")));
        };
        let partition = origin.partition.partition;
        let is_there = origin.partition.topic == target && has(partitions, partition);
        back.partition = is_there.then_some(partition);
        Ok(Ok(back))
    }

    async fn partitions(&mut self, topic: &Topic) -> Result<Option<usize>, OperationError> {
        if let Some(known) = self.partitions.get(topic) {
            return Ok(*known);
        }
        let found = self.brokers.partitions(topic).await?;
        self.partitions.insert(topic.clone(), found);
        Ok(found)
    }

    /// The record at its origin, if it is still there and may be read.
    async fn find(&mut self, origin: &Origin) -> Result<Option<ConsumerRecord>, OperationError> {
        let (topic, partition) = (&origin.partition.topic, origin.partition.partition);
        let partitions = match self.rules.may_read(topic) {
            true => self.partitions(topic).await?,
            false => None,
        };
        if !partitions.is_some_and(|partitions| has(partitions, partition)) {
            return Ok(None);
        }
        if !self.readers.contains_key(topic) {
            self.readers.insert(topic.clone(), self.brokers.reader(topic)?);
        }
        let reader = &self.readers[topic];
        Ok(reader.find(partition, origin.offset).await?)
    }
}

/// Whether a topic of so many partitions has this one.
fn has(partitions: usize, partition: i32) -> bool {
    usize::try_from(partition).is_ok_and(|number| number < partitions)
}

#[cfg(test)]
mod tests {
    use super::super::letter::tests::letter;
    use super::*;

    /// A dead letter that says this of its topic and its group.
    fn of(topic: &'static str, group: Option<&'static str>) -> ConsumerRecord {
        let mut headers = vec![
            ("dead-letter-topic", topic),
            ("dead-letter-partition", "3"),
            ("dead-letter-offset", "9"),
        ];
        headers.extend(group.map(|group| ("dead-letter-group", group)));
        letter(&headers)
    }

    #[test]
    fn no_header_chooses_the_topic_that_is_written_to_or_one_that_is_read() {
        let [jobs, payments, other] = ["jobs", "payments", "other"].map(Topic::from);
        for (to_topic, allowed) in [
            (None, [true, false, false]),
            (Some(other.clone()), [true, true, true]),
            (Some(jobs.clone()), [true, true, true]),
        ] {
            let target = to_topic.clone().unwrap_or_else(|| Topic::from("jobs"));
            let rules = Rules { jobs: &jobs, group: "mailers", to_topic, any_group: false };
            assert_eq!(*rules.target(), target);
            let is_taken = |topic| rules.origin(Letter(&of(topic, None))).is_ok();
            assert_eq!(["jobs", "payments", "other"].map(is_taken), allowed);
            assert!(rules.may_read(&jobs) && !rules.may_read(&payments));
            assert_eq!(rules.may_read(&other), target == other);
        }
    }

    #[test]
    fn a_letter_of_another_group_is_passed_over_unless_groups_are_chosen() {
        let jobs = "jobs".into();
        let mut rules = Rules { jobs: &jobs, group: "mailers", to_topic: None, any_group: false };
        for group in [None, Some("mailers")] {
            assert!(rules.origin(Letter(&of("jobs", group))).is_ok(), "{group:?}");
        }
        let other = of("jobs", Some("webhooks"));
        let cause = rules.origin(Letter(&other)).unwrap_err();
        assert_eq!(cause, "it is of the group 'webhooks', not 'mailers'; see --group");
        rules.any_group = true;
        assert!(rules.origin(Letter(&other)).is_ok());
    }
}
