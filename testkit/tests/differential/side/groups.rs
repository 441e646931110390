//! Groups as an administrator asks for them: listed, described, deleted.

use kafka_protocol::messages::{
    ConsumerGroupDescribeRequest, DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest,
};

use super::offsets::GROUPS;
use super::{Answer, Side, code, text};
use crate::random::Random;

#[derive(Clone, Debug)]
pub(crate) enum GroupOperation {
    List {
        state: Option<&'static str>,
        kind: Option<&'static str>,
        version: i16,
    },
    Describe {
        group: &'static str,
        version: i16,
    },
    /// A group whose partitions the broker assigns.
    DescribeConsumer {
        group: &'static str,
        version: i16,
    },
    Delete {
        group: &'static str,
    },
}

impl GroupOperation {
    pub(crate) fn generate(random: &mut Random) -> Self {
        let group = random.of(GROUPS);
        match random.below(7) {
            0 => Self::List {
                state: random.of(&[None, None, Some("Stable"), Some("empty"), Some("Unheard")]),
                kind: random.of(&[None, None, Some("classic"), Some("Consumer"), Some("unheard")]),
                version: random.of(&[0, 3, 4, 5]),
            },
            1..=2 => Self::Describe { group, version: random.of(&[0, 3, 4, 5, 6]) },
            3..=4 => Self::DescribeConsumer { group, version: random.of(&[0, 1]) },
            _ => Self::Delete { group },
        }
    }
}

impl Side {
    pub(super) async fn ask_group(&mut self, operation: &GroupOperation) -> Answer {
        match operation {
            GroupOperation::List { state, kind, version } => {
                self.list_groups(*state, *kind, *version).await
            }
            GroupOperation::Describe { group, version } => {
                (0, self.describe_classic(group, *version).await)
            }
            GroupOperation::DescribeConsumer { group, version } => {
                (0, self.describe_consumer(group, *version).await)
            }
            GroupOperation::Delete { group } => {
                let request =
                    DeleteGroupsRequest::default().with_groups_names(vec![self.group(group)]);
                let found = self.client.ask(&request, 2).await.results[0].error_code;
                (found, code(found))
            }
        }
    }

    async fn list_groups(
        &mut self,
        state: Option<&str>,
        kind: Option<&str>,
        version: i16,
    ) -> Answer {
        let mut request = ListGroupsRequest::default();
        if version >= 4 {
            request.states_filter = state.map(text).into_iter().collect();
        }
        if version >= 5 {
            request.types_filter = kind.map(text).into_iter().collect();
        }
        let answer = self.client.ask(&request, version).await;
        let own = answer.groups.iter().filter(|group| group.group_id.ends_with(&*self.lane));
        let mut lines: Vec<_> = own
            .map(|group| {
                let (state, kind) = (&*group.group_state, &*group.group_type);
                let name = self.unnamed(&group.group_id);
                format!("{name} {:?} {state} {kind}", &*group.protocol_type)
            })
            .collect();
        lines.sort();
        (answer.error_code, format!("{} {lines:?}", code(answer.error_code)))
    }

    pub(super) async fn describe_classic(&mut self, group: &str, version: i16) -> String {
        let request = DescribeGroupsRequest::default().with_groups(vec![self.group(group)]);
        let answer = self.client.ask(&request, version).await;
        let found = &answer.groups[0];
        let mut members: Vec<_> = found
            .members
            .iter()
            .map(|member| {
                let instance = member.group_instance_id.as_deref();
                let id = self.member_label(&member.member_id);
                let (metadata, assignment) = (&member.member_metadata, &member.member_assignment);
                format!("{id} {instance:?} {metadata:?} {assignment:?}")
            })
            .collect();
        members.sort();
        let state = &*found.group_state;
        let protocol = (&*found.protocol_type, &*found.protocol_data);
        format!("{} {state} {protocol:?} {members:?}", code(found.error_code))
    }

    async fn describe_consumer(&mut self, group: &str, version: i16) -> String {
        let request =
            ConsumerGroupDescribeRequest::default().with_group_ids(vec![self.group(group)]);
        let answer = self.client.ask(&request, version).await;
        let found = &answer.groups[0];
        let mut members: Vec<_> = found
            .members
            .iter()
            .map(|member| {
                let id = self.unnamed(&member.member_id);
                let rest = (member.instance_id.as_deref(), member.member_epoch, member.member_type);
                let parts = |assignment: &kafka_protocol::messages::consumer_group_describe_response::Assignment| {
                    let topics = assignment.topic_partitions.iter();
                    let mut parts: Vec<_> = topics
                        .map(|topic| {
                            let mut numbers = topic.partitions.clone();
                            numbers.sort_unstable();
                            format!("{}{numbers:?}", self.unnamed(&topic.topic_name))
                        })
                        .collect();
                    parts.sort();
                    parts
                };
                let mut names: Vec<_> = member
                    .subscribed_topic_names
                    .iter()
                    .map(|name| self.unnamed(name))
                    .collect();
                names.sort();
                let (assigned, target) = (parts(&member.assignment), parts(&member.target_assignment));
                format!("{id} {rest:?} {names:?} {assigned:?} {target:?}")
            })
            .collect();
        members.sort();
        let state = &*found.group_state;
        let epochs = (found.group_epoch, found.assignment_epoch, &*found.assignor_name);
        format!("{} {state} {epochs:?} {members:?}", code(found.error_code))
    }
}
