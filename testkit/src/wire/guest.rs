//! A guest: a member without a client that joins a group, and leaves it again.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::ResponseError;
use tokio::time::{Instant, sleep, timeout};

use super::api::topics;
use super::assignors::TopicIdPartition;
use super::classic_member::Joining;
use super::consumer_group::{Beat, JOINS, LEAVES};
use super::listener::Listener;
use crate::broker::Broker;

/// How often a guest says that it lives.
const HEARTBEATS_EVERY: Duration = Duration::from_millis(50);
/// How long it waits for the members to let it in; clients notice a rebalance by a heartbeat, which
/// many send every 3 s.
const JOINING_LIMIT: Duration = Duration::from_secs(10);
/// A guest lives as long as it is here.
const SESSION: Duration = Duration::from_secs(3600);

impl Listener {
    /// Lets a guest join this group beside its members, stay for this time once it has its share of
    /// the partitions, and leave. It reads and commits nothing. Nothing happens where the group has no
    /// member. Dropping the future leaves the guest in the group.
    pub(crate) fn visit(
        &self,
        group: &str,
        stay: Duration,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (broker, group) = (self.cluster().broker().clone(), group.to_owned());
        async move {
            let is_consumer = broker.with(|state| {
                let group = state.wire.consumer_groups.get(&*group);
                group.is_some_and(|group| !group.members().is_empty())
            });
            if is_consumer {
                visit_consumer_group(&broker, &group, stay).await;
            } else {
                visit_classic(&broker, &group, stay).await;
            }
        }
    }
}

impl Broker {
    /// The groups that clients on the wire are members of.
    pub(crate) fn groups_on_the_wire(&self) -> Vec<String> {
        self.with(|state| {
            let classic = state.wire.groups.iter().filter(|(_, group)| !group.is_unused());
            let consumer = state.wire.consumer_groups.iter();
            let consumer = consumer.filter(|(_, group)| !group.members().is_empty());
            let names = classic.map(|(name, _)| name).chain(consumer.map(|(name, _)| name));
            names.map(|name| name.to_string()).collect()
        })
    }
}

fn id(broker: &Broker) -> String {
    broker.with(|state| {
        state.wire.member_ids += 1;
        format!("guest-{}", state.wire.member_ids)
    })
}

async fn visit_classic(broker: &Broker, name: &str, stay: Duration) {
    let id = id(broker);
    let like = broker.with(|state| {
        let members = state.wire.groups.get(name)?.members();
        members.map(|(_, member)| member.joining().clone()).next()
    });
    let Some(like) = like else { return };
    let joining =
        Joining { instance: None, client_id: "guest".to_owned(), session_timeout: SESSION, ..like };
    let stays = timeout(JOINING_LIMIT, enter(broker, name, &id, &joining)).await;
    if stays.is_ok_and(|entered| entered.is_ok()) {
        let _ = timeout(stay, remain(broker, name, &id, &joining)).await;
    }
    broker.change(|state| {
        if let Some(group) = state.wire.groups.get_mut(name) {
            // It may have been expelled.
            let _ = group.leave(&id, None, Instant::now());
        }
        state.wire.move_deadline();
    });
}

/// Joins, or joins again, and is given partitions. A guest can't lead.
async fn enter(
    broker: &Broker,
    name: &str,
    id: &str,
    joining: &Joining,
) -> Result<(), ResponseError> {
    loop {
        let join = broker.change(|state| {
            let group = state.wire.groups.get_mut(name).ok_or(ResponseError::UnknownMemberId)?;
            let (now, joining) = (Instant::now(), joining.clone());
            let is_in = group.ids().any(|member| member == id);
            let join = match is_in {
                true => group.rejoin(id, joining, Duration::ZERO, now),
                false => Ok(group.add(id.to_owned(), joining, Duration::ZERO, now)),
            };
            state.wire.move_deadline();
            join
        })?;
        let joined = join.await.unwrap_or(Err(ResponseError::UnknownMemberId))?;
        if joined.leader == id {
            return Err(ResponseError::UnknownMemberId);
        }
        let sync = broker.change(|state| {
            let group = state.wire.groups.get_mut(name).ok_or(ResponseError::UnknownMemberId)?;
            Ok(group.sync(id, Vec::new(), Instant::now()))
        })?;
        match sync.await.unwrap_or(Err(ResponseError::UnknownMemberId)) {
            Ok(_) => return Ok(()),
            Err(ResponseError::RebalanceInProgress) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Stays in the group until it can't any longer.
async fn remain(broker: &Broker, name: &str, id: &str, joining: &Joining) {
    loop {
        sleep(HEARTBEATS_EVERY).await;
        let beaten = broker.with(|state| {
            let group = state.wire.groups.get_mut(name).ok_or(ResponseError::UnknownMemberId)?;
            group.heartbeat(id, Instant::now())
        });
        let stays = match beaten {
            Ok(()) => true,
            Err(ResponseError::RebalanceInProgress) => {
                enter(broker, name, id, joining).await.is_ok()
            }
            Err(_) => false,
        };
        if !stays {
            return;
        }
    }
}

async fn visit_consumer_group(broker: &Broker, name: &str, stay: Duration) {
    let id = id(broker);
    let (mut epoch, mut owned) = (JOINS, BTreeSet::new());
    let mut ends = Instant::now() + JOINING_LIMIT;
    let mut has_partitions = false;
    while Instant::now() < ends {
        let Some((reached, assigned)) = beat(broker, name, &id, epoch, owned.clone()) else {
            return;
        };
        epoch = reached;
        if let Some(assigned) = assigned {
            owned = assigned;
        }
        if !owned.is_empty() && !has_partitions {
            (has_partitions, ends) = (true, Instant::now() + stay);
        }
        sleep(HEARTBEATS_EVERY).await;
    }
    beat(broker, name, &id, LEAVES, BTreeSet::new());
}

/// The epoch that the guest has reached, and what it may read if that has changed; none where it is out.
fn beat(
    broker: &Broker,
    name: &str,
    id: &str,
    epoch: i32,
    owned: BTreeSet<TopicIdPartition>,
) -> Option<(i32, Option<BTreeSet<TopicIdPartition>>)> {
    broker.change(|state| {
        let topics = topics(state);
        let name: Arc<str> = name.into();
        let group = state.wire.consumer_groups.get_mut(&name)?;
        let like = group.members().iter().find(|(member, _)| *member != id);
        let described = like.map(|(_, member)| member.described.clone())?;
        let beat = Beat {
            member_id: id.to_owned(),
            epoch,
            client_id: "guest".to_owned(),
            rebalance_timeout: Some(JOINING_LIMIT),
            topic_names: Some(described.topic_names),
            topic_regex: described.topic_regex,
            owned: Some(owned),
            ..Beat::default()
        };
        let beaten = group.beat(&beat, &topics, SESSION, Instant::now()).ok()?;
        state.wire.move_deadline();
        Some((beaten.epoch, beaten.assignment))
    })
}
