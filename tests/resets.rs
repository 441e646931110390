//! Commits of other programs, offsets that go back, and brokers that take little metadata: nothing is
//! lost, and nothing is worked on for ever.

#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jobstream::position::Position;
use jobstream::record::TopicPartition;
use jobstream::topology::{Event, Topology};
use jobstream_testkit::broker::{Broker, Isolation};
use proptest::prelude::*;
use support::{
    DEAD_LETTERS, Diary, GROUP, JOBS, Notes, RESULTS, Task, broker, limits, produce, results,
    topology, values,
};
use tokio::time::{sleep, timeout};

fn partition() -> TopicPartition {
    TopicPartition::new(JOBS, 0)
}

/// A topology that keeps a diary, and the resets that it reports.
fn worker(diary: &Arc<Diary>, notes: &Arc<Notes>) -> Topology {
    let notes = notes.clone();
    let observer = move |event: &Event<'_>| {
        if let Event::Reset { partition, reset } = event {
            notes.note(format!("{partition}: {reset}"));
        }
    };
    topology(diary.clone()).with_limits(limits()).with_observer(Arc::new(observer))
}

/// Runs a member in either delivery mode until a condition holds, and some time longer.
async fn run(
    broker: &Broker,
    topology: &Topology,
    exactly_once: bool,
    until: impl Future<Output = ()> + Send,
) {
    let run = if exactly_once {
        let (source, sink) = broker.exactly_once(GROUP, [JOBS], "one");
        topology.run(&source, &sink, until).await
    } else {
        let source = broker.consumer(GROUP, [JOBS]).build();
        topology.run(&source, &broker.producer(), until).await
    };
    assert_eq!(run.unwrap().unfinished, 0);
}

fn produce_all(broker: &Broker, ids: impl IntoIterator<Item = u64>) {
    for id in ids {
        produce(broker, None, &Task::new(id));
    }
}

