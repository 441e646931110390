//! Keyed state in exactly-once mode holds the changes of exactly the finished records, whatever
//! comes.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use jobstream::codec::Json;
use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream::sinks::{JobError, StatefulJobSink};
use jobstream::state::State;
use jobstream::topology::Topology;
use jobstream_testkit::simulation::{Delivery, History, Member, Search};
use tokio::time::sleep;

use crate::promises::passes;
use crate::workers::{Task, result, schedules};

/// Counts the tasks of each key; every third is durable before it goes on to work.
struct Counter;

#[async_trait]
impl StatefulJobSink<Task, u64> for Counter {
    async fn execute(
        &self,
        task: &Task,
        record: &ConsumerRecord,
        state: &State,
    ) -> Result<u64, JobError> {
        let (number, takes_ms, _) = *task;
        if number % 3 == 0 {
            state.put(b"intent", record.key.as_deref().unwrap_or_default());
            state.persist().await.map_err(|error| JobError::transient(error.to_string()))?;
        }
        sleep(Duration::from_millis(takes_ms)).await;
        let key = record.key.as_deref().unwrap_or_default();
        let count = state.get(key).map_or(0, |count| count[0]) + 1;
        state.put(key, &[count]);
        Ok(number)
    }
}

fn topology(member: &Member) -> Topology {
    Topology::builder("dead-letters")
        .decode(Json::<Task>::new())
        .execute_with_state(member.watched_with_state(Counter))
        .encode(result)
}

fn tasks() -> Vec<ProducerRecord> {
    let task = |number: u64| {
        let value = serde_json::to_string(&(number, number % 4 * 70, 0)).unwrap();
        ProducerRecord::to("tasks").key(format!("key-{}", number % 5)).value(value)
    };
    (0..24).map(task).collect()
}

/// Each key's count is the number of its tasks; what was lost may be missing, and what
/// another program has reopened counts again.
fn counts_are_true(history: &History, (): &()) -> Result<(), String> {
    let group = &history.groups[0];
    let lost = history.lost(group);
    let reopened = history.reopened(group);
    let mut expected: BTreeMap<Bytes, (u8, u8)> = BTreeMap::new();
    for input in &group.inputs {
        let (least, most) = expected.entry(input.key.clone().unwrap()).or_default();
        *least += u8::from(!lost.contains(input));
        *most += 1 + u8::try_from(reopened.times(input)).unwrap();
    }
    let changes = group.state.iter().filter_map(|change| {
        let (key, value) = (change.key.clone()?, change.value.as_ref()?);
        (key != Bytes::from_static(b"intent")).then(|| (key, value[0]))
    });
    let counts: BTreeMap<_, _> = changes.collect();
    for (key, (least, most)) in &expected {
        let found = counts.get(key).copied().unwrap_or_default();
        if !(*least..=*most).contains(&found) {
            return Err(format!("{key:?}: found {found} tasks, expected {most}"));
        }
    }
    Ok(())
}

fn search() -> Search {
    Search::new(topology)
        .workload("tasks", 3, |_| tasks())
        .outputs("results", 2)
        .outputs("dead-letters", 1)
        .state("counts")
        .delivery(Delivery::ExactlyOnce)
        .invariant("counts are true", counts_are_true)
}

#[test]
fn counts_are_true_under_any_schedule() {
    let report = passes(search().schedules(schedules(100)).run());
    assert!(report.crashes.contains_key("restore"), "{report}");
}

#[test]
fn a_crash_at_every_poll_leaves_the_counts_true() {
    passes(search().every_crash());
}
