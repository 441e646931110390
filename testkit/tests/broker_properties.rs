//! Groups of the in-memory broker under any order of joins, leaves, crashes and zombies.

use std::collections::{BTreeMap, BTreeSet};

use futures::stream::BoxStream;
use futures::{FutureExt as _, StreamExt as _};
use jobstream::position::{PartitionPosition, Position};
use jobstream::record::{Generation, ProducerRecord, TopicPartition};
use jobstream::sources::{Source as _, SourceError, SourceEvent};
use jobstream_testkit::broker::{Broker, Consumer, Protocol};
use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_oneof, proptest};

const MEMBERS: usize = 5;
const PARTITIONS: i32 = 4;

#[derive(Clone, Debug)]
enum Action {
    Produce(i32),
    Poll(usize, usize),
    Commit,
    Release(usize),
    Close(usize),
    Crash(usize),
    Suspend(usize),
    Wake(usize),
    Expire(usize),
    Reassign(i32, usize),
    Pause(usize),
    Resume(usize),
}

fn action() -> impl Strategy<Value = Action> {
    let member = || 0..MEMBERS;
    prop_oneof![
        4 => (0..PARTITIONS).prop_map(Action::Produce),
        12 => (member(), 1..8_usize).prop_map(|(member, events)| Action::Poll(member, events)),
        4 => Just(Action::Commit),
        4 => member().prop_map(Action::Release),
        1 => member().prop_map(Action::Close),
        1 => member().prop_map(Action::Crash),
        2 => member().prop_map(Action::Suspend),
        2 => member().prop_map(Action::Wake),
        2 => member().prop_map(Action::Expire),
        2 => (0..PARTITIONS, member()).prop_map(|(partition, to)| Action::Reassign(partition, to)),
        1 => member().prop_map(Action::Pause),
        1 => member().prop_map(Action::Resume),
    ]
}

/// What one member believes.
struct Member<'a> {
    consumer: &'a Consumer,
    events: BoxStream<'a, Result<SourceEvent, SourceError>>,
    owned: BTreeMap<TopicPartition, (Generation, Option<i64>)>,
    revoked: BTreeSet<TopicPartition>,
    delivered: BTreeSet<(TopicPartition, i64)>,
    latest: BTreeMap<TopicPartition, Generation>,
}

impl Member<'_> {
    fn poll(&mut self, events: usize) {
        for _ in 0..events {
            match self.events.next().now_or_never() {
                Some(Some(Ok(event))) => self.see(event),
                Some(Some(Err(error))) => panic!("{error}"),
                Some(None) | None => return,
            }
        }
    }

    fn see(&mut self, event: SourceEvent) {
        match event {
            SourceEvent::Assigned(assigned) => {
                for assignment in assigned {
                    let latest = self.latest.entry(assignment.partition.clone()).or_default();
                    assert!(assignment.generation > *latest, "a generation came twice");
                    *latest = assignment.generation;
                    let next = assignment.position.map(|position| position.frontier());
                    let before =
                        self.owned.insert(assignment.partition, (assignment.generation, next));
                    assert_eq!(before, None, "assigned while it was owned");
                }
            }
            SourceEvent::Record(record) => {
                let owned = self.owned.get_mut(&record.partition);
                let (generation, next) = owned.expect("records come while it is assigned");
                assert!(!self.revoked.contains(&record.partition), "a record after the revocation");
                assert_eq!(record.generation, *generation);
                assert_eq!(record.offset, next.unwrap_or(0), "a record is missing or came twice");
                *next = Some(record.offset + 1);
                self.delivered.insert((record.partition, record.offset));
            }
            SourceEvent::Revoked(asked) => self.revoked.extend(asked),
            SourceEvent::Lost(gone) => {
                for partition in gone {
                    // A release that came too late stays a loss: it may have it no more.
                    self.revoked.remove(&partition);
                    self.owned.remove(&partition);
                }
            }
            SourceEvent::Truncated { .. } => panic!("nothing was truncated"),
        }
    }

    fn release(&mut self) {
        let revoked: Vec<_> = self.revoked.iter().cloned().collect();
        if self.consumer.release(&revoked).now_or_never().is_some() {
            self.owned.retain(|partition, _| !self.revoked.contains(partition));
            self.revoked.clear();
        }
    }

    /// Commits, one by one, what it believes to own, and gives what was taken.
    fn commit(&self) -> Vec<TopicPartition> {
        let mut committed = Vec::new();
        for (partition, &(generation, next)) in &self.owned {
            let position = Position::at(next.unwrap_or(0));
            let position = PartitionPosition { partition: partition.clone(), generation, position };
            if let Some(Ok(())) = self.consumer.commit(&[position]).now_or_never() {
                committed.push(partition.clone());
            }
        }
        committed
    }
}

