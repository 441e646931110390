//! A topology whose producer is fenced.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::StreamExt as _;
use jobstream::codec::Json;
use jobstream::kafka::{KafkaConfig, exactly_once};
use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream::sinks::{JobError, JobSink};
use jobstream::sources::kafka::KafkaSource;
use jobstream::sources::{Source as _, SourceEvent};
use jobstream::topology::{Event, Executed, Limits, Topology};
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

use crate::kafka_broker::Broker;
use crate::{LIMIT, create, publish};

/// How often the producer is fenced.
const FENCES: usize = 3;
/// Jobs that are let through before each fence, after each, and at the end.
const JOBS_A_STAGE: usize = 200;
const JOBS: usize = JOBS_A_STAGE * (2 * FENCES + 1);

/// Executes as many jobs as it has permits, and counts the executions of each.
struct Gate {
    permits: Semaphore,
    executions: Mutex<BTreeMap<usize, u32>>,
}

#[async_trait]
impl JobSink<usize, usize> for Gate {
    async fn execute(&self, job: &usize, _: &ConsumerRecord) -> Result<usize, JobError> {
        self.permits.acquire().await.unwrap().forget();
        *self.executions.lock().unwrap().entry(*job).or_default() += 1;
        Ok(*job)
    }
}

/// The events of a run.
#[derive(Debug, Default)]
struct Progress {
    published: usize,
    lost: usize,
    refused: usize,
}

impl Progress {
    fn note(&mut self, event: &Event<'_>) {
        match event {
            Event::Published { batch, .. } => self.published += batch.outputs.len(),
            Event::Lost(_) => self.lost += 1,
            Event::PublishFailed(_) => self.refused += 1,
            _ => {}
        }
    }
}

fn topology(gate: Arc<Gate>, results: String, progress: watch::Sender<Progress>) -> Topology {
    Topology::builder("dead-letters")
        .decode(Json::<usize>::new())
        .execute(gate)
        .encode(move |_: &ConsumerRecord, executed: Executed<usize, usize>| {
            Ok(vec![ProducerRecord::to(&*results).value(executed.input.to_string())])
        })
        .with_limits(Limits::new().in_flight_records(100))
        .with_observer(Arc::new(move |event: &Event<'_>| {
            progress.send_modify(|progress| progress.note(event));
        }))
}

/// How often each result is there for a `read_committed` reader.
async fn results(config: &KafkaConfig, topic: &str) -> BTreeMap<usize, u32> {
    const END: &str = "end";
    publish(config, vec![ProducerRecord::to(topic).value(END)]).await;
    let source = KafkaSource::new(config, &format!("{topic}-reader"), [topic]).unwrap();
    let (mut events, mut counts) = (source.events(), BTreeMap::new());
    while let Some(event) = timeout(LIMIT, events.next()).await.unwrap() {
        let SourceEvent::Record(record) = event.unwrap() else { continue };
        let value = String::from_utf8(record.value.unwrap().to_vec()).unwrap();
        if value == END {
            break;
        }
        *counts.entry(value.parse().unwrap()).or_default() += 1;
    }
    counts
}

/// At each fence jobs are left, and a publish follows it, which is how the pair learns of it.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_topology_that_is_fenced_executes_each_job_once_and_publishes_it_once() {
    let broker = Broker::shared();
    let config = KafkaConfig::new(&broker.bootstrap);
    let topic = format!("fenced-jobs-{}", std::process::id());
    let results_topic = format!("{topic}-results");
    create(&config, &topic).await;
    create(&config, &results_topic).await;
    let job = |job: usize| ProducerRecord::to(&*topic).value(job.to_string());
    publish(&config, (0..JOBS).map(job).collect()).await;

    let gate = Arc::new(Gate { permits: Semaphore::new(0), executions: Mutex::default() });
    let (progress, mut seen) = watch::channel(Progress::default());
    let topology = topology(gate.clone(), results_topic.clone(), progress);
    let (source, sink) = exactly_once(&config, &topic, [&*topic], &topic).await.unwrap();
    let fenced = async {
        for fence in 1..=FENCES {
            let permitted = 2 * fence * JOBS_A_STAGE;
            gate.permits.add_permits(JOBS_A_STAGE);
            seen.wait_for(|progress| progress.published == permitted - JOBS_A_STAGE).await.unwrap();
            drop(exactly_once(&config, "another", [&*topic], &topic).await.unwrap());
            gate.permits.add_permits(JOBS_A_STAGE);
            let recovered =
                |progress: &Progress| progress.refused >= fence && progress.published == permitted;
            seen.wait_for(recovered).await.unwrap();
        }
        gate.permits.add_permits(JOBS_A_STAGE);
        seen.wait_for(|progress| progress.published == JOBS).await.unwrap();
    };
    timeout(5 * LIMIT, topology.run(&source, &sink, fenced)).await.unwrap().unwrap();
    assert_eq!(seen.borrow().lost, 0, "{seen:?}");
    let once: BTreeMap<_, _> = (0..JOBS).map(|job| (job, 1)).collect();
    assert_eq!(*gate.executions.lock().unwrap(), once, "executions");
    assert_eq!(results(&config, &results_topic).await, once, "results");
}
