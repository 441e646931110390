//! The workload: the jobs of a run that are still to come.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobstream::record::ProducerRecord;
use tokio::time::sleep;

use super::lives::header;
use crate::broker::Broker;
use crate::random::Random;

/// How often it is checked whether the earlier jobs have been worked on.
const LOOK: Duration = Duration::from_millis(500);

/// The jobs that are still to come; clones share them.
#[derive(Clone)]
pub(super) struct Workload {
    broker: Broker,
    to_come: Arc<Mutex<ToCome>>,
}

struct ToCome {
    jobs: VecDeque<ProducerRecord>,
    /// The life of their topic.
    life: u32,
    /// Whether no job comes for now.
    is_held: bool,
}

impl Workload {
    pub(super) fn new(broker: Broker, jobs: Vec<ProducerRecord>) -> Self {
        let to_come = ToCome { jobs: jobs.into(), life: 0, is_held: false };
        Self { broker, to_come: Arc::new(Mutex::new(to_come)) }
    }

    fn to_come(&self) -> MutexGuard<'_, ToCome> {
        self.to_come.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many jobs are still to come.
    pub(super) fn len(&self) -> usize {
        self.to_come().jobs.len()
    }

    /// Holds all jobs back until the release.
    pub(super) fn hold(&self) {
        self.to_come().is_held = true;
    }

    pub(super) fn release(&self) {
        self.to_come().is_held = false;
    }

    /// The jobs from now on belong to this life of their topic.
    pub(super) fn begin_life(&self, life: u32) {
        self.to_come().life = life;
    }

    /// Produces the next jobs.
    pub(super) fn produce(&self, jobs: usize) {
        let (jobs, life) = {
            let mut to_come = self.to_come();
            let jobs = jobs.min(to_come.jobs.len());
            (to_come.jobs.drain(..jobs).collect::<Vec<_>>(), to_come.life)
        };
        for mut job in jobs {
            if life > 0 {
                job.headers.extend([header(&job.topic, life)]);
            }
            let appended = self.broker.produce(job);
            appended.unwrap_or_else(|error| panic!("the workload does not fit: {error}"));
        }
    }

    /// Produces all jobs in handfuls. The last `held_back` ones come once the jobs before have been
    /// worked on, unless a fault has produced some of them already.
    pub(super) async fn produce_all(
        self,
        mut random: Random,
        held_back: usize,
        rests: impl Fn() -> bool + Send,
    ) {
        while self.len() > 0 {
            if random.below(6) == 0 {
                sleep(Duration::from_millis(random.next() % 800)).await;
            }
            while self.to_come().is_held || self.len() == held_back && !rests() {
                sleep(LOOK).await;
            }
            self.produce(1);
        }
    }
}