#[tokio::test(start_paused = true)]
async fn no_metadata_of_another_program_hides_a_job() {
    for foreign in ["AgAAAaDEUGwA", "null", "test", "none", "metadata", "IA==", "////////"] {
        let (broker, diary) = (broker(1), Diary::new());
        produce_all(&broker, 0..60);
        broker.alter_committed(GROUP, &partition(), 0, foreign);
        let caught_up = broker.caught_up(GROUP, JOBS);
        run(&broker, &worker(&diary, &Arc::default()), false, caught_up).await;
        assert_eq!(diary.ended(), (0..60).collect::<Vec<_>>(), "{foreign}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_retention_removes_is_counted_without_what_was_finished() {
    let (broker, diary, notes) = (broker(1), Diary::new(), Arc::new(Notes::default()));
    produce_all(&broker, 0..10);
    let mut position = Position::at(1);
    [2, 3, 7].into_iter().for_each(|offset| assert!(position.finish(offset)));
    let metadata = position.metadata(None, Position::METADATA_MAX_BYTES);
    broker.alter_committed(GROUP, &partition(), 1, &metadata);
    broker.truncate(&partition(), 5);
    let noted = notes.clone();
    let observer = move |event: &Event<'_>| {
        if let Event::Truncated { from, to, unfinished, .. } = event {
            noted.note(format!("{from}..{to}: {unfinished}"));
        }
    };
    let topology = topology(diary.clone()).with_limits(limits()).with_observer(Arc::new(observer));
    run(&broker, &topology, false, broker.caught_up(GROUP, JOBS)).await;
    assert_eq!(notes.all(), ["1..5: 2"]);
    assert_eq!(diary.ended(), [5, 6, 8, 9]);
}

#[tokio::test(start_paused = true)]
async fn a_commit_beyond_the_end_is_worked_off_once() {
    for (exactly_once, metadata) in [(false, "IA=="), (true, ""), (false, "js1:100000:-:0:")] {
        let (broker, diary, notes) = (broker(1), Diary::new(), Arc::new(Notes::default()));
        produce_all(&broker, 0..5);
        broker.alter_committed(GROUP, &partition(), 100_000, metadata);
        for _ in 0..3 {
            let caught_up = broker.caught_up(GROUP, JOBS);
            run(&broker, &worker(&diary, &notes), exactly_once, caught_up).await;
        }
        assert_eq!(diary.ended(), [0, 1, 2, 3, 4]);
        assert_eq!(broker.committed(GROUP)[&partition()].offset, 5);
        assert_eq!(notes.all().len(), 1, "{:?}", notes.all());
        assert!(notes.all()[0].contains("found 0, expected 100000"), "{:?}", notes.all());
    }
}

/// One job is in flight, those behind it are finished; then the topic is another one.
async fn recreated(exactly_once: bool, jobs_of_the_new_topic: u64) {
    let (broker, diary, notes) = (broker(1), Diary::new(), Arc::new(Notes::default()));
    produce(&broker, None, &Task::new(0).takes(Duration::from_secs(60)));
    produce_all(&broker, 1..15);
    let script = async {
        broker.until(|b| values(b, RESULTS, Isolation::ReadCommitted).len() == 14).await;
        sleep(Duration::from_secs(2)).await;
        broker.recreate_topic(JOBS, 1);
        produce_all(&broker, 100..100 + jobs_of_the_new_topic);
        broker.caught_up(GROUP, JOBS).await;
    };
    run(&broker, &worker(&diary, &notes), exactly_once, script).await;
    let new: Vec<_> = diary.ended().into_iter().filter(|id| *id >= 100).collect();
    assert_eq!(new, (100..100 + jobs_of_the_new_topic).collect::<Vec<_>>());
    assert!(notes.all()[0].contains("the topic was created anew"), "{:?}", notes.all());
    let results = results(&broker);
    assert!(results.values().all(|count| *count == 1), "{results:?}");
    assert!(!results.contains_key(&0), "it was of the topic that is gone");
    let before = diary.ended().len();
    let caught_up = broker.caught_up(GROUP, JOBS);
    run(&broker, &worker(&diary, &notes), exactly_once, caught_up).await;
    assert_eq!(diary.ended().len(), before, "a restart repeats nothing");
}

#[tokio::test(start_paused = true)]
async fn a_topic_created_anew_is_worked_off_from_its_start() {
    for exactly_once in [false, true] {
        for jobs in [3, 40] {
            recreated(exactly_once, jobs).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_has_lost_its_end_is_read_again_without_a_panic() {
    for exactly_once in [false, true] {
        let (broker, diary, notes) = (broker(1), Diary::new(), Arc::new(Notes::default()));
        produce_all(&broker, 0..10);
        produce(&broker, None, &Task::new(10).takes(Duration::from_secs(30)));
        let script = async {
            broker.until(|b| values(b, RESULTS, Isolation::ReadCommitted).len() == 10).await;
            sleep(Duration::from_secs(2)).await;
            broker.lose_end(&partition(), 6);
            produce_all(&broker, 20..23);
            broker.caught_up(GROUP, JOBS).await;
        };
        run(&broker, &worker(&diary, &notes), exactly_once, script).await;
        let ended: BTreeSet<_> = diary.ended().into_iter().collect();
        assert!(ended.is_superset(&(20..23).collect()), "{ended:?}");
        assert_eq!(notes.all().len(), 1, "{:?}", notes.all());
    }
}

/// One job takes long, so that the others finish above the frontier.
async fn small_metadata(exactly_once: bool, bytes: usize) {
    let broker = Broker::builder().offset_metadata_max_bytes(bytes).build();
    broker.create_topic(JOBS, 1);
    broker.create_topic(RESULTS, 3);
    broker.create_topic(DEAD_LETTERS, 1);
    let diary = Diary::new();
    produce(&broker, None, &Task::new(0).takes(Duration::from_secs(20)));
    produce_all(&broker, 1..2_000);
    // A member that learns of the limit is stopped in the midst of it, another one goes on.
    let midst = async {
        broker.until(|b| !values(b, RESULTS, Isolation::ReadCommitted).is_empty()).await;
        sleep(Duration::from_secs(5)).await;
    };
    run(&broker, &worker(&diary, &Arc::default()), exactly_once, midst).await;
    let caught_up = broker.caught_up(GROUP, JOBS);
    run(&broker, &worker(&diary, &Arc::default()), exactly_once, caught_up).await;
    let results = results(&broker);
    assert_eq!(results.len(), 2_000);
    assert!(results.values().all(|count| *count == 1), "{results:?}");
    let mut ended = diary.ended();
    ended.sort_unstable();
    assert_eq!(ended, (0..2_000).collect::<Vec<_>>(), "no job is executed twice");
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_takes_little_metadata_makes_the_window_small_and_nothing_else() {
    for exactly_once in [false, true] {
        for bytes in [0, 30, 64, 200, 4_096] {
            small_metadata(exactly_once, bytes).await;
        }
    }
}

/// A broker that takes so little metadata that no commit can say of which topic it is.
#[tokio::test(start_paused = true)]
async fn a_commit_that_does_not_say_its_topic_hides_nothing_of_a_new_one() {
    for exactly_once in [false, true] {
        let (broker, diary) =
            (Broker::builder().offset_metadata_max_bytes(20).build(), Diary::new());
        for topic in [JOBS, RESULTS, DEAD_LETTERS] {
            broker.create_topic(topic, 1);
        }
        produce_all(&broker, 0..50);
        let worker = worker(&diary, &Arc::default());
        run(&broker, &worker, exactly_once, broker.caught_up(GROUP, JOBS)).await;
        produce(&broker, None, &Task::new(50).takes(Duration::from_secs(60)));
        let recreated = async {
            sleep(Duration::from_secs(2)).await;
            broker.recreate_topic(JOBS, 1);
            sleep(Duration::from_secs(5)).await;
        };
        run(&broker, &worker, exactly_once, recreated).await;
        produce_all(&broker, 100..180);
        run(&broker, &worker, exactly_once, broker.caught_up(GROUP, JOBS)).await;
        let new: Vec<_> = diary.ended().into_iter().filter(|id| *id >= 100).collect();
        assert_eq!(new, (100..180).collect::<Vec<_>>());
    }
}

/// What happens to the topic while a member works on it.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Wait(u64),
    Produce(u64),
    Recreate,
    LoseEnd(i64),
    Foreign(i64, &'static str),
    Restart,
}

fn happening() -> impl Strategy<Value = Happening> {
    let foreign = prop::sample::select(vec!["", "\0", "IA==", "null", "AgAAAaDEUGwA", "////"]);
    prop_oneof![
        (1_u64..3_000).prop_map(Happening::Wait),
        (1_u64..30).prop_map(Happening::Produce),
        Just(Happening::Recreate),
        (0_i64..20).prop_map(Happening::LoseEnd),
        (-50_i64..20, foreign).prop_map(|(to, metadata)| Happening::Foreign(to, metadata)),
        Just(Happening::Restart),
    ]
}

/// Lets things happen, restarting the member as they say; every record that the topic has at the end
/// has a result, whatever its offset meant before.
async fn let_happen(happenings: &[Happening], exactly_once: bool) {
    let (broker, diary, mut next) = (broker(1), Diary::new(), 0_u64);
    let topology = worker(&diary, &Arc::default());
    let mut rest = happenings;
    let (mut is_over, mut foreign) = (false, None);
    while !is_over {
        let script = async {
            while let Some((happening, later)) = rest.split_first() {
                rest = later;
                let end = broker.high_watermark(&partition()).unwrap();
                match *happening {
                    Happening::Wait(ms) => sleep(Duration::from_millis(ms)).await,
                    Happening::Produce(jobs) => {
                        for id in next..next + jobs {
                            let takes = Duration::from_millis(id % 7 * 300);
                            produce(&broker, None, &Task::new(id).takes(takes));
                        }
                        next += jobs;
                    }
                    Happening::Recreate => broker.recreate_topic(JOBS, 1),
                    Happening::LoseEnd(offsets) => {
                        broker.lose_end(&partition(), end - offsets);
                        // Who looks only when there are as many records again can't know.
                        sleep(Duration::from_secs(5)).await;
                    }
                    Happening::Foreign(to, metadata) => {
                        // Forward, it would say of unfinished records that they are finished; beyond
                        // the end it can't be true.
                        let committed = broker.committed(GROUP).get(&partition()).map(|c| c.offset);
                        let offset =
                            if to > 0 { end + 10_000 } else { committed.unwrap_or(0) + to };
                        foreign = Some((offset.max(0), metadata));
                        return;
                    }
                    Happening::Restart => return,
                }
            }
            is_over = true;
            broker.caught_up(GROUP, JOBS).await;
        };
        let run = async {
            if exactly_once {
                let (source, sink) = broker.exactly_once(GROUP, [JOBS], "one");
                topology.run(&source, &sink, script).await.unwrap();
            } else {
                let source = broker.consumer(GROUP, [JOBS]).build();
                topology.run(&source, &broker.producer(), script).await.unwrap();
            }
        };
        let ended = timeout(Duration::from_secs(3_600), run).await;
        assert!(ended.is_ok(), "stands still, committed: {:?}", broker.committed(GROUP));
        if let Some((offset, metadata)) = foreign.take() {
            broker.alter_committed(GROUP, &partition(), offset, metadata);
        }
    }
    let there = broker.records(JOBS, Isolation::ReadCommitted);
    let results = results(&broker);
    for record in there {
        let task: Task = serde_json::from_slice(record.value.as_deref().unwrap()).unwrap();
        assert!(results.contains_key(&task.id), "job {} has no result", task.id);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_becomes_of_offsets_every_record_that_is_there_meets_its_fate(
        happenings in prop::collection::vec(happening(), 1..16),
        exactly_once: bool,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(let_happen(&happenings, exactly_once));
    }
}
