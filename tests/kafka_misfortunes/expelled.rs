//! A member whose session has ended without its knowledge, while partitions are asked back from it or not.

use futures::StreamExt as _;
use futures::stream::BoxStream;
use jobstream::kafka::{KafkaConfig, exactly_once};
use jobstream::position::{PartitionPosition, Position};
use jobstream::record::TopicPartition;
use jobstream::sinks::{Batch, Sink as _, SinkError};
use jobstream::sources::kafka::KafkaSource;
use jobstream::sources::{CommitError, Source as _, SourceError, SourceEvent};
use jobstream_testkit::broker::Isolation;
use tokio::task::yield_now;
use tokio::time::{Duration, sleep, timeout};

use crate::{Brokers, LIMIT, record, with};

const PARTITIONS: usize = 4;
/// Several heartbeats of a member that sends them often.
const HEARTBEATS: Duration = Duration::from_secs(2);

type Events<'a> = BoxStream<'a, Result<SourceEvent, SourceError>>;

async fn brokers() -> Brokers {
    let brokers = Brokers::start().await;
    brokers.create_topic("jobs", PARTITIONS as i32);
    brokers.create_topic("results", 1);
    brokers
}

/// A member that hears of its session's end by a heartbeat soon, or never.
fn config(brokers: &Brokers, is_static: bool, heartbeat_ms: &str) -> KafkaConfig {
    let config = if is_static { brokers.config().instance_id("one") } else { brokers.config() };
    let properties = [
        ("heartbeat.interval.ms", heartbeat_ms),
        ("partition.assignment.strategy", "cooperative-sticky"),
        ("session.timeout.ms", "300000"),
    ];
    with(config, &properties)
}

/// Waits for an assignment, and gives the positions of its partitions.
async fn assigned(events: &mut Events<'_>) -> Vec<PartitionPosition> {
    let event = timeout(LIMIT, events.next()).await.unwrap();
    let Some(Ok(SourceEvent::Assigned(assigned))) = event else { panic!("found {event:?}") };
    let position = |it: jobstream::sources::Assignment| PartitionPosition {
        partition: it.partition,
        generation: it.generation,
        position: Position::at(0),
    };
    assigned.into_iter().map(position).collect()
}

/// Waits until partitions are asked back, for another member.
async fn revoked(events: &mut Events<'_>) -> Vec<TopicPartition> {
    let event = timeout(LIMIT, events.next()).await.unwrap();
    let Some(Ok(SourceEvent::Revoked(revoked))) = event else { panic!("found {event:?}") };
    assert!(revoked.len() < PARTITIONS, "found {revoked:?}");
    revoked
}

/// Waits until every partition is lost.
async fn lost(events: &mut Events<'_>, what: &str) {
    let event = timeout(LIMIT, events.next()).await;
    let Ok(Some(Ok(SourceEvent::Lost(lost)))) = event else { panic!("{what}: found {event:?}") };
    assert_eq!(lost.len(), PARTITIONS, "{what}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_expelled_while_partitions_are_asked_back_publishes_none_under_its_next_id() {
    for is_static in [false, true] {
        let what = format!("static: {is_static}");
        let brokers = brokers().await;
        let own = config(&brokers, is_static, "200");
        let (source, sink) = exactly_once(&own, "group", ["jobs"], "id").await.unwrap();
        let mut events = source.events();
        let positions = assigned(&mut events).await;
        let other = config(&brokers, false, "200");
        let other = KafkaSource::new(&other, "group", ["jobs"]).unwrap();
        let _of_other = other.events();
        let revoked = revoked(&mut events).await;
        brokers.listener.expel_group("group");
        sleep(HEARTBEATS).await;
        let released = timeout(LIMIT, source.release(&revoked)).await;
        released.expect("an end").unwrap();
        lost(&mut events, &what).await;
        let newer = assigned(&mut events).await;
        assert!(
            newer.iter().all(|it| it.generation > positions[0].generation),
            "{what}: {newer:?}"
        );
        for position in positions {
            let outputs = vec![record("results", "x")];
            let batch = Batch { outputs, positions: vec![position] };
            let refused = timeout(LIMIT, sink.publish(&batch)).await.unwrap();
            assert!(matches!(refused, Err(SinkError::Aborted(_))), "{what}: found {refused:?}");
        }
        assert_eq!(brokers.broker.records("results", Isolation::ReadCommitted).len(), 0, "{what}");
    }
}

/// No heartbeat says so.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_the_group_refuses_is_a_loss_of_everything() {
    for is_static in [false, true] {
        let what = format!("static: {is_static}");
        let brokers = brokers().await;
        let config = config(&brokers, is_static, "200000");
        let (source, sink) = exactly_once(&config, "group", ["jobs"], "id").await.unwrap();
        let mut events = source.events();
        let positions = assigned(&mut events).await;
        brokers.listener.expel_group("group");
        let batch = Batch { outputs: Vec::new(), positions };
        let publishing = async {
            loop {
                let refused = timeout(LIMIT, sink.publish(&batch)).await.unwrap();
                assert!(matches!(refused, Err(SinkError::Aborted(_))), "{what}: found {refused:?}");
                yield_now().await;
            }
        };
        let joining = async {
            lost(&mut events, &what).await;
            assigned(&mut events).await
        };
        let newer = tokio::select! {
            biased;
            newer = joining => newer,
            () = publishing => unreachable!("it goes on"),
        };
        assert_eq!(newer.len(), PARTITIONS, "{what}");
    }
}

/// The commit goes without its member id, since a heartbeat was answered while partitions were asked
/// back.
#[tokio::test(flavor = "multi_thread")]
async fn a_static_member_that_fences_itself_while_partitions_are_asked_back_joins_again() {
    let brokers = brokers().await;
    let source = config(&brokers, true, "200");
    let source = KafkaSource::new(&source, "group", ["jobs"]).unwrap();
    let mut events = source.events();
    let positions = assigned(&mut events).await;
    let other = config(&brokers, false, "200");
    let other = KafkaSource::new(&other, "group", ["jobs"]).unwrap();
    let _of_other = other.events();
    revoked(&mut events).await;
    brokers.listener.expel_group("group");
    sleep(HEARTBEATS).await;
    brokers.fault("offset-commit nth=1 error FENCED_INSTANCE_ID");
    let refused = timeout(LIMIT, source.commit(&positions)).await.unwrap();
    assert!(matches!(refused, Err(CommitError::Fenced(_))), "found {refused:?}");
    lost(&mut events, "static").await;
    assigned(&mut events).await;
}
