//! Members of the classic protocol, each with a connection of its own: a join waits for the others.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
    SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::task::JoinHandle;

use super::{Answer, Side, code, text};
use crate::client::Client;
use crate::operation::{Shift, shift};
use crate::random::Random;

const GROUPS: usize = 2;
const MEMBERS: usize = 3;

#[derive(Clone, Debug)]
pub(crate) struct ClassicOperation {
    pub(crate) group: usize,
    member: usize,
    does: Does,
}

#[derive(Clone, Debug)]
enum Does {
    Join(Joining),
    Sync { shift: Shift, protocol: Option<&'static str>, assigns: usize, version: i16 },
    Heartbeat { shift: Shift, instance: Option<&'static str>, version: i16 },
    Leave { by_instance: Option<&'static str>, with: Option<usize>, version: i16 },
}

#[derive(Clone, Debug)]
struct Joining {
    id: Identity,
    instance: Option<&'static str>,
    protocol_type: &'static str,
    protocols: &'static [(&'static str, &'static str)],
    session_ms: i32,
    version: i16,
}

#[derive(Clone, Copy, Debug)]
enum Identity {
    /// As if it had never been there.
    New,
    Known,
    Wrong,
}

const PROTOCOLS: &[&[(&str, &str)]] = &[
    &[("range", "r")],
    &[("range", "r")],
    &[("range", "r"), ("sticky", "s")],
    &[("sticky", "s"), ("range", "r")],
    &[("range", "other")],
    &[("private", "p")],
    &[],
];
const INSTANCES: &[Option<&str>] = &[None, None, None, Some("i0"), Some("i1")];

impl ClassicOperation {
    pub(crate) fn generate(random: &mut Random) -> Self {
        let does = match random.below(12) {
            0..=4 => Does::Join(Joining {
                id: random.of(&[Identity::New, Identity::Known, Identity::Known, Identity::Wrong]),
                instance: random.of(INSTANCES),
                protocol_type: random
                    .of(&["consumer", "consumer", "consumer", "consumer", "x", ""]),
                protocols: random.of(PROTOCOLS),
                session_ms: if random.one_in(12) {
                    random.of(&[0, 999, 1_800_001])
                } else {
                    300_000
                },
                version: random.of(&[1, 3, 4, 5, 6, 7, 8, 9]),
            }),
            5..=8 => Does::Sync {
                shift: shift(random),
                protocol: random.of(&[None, None, None, Some("range"), Some("unheard")]),
                assigns: random.below(3),
                version: random.of(&[0, 2, 3, 5]),
            },
            9..=10 => Does::Heartbeat {
                shift: shift(random),
                instance: random.of(INSTANCES),
                version: random.of(&[0, 2, 3, 4]),
            },
            _ => Does::Leave {
                by_instance: random.of(INSTANCES),
                with: random.one_in(4).then(|| random.below(MEMBERS)),
                version: random.of(&[0, 2, 3, 4, 5]),
            },
        };
        Self { group: random.below(GROUPS), member: random.below(MEMBERS), does }
    }
}

/// What a member knows of itself, and what it waits for.
pub(crate) struct Member {
    client: Option<Client>,
    waits: Option<Waits>,
    /// Whether its answer was there when the group was last described.
    is_answered: bool,
    id: String,
    generation: i32,
}

enum Waits {
    Join(JoinHandle<(Client, JoinGroupResponse)>),
    Sync(JoinHandle<(Client, SyncGroupResponse)>),
}

impl Waits {
    fn abort(&self) {
        match self {
            Self::Join(answer) => answer.abort(),
            Self::Sync(answer) => answer.abort(),
        }
    }

    fn is_over(&self) -> bool {
        match self {
            Self::Join(answer) => answer.is_finished(),
            Self::Sync(answer) => answer.is_finished(),
        }
    }
}

fn name(group: usize) -> String {
    format!("c{group}")
}

impl Side {
    /// Waits for no answer any more.
    pub(crate) fn stop(&self) {
        self.classic.values().filter_map(|member| member.waits.as_ref()).for_each(Waits::abort);
    }

    /// Whether the members that send it wait for nothing.
    pub(super) fn is_free(&self, operation: &ClassicOperation) -> bool {
        let waits = |member| {
            let member = self.classic.get(&(operation.group, member));
            member.is_some_and(|member| member.waits.is_some())
        };
        !waits(operation.member)
    }

    pub(super) fn classic_identity(&self, key: (usize, usize)) -> Option<(String, i32)> {
        let member = self.classic.get(&key)?;
        Some((member.id.clone(), member.generation))
    }

    /// What stands for the id of a member on both sides.
    pub(super) fn member_label(&self, id: &str) -> String {
        let known = self.classic.iter().find(|(_, member)| member.id == id && !id.is_empty());
        match known {
            Some(((_, number), _)) => format!("m{number}"),
            None if id.is_empty() => "none".to_owned(),
            None => "another".to_owned(),
        }
    }

    pub(super) async fn ask_classic(&mut self, operation: &ClassicOperation) -> Answer {
        let key = (operation.group, operation.member);
        if !self.classic.contains_key(&key) {
            let client = Some(Client::connect(self.address).await);
            let (waits, is_answered) = (None, false);
            let member = Member { client, waits, is_answered, id: String::new(), generation: -1 };
            self.classic.insert(key, member);
        }
        match &operation.does {
            Does::Join(joining) => self.join(key, joining).await,
            Does::Sync { shift, protocol, assigns, version } => {
                self.sync(key, *shift, *protocol, *assigns, *version).await;
            }
            Does::Heartbeat { shift, instance, version } => {
                return self.heartbeat(key, *shift, *instance, *version).await;
            }
            Does::Leave { by_instance, with, version } => {
                return self.leave(key, *by_instance, *with, *version).await;
            }
        }
        (0, "sent".to_owned())
    }

    async fn join(&mut self, key: (usize, usize), joining: &Joining) {
        let Joining { id, instance, protocol_type, protocols, session_ms, version } = joining;
        let (group, version) = (self.group(&name(key.0)), *version);
        let Some(member) = self.classic.get_mut(&key) else { return };
        let id = match id {
            Identity::New => String::new(),
            Identity::Known => member.id.clone(),
            Identity::Wrong => "wrong".to_owned(),
        };
        let protocols = protocols.iter().map(|(name, metadata)| {
            JoinGroupRequestProtocol::default()
                .with_name(text(name))
                .with_metadata(Bytes::from_static(metadata.as_bytes()))
        });
        let request = JoinGroupRequest::default()
            .with_group_id(group)
            .with_session_timeout_ms(*session_ms)
            .with_rebalance_timeout_ms(300_000)
            .with_member_id(text(&id))
            .with_group_instance_id(instance.filter(|_| version >= 5).map(text))
            .with_protocol_type(text(protocol_type))
            .with_protocols(protocols.collect());
        let Some(mut client) = member.client.take() else { return };
        client.send(&request, version).await;
        member.waits = Some(Waits::Join(tokio::spawn(async move {
            let answer = client.answer::<JoinGroupRequest>(version).await;
            (client, answer)
        })));
    }

    async fn sync(
        &mut self,
        key: (usize, usize),
        shift: Shift,
        protocol: Option<&str>,
        assigns: usize,
        version: i16,
    ) {
        let group = self.group(&name(key.0));
        let members = (0..MEMBERS).filter_map(|other| self.classic.get(&(key.0, other)));
        let ids = members.map(|member| member.id.clone()).filter(|id| !id.is_empty());
        let assignments: Vec<_> = ids
            .take(assigns)
            .map(|id| {
                SyncGroupRequestAssignment::default()
                    .with_member_id(text(&id))
                    .with_assignment(Bytes::from_static(b"assigned"))
            })
            .collect();
        let Some(member) = self.classic.get_mut(&key) else { return };
        let protocol = protocol.filter(|_| version >= 5).map(text);
        let request = SyncGroupRequest::default()
            .with_group_id(group)
            .with_member_id(text(&member.id))
            .with_generation_id(member.generation + i32::from(shift))
            .with_protocol_type(protocol.as_ref().map(|_| text("consumer")))
            .with_protocol_name(protocol)
            .with_assignments(assignments);
        let Some(mut client) = member.client.take() else { return };
        client.send(&request, version).await;
        member.waits = Some(Waits::Sync(tokio::spawn(async move {
            let answer = client.answer::<SyncGroupRequest>(version).await;
            (client, answer)
        })));
    }

    async fn heartbeat(
        &mut self,
        key: (usize, usize),
        shift: Shift,
        instance: Option<&str>,
        version: i16,
    ) -> Answer {
        let (id, generation) = self.classic_identity(key).unwrap_or_default();
        let request = HeartbeatRequest::default()
            .with_group_id(self.group(&name(key.0)))
            .with_member_id(text(&id))
            .with_group_instance_id(instance.filter(|_| version >= 3).map(text))
            .with_generation_id(generation + i32::from(shift));
        let found = self.client.ask(&request, version).await.error_code;
        (found, code(found))
    }

    async fn leave(
        &mut self,
        key: (usize, usize),
        by_instance: Option<&str>,
        with: Option<usize>,
        version: i16,
    ) -> Answer {
        const MANY: i16 = 3;
        let id_of = |member| self.classic_identity((key.0, member)).unwrap_or_default().0;
        let group = self.group(&name(key.0));
        let request = LeaveGroupRequest::default().with_group_id(group);
        let request = match version {
            MANY.. => {
                let member = |id: &str| MemberIdentity::default().with_member_id(text(id));
                let first = match by_instance {
                    Some(instance) => member("").with_group_instance_id(Some(text(instance))),
                    None => member(&id_of(key.1)),
                };
                let second = with.map(|other| member(&id_of(other)));
                request.with_members([first].into_iter().chain(second).collect())
            }
            _ => request.with_member_id(StrBytes::from_string(id_of(key.1))),
        };
        let answer = self.client.ask(&request, version).await;
        let members: Vec<_> = answer.members.iter().map(|member| code(member.error_code)).collect();
        (answer.error_code, format!("{} {members:?}", code(answer.error_code)))
    }

    /// How the group is described, and which of its members wait.
    pub(crate) async fn group_now(&mut self, group: usize) -> String {
        let described = self.describe_classic(&name(group), 5).await;
        let mut waiting = Vec::new();
        for number in 0..MEMBERS {
            let Some(member) = self.classic.get_mut(&(group, number)) else { continue };
            member.is_answered = member.waits.as_ref().is_some_and(Waits::is_over);
            if member.waits.is_some() && !member.is_answered {
                waiting.push(number);
            }
        }
        format!("{waiting:?} wait, {described}")
    }

    /// What members were answered since they began to wait.
    pub(crate) async fn arrived(&mut self, group: usize) -> BTreeMap<usize, String> {
        let mut answers = BTreeMap::new();
        for number in 0..MEMBERS {
            let Some(member) = self.classic.get_mut(&(group, number)) else { continue };
            let is_answered = std::mem::take(&mut member.is_answered);
            let Some(waits) = member.waits.take_if(|_| is_answered) else { continue };
            let answer = match waits {
                Waits::Join(answer) => {
                    let (client, answer) = answer.await.unwrap();
                    member.client = Some(client);
                    if !answer.member_id.is_empty() {
                        member.id = answer.member_id.to_string();
                    }
                    if answer.error_code == 0 {
                        member.generation = answer.generation_id;
                    }
                    Some(answer)
                }
                Waits::Sync(answer) => {
                    let (client, answer) = answer.await.unwrap();
                    member.client = Some(client);
                    let (kind, protocol) =
                        (answer.protocol_type.as_deref(), answer.protocol_name.as_deref());
                    let rest = (kind, protocol, &answer.assignment);
                    answers.insert(number, format!("{} {rest:?}", code(answer.error_code)));
                    None
                }
            };
            if let Some(answer) = answer {
                answers.insert(number, self.joined(&answer));
            }
        }
        answers
    }

    fn joined(&self, answer: &JoinGroupResponse) -> String {
        let mut members: Vec<_> = answer
            .members
            .iter()
            .map(|member| {
                let instance = member.group_instance_id.as_deref();
                format!("{instance:?} {:?}", member.metadata)
            })
            .collect();
        members.sort();
        let leads = answer.leader == answer.member_id && !answer.leader.is_empty();
        let protocol = (answer.protocol_type.as_deref(), answer.protocol_name.as_deref());
        let rest =
            (answer.generation_id, leads, answer.skip_assignment, answer.member_id.is_empty());
        format!("{} {rest:?} {protocol:?} {members:?}", code(answer.error_code))
    }
}
