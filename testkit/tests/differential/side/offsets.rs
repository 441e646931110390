//! What groups commit, and read again.

use kafka_protocol::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use kafka_protocol::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest};
use kafka_protocol::protocol::StrBytes;

use super::{Answer, Side, code, text};
use crate::operation::{Shift, Topic, partition, shift};
use crate::random::Random;

/// Every group of a lane: those that only commit, classic ones, those of KIP-848, and no name.
pub(crate) const GROUPS: &[&str] = &["bakers", "couriers", "c0", "c1", "k0", "k1", ""];

/// Who commits, or reads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Committer {
    /// Nobody who says who it is.
    Plain,
    /// A member of the group, with its generation or epoch.
    Member(usize, Shift),
    Stranger(i32),
}

impl Committer {
    pub(crate) fn generate(random: &mut Random) -> Self {
        match random.below(5) {
            0..=1 => Self::Plain,
            2..=3 => Self::Member(random.below(3), shift(random)),
            _ => Self::Stranger(random.of(&[-1, 0, 3])),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum OffsetOperation {
    Commit {
        group: &'static str,
        committer: Committer,
        topic: Topic,
        partition: i32,
        offset: i64,
        epoch: i32,
        long: bool,
        version: i16,
    },
    Fetch {
        group: &'static str,
        reader: Committer,
        /// All that the group has committed, if it is none.
        of: Option<(Topic, i32)>,
        stable: bool,
        version: i16,
    },
    Delete {
        group: &'static str,
        topic: Topic,
        partition: i32,
    },
}

/// So often that no group takes it as metadata.
const TOO_LONG: &str = "0123456789";

impl OffsetOperation {
    pub(crate) fn generate(random: &mut Random) -> Self {
        let group = random.of(GROUPS);
        let (topic, partition) = (Topic::generate(random), partition(random));
        match random.below(9) {
            0..=4 => Self::Commit {
                group,
                committer: Committer::generate(random),
                topic,
                partition,
                offset: random.below(5) as i64,
                epoch: random.of(&[-1, 0, 2]),
                long: random.one_in(8),
                version: random.of(&[2, 5, 7, 8, 9]),
            },
            5..=7 => Self::Fetch {
                group,
                reader: Committer::generate(random),
                of: (!random.one_in(4)).then_some((topic, partition)),
                stable: random.one_in(2),
                version: random.of(&[1, 2, 5, 7, 8, 9]),
            },
            _ => Self::Delete { group, topic, partition },
        }
    }
}

impl Side {
    /// The member's id, and its generation or epoch, in this group.
    pub(super) fn committer(&self, group: &str, committer: Committer) -> (StrBytes, i32) {
        match committer {
            Committer::Plain => (text(""), -1),
            Committer::Stranger(generation) => (text("stranger"), generation),
            Committer::Member(member, shift) => {
                let kind = group.chars().next();
                let number = group.chars().last().and_then(|last| last.to_digit(10));
                let key = (number.unwrap_or_default() as usize, member);
                let known = match kind {
                    Some('c') if number.is_some() => self.classic_identity(key),
                    Some('k') => self.consumer_identity(key),
                    _ => None,
                };
                let (id, generation) = known.unwrap_or_else(|| (format!("nobody-{member}"), 1));
                (text(&id), generation + i32::from(shift))
            }
        }
    }

    pub(super) async fn ask_offset(&mut self, operation: &OffsetOperation) -> Answer {
        match operation {
            OffsetOperation::Commit {
                group,
                committer,
                topic,
                partition,
                offset,
                epoch,
                long,
                version,
            } => {
                let asked = OffsetCommitRequestPartition::default()
                    .with_partition_index(*partition)
                    .with_committed_offset(*offset)
                    .with_committed_leader_epoch(if *version >= 6 { *epoch } else { -1 })
                    .with_committed_metadata(Some(text("note")));
                // Of a group that has committed nothing else, Kafka's readers know at some time.
                let too_long =
                    asked.clone().with_committed_metadata(Some(text(&TOO_LONG.repeat(500))));
                let too_long = Some(too_long).filter(|_| *long);
                let asked = OffsetCommitRequestTopic::default()
                    .with_name(self.topic(*topic))
                    .with_partitions([asked].into_iter().chain(too_long).collect());
                let (member, generation) = self.committer(group, *committer);
                let request = OffsetCommitRequest::default()
                    .with_group_id(self.group(group))
                    .with_member_id(member)
                    .with_generation_id_or_member_epoch(generation)
                    .with_topics(vec![asked]);
                let answer = self.client.ask(&request, *version).await;
                let partitions = answer.topics[0].partitions.iter();
                let codes: Vec<_> = partitions.map(|found| code(found.error_code)).collect();
                (answer.topics[0].partitions[0].error_code, format!("{codes:?}"))
            }
            OffsetOperation::Fetch { group, reader, of, stable, version } => {
                let answer = self.committed(group, *of, *stable, *version, *reader).await;
                (0, answer)
            }
            OffsetOperation::Delete { group, topic, partition } => {
                let asked =
                    OffsetDeleteRequestPartition::default().with_partition_index(*partition);
                let asked = OffsetDeleteRequestTopic::default()
                    .with_name(self.topic(*topic))
                    .with_partitions(vec![asked]);
                let request = OffsetDeleteRequest::default()
                    .with_group_id(self.group(group))
                    .with_topics(vec![asked]);
                let answer = self.client.ask(&request, 0).await;
                let inner = answer.topics.first().and_then(|topic| topic.partitions.first());
                let inner = inner.map(|partition| code(partition.error_code));
                (answer.error_code, format!("{} {inner:?}", code(answer.error_code)))
            }
        }
    }

    async fn committed(
        &mut self,
        group: &str,
        of: Option<(Topic, i32)>,
        stable: bool,
        version: i16,
        reader: Committer,
    ) -> String {
        const MANY_GROUPS: i16 = 8;
        const STABLE: i16 = 7;
        if version >= MANY_GROUPS {
            return self.committed_of_groups(group, of, stable, version, reader).await;
        }
        let topics = of.map(|(topic, partition)| {
            vec![
                OffsetFetchRequestTopic::default()
                    .with_name(self.topic(topic))
                    .with_partition_indexes(vec![partition]),
            ]
        });
        // The first version has no way to ask for all.
        let topics = if version < 2 { Some(topics.unwrap_or_default()) } else { topics };
        let request = OffsetFetchRequest::default()
            .with_group_id(self.group(group))
            .with_require_stable(stable && version >= STABLE)
            .with_topics(topics);
        let answer = self.client.ask(&request, version).await;
        let mut lines = Vec::new();
        for topic in &answer.topics {
            for found in &topic.partitions {
                let rest = (found.committed_offset, found.committed_leader_epoch);
                let name = self.unnamed(&topic.name);
                let (error, metadata) = (code(found.error_code), found.metadata.as_deref());
                lines.push(format!(
                    "{name}-{} {error} {rest:?} {metadata:?}",
                    found.partition_index
                ));
            }
        }
        lines.sort();
        format!("{} {lines:?}", code(answer.error_code))
    }

    async fn committed_of_groups(
        &mut self,
        group: &str,
        of: Option<(Topic, i32)>,
        stable: bool,
        version: i16,
        reader: Committer,
    ) -> String {
        const MEMBERS: i16 = 9;
        let topics = of.map(|(topic, partition)| {
            vec![
                OffsetFetchRequestTopics::default()
                    .with_name(self.topic(topic))
                    .with_partition_indexes(vec![partition]),
            ]
        });
        let mut asked =
            OffsetFetchRequestGroup::default().with_group_id(self.group(group)).with_topics(topics);
        if version >= MEMBERS && !matches!(reader, Committer::Plain) {
            let (member, epoch) = self.committer(group, reader);
            asked = asked.with_member_id(Some(member)).with_member_epoch(epoch);
        }
        let other = OffsetFetchRequestGroup::default()
            .with_group_id(self.group("bakers"))
            .with_topics(None);
        let request = OffsetFetchRequest::default()
            .with_require_stable(stable)
            .with_groups(vec![asked, other]);
        let answer = self.client.ask(&request, version).await;
        let mut lines = Vec::new();
        for group in &answer.groups {
            let of = self.unnamed(&group.group_id);
            lines.push(format!("{of} {}", code(group.error_code)));
            for topic in &group.topics {
                for found in &topic.partitions {
                    let rest = (found.committed_offset, found.committed_leader_epoch);
                    let place = (self.unnamed(&topic.name), found.partition_index);
                    let (error, metadata) = (code(found.error_code), found.metadata.as_deref());
                    lines.push(format!("{of} {place:?} {error} {rest:?} {metadata:?}"));
                }
            }
        }
        lines.sort();
        format!("{lines:?}")
    }
}
