//! What goes with a dead letter.
#![allow(clippy::unwrap_used, reason = "a test panics where it can't go on")]

mod support;

use std::sync::Arc;

use jobstream::codec::Json;
use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream::topology::Topology;
use jobstream_testkit::broker::{Broker, Isolation};
use support::{DEAD_LETTERS, Diary, GROUP, JOBS, RESULTS, Task, broker, produce, result};

fn topology() -> Topology {
    let told = |record: &ConsumerRecord| {
        let mut told = ProducerRecord::to(RESULTS).value("refused");
        told.key.clone_from(&record.key);
        vec![told]
    };
    Topology::builder(DEAD_LETTERS)
        .beside_dead_letters(told)
        .decode(Json::<Task>::new())
        .execute(Arc::<Diary>::default())
        .encode(result)
}

async fn run(broker: &Broker) {
    let (source, sink) = broker.exactly_once(GROUP, [JOBS], "worker");
    topology().run(&source, &sink, broker.caught_up(GROUP, JOBS)).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_for_the_outcome_is_told_in_the_same_transaction() {
    let broker = broker(1);
    broker.produce(ProducerRecord::to(JOBS).key("a").value("no task")).unwrap();
    run(&broker).await;
    assert_eq!(broker.records(DEAD_LETTERS, Isolation::ReadCommitted).len(), 1);
    let told = broker.records(RESULTS, Isolation::ReadCommitted);
    let expected = (Some(&b"a"[..]), Some(&b"refused"[..]));
    let found: Vec<_> = told.iter().map(|r| (r.key.as_deref(), r.value.as_deref())).collect();
    assert_eq!(found, [expected]);
}

#[tokio::test(start_paused = true)]
async fn a_record_that_is_no_dead_letter_goes_alone() {
    let broker = broker(1);
    produce(&broker, Some("a"), &Task::new(7));
    run(&broker).await;
    assert_eq!(support::values(&broker, RESULTS, Isolation::ReadCommitted), ["7"]);
}