fn apply(broker: &Broker, members: &mut [Member<'_>], action: &Action) {
    match *action {
        Action::Produce(partition) => {
            let record =
                ProducerRecord { partition: Some(partition), ..ProducerRecord::to("jobs") };
            broker.produce(record).expect("the topic exists");
        }
        Action::Poll(member, events) => members[member].poll(events),
        Action::Commit => {
            let mut committed = BTreeSet::new();
            for partition in members.iter().flat_map(Member::commit) {
                assert!(committed.insert(partition.clone()), "two members committed {partition}");
            }
        }
        Action::Release(member) => members[member].release(),
        Action::Close(member) => drop(members[member].consumer.close().now_or_never()),
        Action::Crash(member) => broker.crash(members[member].consumer.member()),
        Action::Suspend(member) => broker.suspend(members[member].consumer.member()),
        Action::Wake(member) => broker.wake(members[member].consumer.member()),
        Action::Expire(member) => broker.expire(members[member].consumer.member()),
        Action::Reassign(partition, to) => {
            let partition = TopicPartition::new("jobs", partition);
            broker.reassign("group", &partition, members[to].consumer.member());
        }
        Action::Pause(member) => {
            let owned: Vec<_> = members[member].owned.keys().cloned().collect();
            members[member].consumer.pause(&owned);
        }
        Action::Resume(member) => {
            let owned: Vec<_> = members[member].owned.keys().cloned().collect();
            members[member].consumer.resume(&owned);
        }
    }
}

fn start<'a>(consumer: &'a Consumer) -> Member<'a> {
    Member {
        consumer,
        events: consumer.events(),
        owned: BTreeMap::new(),
        revoked: BTreeSet::new(),
        delivered: BTreeSet::new(),
        latest: BTreeMap::new(),
    }
}

/// Runs the actions, lets all members that are left finish, and gives what was delivered.
async fn run(protocol: Protocol, actions: Vec<Action>) -> (usize, BTreeSet<(TopicPartition, i64)>) {
    let broker = Broker::new();
    broker.create_topic("jobs", PARTITIONS);
    let consumers: Vec<_> = (0..=MEMBERS)
        .map(|_| broker.consumer("group", ["jobs"]).protocol(protocol).max_poll_records(3).build())
        .collect();
    let mut members: Vec<_> = consumers.iter().map(start).collect();
    for action in actions {
        apply(&broker, &mut members, &action);
        tokio::task::yield_now().await;
    }
    for member in &members {
        broker.expire(member.consumer.member());
        broker.wake(member.consumer.member());
    }
    for _ in 0..1_000 {
        for member in &mut members {
            member.poll(100);
            let owned: Vec<_> = member.owned.keys().cloned().collect();
            member.consumer.resume(&owned);
            member.commit();
            member.release();
            tokio::task::yield_now().await;
        }
        if broker.has_caught_up("group", "jobs") {
            break;
        }
    }
    let produced = broker.records("jobs", Default::default()).len();
    (produced, members.into_iter().flat_map(|member| member.delivered).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn a_partition_has_one_owner_that_can_commit_and_every_record_is_delivered(
        eager in any::<bool>(),
        actions in vec(action(), 0..120),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let protocol = if eager { Protocol::Eager } else { Protocol::Cooperative };
        let (produced, delivered) = runtime.block_on(run(protocol, actions));
        assert_eq!(delivered.len(), produced);
    }
}
