//! What there is to see in a playground only.

use jobstream::record::TopicPartition;
use jobstream_testkit::broker::Broker;
use serde::Serialize;

use super::books::Account;
use super::member::{Life, Member};
use super::trouble::Trouble;
use super::{GROUP, LEDGER};
use mailjob::topology::Topics;

/// What there is to see in a playground only.
#[derive(Debug, Serialize)]
pub(super) struct Play {
    account: Account,
    members: Vec<MemberView>,
    switches: Vec<Switch>,
    topics: Vec<TopicView>,
}

#[derive(Debug, Serialize)]
struct MemberView {
    number: usize,
    state: &'static str,
    /// The partitions of the input that it has.
    partitions: Vec<i32>,
}

#[derive(Debug, Serialize)]
struct Switch {
    name: &'static str,
    title: &'static str,
    effect: &'static str,
    on: bool,
}

#[derive(Debug, Serialize)]
struct TopicView {
    name: String,
    partitions: Vec<LogView>,
}

/// The log of a partition.
#[derive(Debug, Serialize)]
struct LogView {
    /// The first offset that is there.
    start: i64,
    /// Where a `read_committed` reader stops.
    end: i64,
    /// Where the group has committed, in the input.
    committed: Option<i64>,
}

impl Play {
    pub(super) fn new(
        account: Account,
        broker: &Broker,
        topics: &Topics,
        members: &[Member],
        on: &[Trouble],
    ) -> Self {
        let switch = |trouble: Trouble| Switch {
            name: trouble.name(),
            title: trouble.title(),
            effect: trouble.effect(),
            on: on.contains(&trouble),
        };
        let names = [&*topics.jobs, &*topics.results, &*topics.dead_letters, LEDGER];
        Self {
            account,
            members: members.iter().map(|member| view(broker, member)).collect(),
            switches: Trouble::ALL.map(switch).into(),
            topics: names.map(|name| topic(broker, name)).into(),
        }
    }
}

fn view(broker: &Broker, member: &Member) -> MemberView {
    let assignment = broker.assignment(GROUP);
    let own = assignment.iter().filter(|(_, owner)| Some(**owner) == member.id());
    let partitions: Vec<_> = own.map(|(partition, _)| partition.partition).collect();
    let state = match member.life() {
        Life::Running => "running",
        Life::Killed => "killed",
        Life::Suspended if partitions.is_empty() => "zombie",
        Life::Suspended => "suspended",
    };
    MemberView { number: member.number, state, partitions }
}

fn topic(broker: &Broker, name: &str) -> TopicView {
    let committed = broker.committed(GROUP);
    let log = |partition: TopicPartition| LogView {
        start: broker.log_start_offset(&partition).unwrap_or_default(),
        end: broker.last_stable_offset(&partition).unwrap_or_default(),
        committed: committed.get(&partition).map(|committed| committed.offset),
    };
    let partitions = broker.partitions(name).into_iter().map(log).collect();
    TopicView { name: name.to_owned(), partitions }
}
