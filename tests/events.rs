//! The one seam of logs, metrics and traces: the events of a run, their order and durations.

mod support;

use std::sync::Arc;
use std::time::Duration;

use jobstream::topology::Event;
use jobstream_testkit::broker::{Fault, Operation};
use support::{Diary, Notes, Task, broker, limits, produce, run_to_the_end, topology};

fn words(event: &Event<'_>) -> Option<String> {
    let at = |record: &jobstream::record::ConsumerRecord| record.offset;
    Some(match event {
        Event::Assigned(assigned) => format!("assigned {}", assigned.partition),
        Event::Fetched(record) => format!("fetched {}", at(record)),
        Event::Decoded { record, took } => format!("decoded {} in {took:?}", at(record)),
        Event::Filtered { record, took } => format!("filtered {} in {took:?}", at(record)),
        Event::Encoded { record, took } => format!("encoded {} in {took:?}", at(record)),
        Event::Skipped { record, stage } => format!("skipped {} by {stage}", at(record)),
        Event::Executed { record, attempt, error, took } => {
            let outcome = error.map_or("done".into(), ToString::to_string);
            format!("executed {}, attempt {attempt} in {took:?}: {outcome}", at(record))
        }
        Event::Retried { record, attempt, .. } => format!("retried {} after {attempt}", at(record)),
        Event::DeadLettered { record, reason, .. } => {
            format!("dead-lettered {}: {reason}", at(record))
        }
        Event::Published { batch, took, .. } => {
            format!("published {} in {took:?}", batch.outputs.len())
        }
        Event::Committed { positions, .. } => {
            format!("committed {}", positions[0].position.frontier())
        }
        Event::Finished { record, fate, attempts, took } => {
            format!("finished {}: {fate:?} after {attempts} attempts in {took:?}", at(record))
        }
        _ => return None,
    })
}

fn notes() -> (Arc<Notes>, Arc<impl Fn(&Event<'_>) + Send + Sync>) {
    let notes = Arc::new(Notes::default());
    let seen = notes.clone();
    let observer = move |event: &Event<'_>| words(event).into_iter().for_each(|e| seen.note(e));
    (notes, Arc::new(observer))
}

#[tokio::test(start_paused = true)]
async fn a_record_is_reported_from_its_fetch_to_its_commit() {
    let (broker, (notes, observer)) = (broker(1), notes());
    produce(&broker, Some("a"), &Task::new(0).takes(Duration::from_secs(3)).fails(1));
    let topology = topology(Diary::new()).with_limits(limits()).with_observer(observer);
    run_to_the_end(&topology, &broker).await;
    assert_eq!(
        notes.all(),
        [
            "assigned jobs[0]",
            "fetched 0",
            "decoded 0 in 0ns",
            "filtered 0 in 0ns",
            "executed 0, attempt 1 in 3s: attempt 1 fails",
            "retried 0 after 1",
            "executed 0, attempt 2 in 3s: done",
            "encoded 0 in 0ns",
            "published 1 in 0ns",
            "finished 0: Succeeded after 2 attempts in 6.827s",
            "committed 1",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_takes_long_is_reported_with_its_duration() {
    let (broker, (notes, observer)) = (broker(1), notes());
    produce(&broker, None, &Task::new(0));
    broker.fail(Operation::Publish, 7, Fault::Transient);
    let topology = topology(Diary::new()).with_limits(limits()).with_observer(observer);
    run_to_the_end(&topology, &broker).await;
    assert_eq!(notes.with("published"), ["published 1 in 700ms"]);
}

#[tokio::test(start_paused = true)]
async fn a_dead_letter_is_reported_with_its_reason_and_is_finished_when_it_is_published() {
    let (broker, (notes, observer)) = (broker(1), notes());
    let record = jobstream::record::ProducerRecord::to(support::JOBS).value("no task");
    broker.produce(record).expect("the topic exists");
    let topology = topology(Diary::new()).with_limits(limits()).with_observer(observer);
    run_to_the_end(&topology, &broker).await;
    assert_eq!(
        notes.all()[2..],
        [
            "decoded 0 in 0ns",
            "dead-lettered 0: undecodable",
            "published 1 in 0ns",
            "finished 0: DeadLettered(\"undecodable\") after 0 attempts in 0ns",
            "committed 1",
        ]
    );
}
