//! Members with keyed state: an exactly-once pair and its store, and what moves partitions.

use std::time::Duration;

use futures::future::join;
use jobstream::topology::{Topology, Worker};
use jobstream_testkit::broker::{Broker, MemberId};
use tokio::time::sleep;

use super::{GROUP, JOBS};

/// The topic of the state.
pub(crate) const STATE: &str = "state";

/// A broker with the topics of the tests, and that of the state, on which every operation yields.
pub(crate) fn broker(partitions: i32) -> Broker {
    let broker = super::yielding_broker(partitions);
    broker.create_topic(STATE, partitions);
    broker
}

/// An exactly-once pair and its store.
pub(crate) fn pair(broker: &Broker, id: &str) -> (Worker, MemberId) {
    let (source, sink) = broker.exactly_once(GROUP, [JOBS], id);
    let member = source.member();
    let store = Some(Box::new(broker.store(STATE)) as _);
    (Worker { source: Box::new(source), sink: Box::new(sink), store }, member)
}

/// Longer than the transaction timeout of the broker.
const TRANSACTIONS_END_WITHIN: Duration = Duration::from_secs(61);

/// Runs a topology as the last member until the group has caught up, and every transaction that a
/// crash has left open has been aborted: until then it hides the outputs behind it.
pub(crate) async fn run_to_the_end(topology: &Topology, broker: &Broker) {
    let (worker, _) = pair(broker, "last");
    let settled = async {
        broker.caught_up(GROUP, JOBS).await;
        sleep(TRANSACTIONS_END_WITHIN).await;
    };
    let drained = topology.run_worker(&worker, settled).await.unwrap();
    assert_eq!(drained.unfinished, 0);
}

/// Suspends a member after a while, past its session, and wakes it.
pub(crate) async fn suspended(
    broker: &Broker,
    member: MemberId,
    after: Duration,
    during: Duration,
) {
    sleep(after).await;
    broker.suspend(member);
    sleep(during).await;
    broker.wake(member);
}

/// Runs a topology on two members between which every partition moves, so many times; produces
/// before each. Nothing is left unfinished.
pub(crate) async fn moved(
    topology: &Topology,
    broker: &Broker,
    times: u64,
    produce: impl Fn(u64) + Send + Sync,
) {
    const BETWEEN: Duration = Duration::from_millis(500);
    let (one, first) = pair(broker, "one");
    let (other, second) = pair(broker, "other");
    let end = || sleep(Duration::from_secs(60));
    let both = join(topology.run_worker(&one, end()), topology.run_worker(&other, end()));
    let partitions = broker.partitions(JOBS);
    let moves = async {
        for turn in 0..times {
            sleep(BETWEEN).await;
            let to = if turn % 2 == 0 { first } else { second };
            partitions.iter().for_each(|partition| broker.reassign(GROUP, partition, to));
            produce(turn);
        }
    };
    let ((one, other), ()) = join(both, moves).await;
    assert_eq!((one.unwrap().unfinished, other.unwrap().unfinished), (0, 0));
}
