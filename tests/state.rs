//! Keyed state: it tells of exactly the records that are finished, whatever happens.

#![expect(clippy::unwrap_used, reason = "a test")]

mod support;

use std::sync::Arc;

use async_trait::async_trait;
use jobstream::codec::Json;
use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream::sinks::{JobError, StatefulJobSink};
use jobstream::state::State;
use jobstream::topology::{Executed, Topology, Worker};
use jobstream_testkit::broker::{Broker, Isolation};
use support::{
    DEAD_LETTERS, GROUP, JOBS, RESULTS, Task, Yielding, broker, limits, produce, values,
};

const STATE: &str = "state";

/// Counts the jobs of each key; the result is the count.
struct Counter;

#[async_trait]
impl StatefulJobSink<Task, u64> for Counter {
    async fn execute(
        &self,
        _: &Task,
        record: &ConsumerRecord,
        state: &State,
    ) -> Result<u64, JobError> {
        let key = record.key.as_deref().unwrap_or_default();
        let before =
            state.get(key).map_or(0, |count| u64::from_be_bytes(count[..].try_into().unwrap()));
        state.put(key, &(before + 1).to_be_bytes());
        Ok(before + 1)
    }
}

fn counting(sink: Arc<dyn StatefulJobSink<Task, u64>>) -> Topology {
    Topology::builder(DEAD_LETTERS)
        .decode(Json::<Task>::new())
        .execute_with_state(sink)
        .encode(|record: &ConsumerRecord, executed: Executed<Task, u64>| {
            let mut result =
                ProducerRecord::to(RESULTS).value(executed.outcome.unwrap().to_string());
            result.key.clone_from(&record.key);
            Ok(vec![result])
        })
        .with_limits(limits())
}

fn pair(broker: &Broker) -> Worker {
    let (source, sink) = broker.exactly_once(GROUP, [JOBS], "first");
    Worker {
        source: Box::new(Yielding(source)),
        sink: Box::new(Yielding(sink)),
        store: Some(Box::new(broker.store(STATE))),
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_owner_goes_on_with_the_state_of_the_last() {
    let broker = broker(2);
    broker.create_topic(STATE, 2);
    for _ in 0..2 {
        for id in 0..6 {
            produce(&broker, Some("a"), &Task::new(id));
        }
        let caught_up = broker.caught_up(GROUP, JOBS);
        counting(Arc::new(Counter)).run_worker(&pair(&broker), caught_up).await.unwrap();
    }
    let counts = values(&broker, RESULTS, Isolation::ReadCommitted);
    let expected: Vec<_> = (1..=12).map(|count: u64| count.to_string()).collect();
    assert_eq!(counts, expected);
}
