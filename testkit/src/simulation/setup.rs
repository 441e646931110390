//! What a search is about: the jobs, the members, their limits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jobstream::record::{ProducerRecord, Topic, TopicPartition};
use jobstream::topology::Limits;

use super::history::Identity;
use super::world::{Effect, World, effect_of};
use crate::broker::{Broker, Operation, Protocol};

/// The group of all members.
pub(super) const GROUP: &str = "simulation";

/// How outputs and positions become durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Outputs first, positions later.
    #[default]
    AtLeastOnce,
    /// Outputs and positions in one transaction.
    ExactlyOnce,
}

/// The jobs of a run, a function of its seed.
pub(super) type Jobs = Box<dyn Fn(u64) -> Vec<ProducerRecord>>;

pub(super) struct Setup {
    pub(super) input: Topic,
    pub(super) partitions: i32,
    pub(super) jobs: Jobs,
    pub(super) outputs: BTreeMap<Topic, i32>,
    /// Where keyed state outlives its member.
    pub(super) state: Option<Topic>,
    pub(super) identity: Identity,
    pub(super) delivery: Delivery,
    pub(super) members: usize,
    pub(super) limits: Limits,
    pub(super) attempts_max: Option<u32>,
    pub(super) effects: Vec<Effect>,
    pub(super) faults_max: usize,
}

/// Short enough for a session, or a transaction, to run out while a member is paused.
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
const TRANSACTION_TIMEOUT: Duration = Duration::from_secs(10);

impl Default for Setup {
    fn default() -> Self {
        let limits = Limits {
            in_flight_records: 16,
            drain_timeout: Duration::from_secs(30),
            shutdown_timeout: Duration::from_secs(30),
            close_timeout: Duration::from_secs(20),
            ..Limits::default()
        };
        Self {
            input: "jobs".into(),
            partitions: 3,
            jobs: Box::new(|_| Vec::new()),
            outputs: BTreeMap::new(),
            state: None,
            identity: |record| record.value.clone(),
            delivery: Delivery::default(),
            members: 2,
            limits,
            attempts_max: None,
            effects: vec!["execute"],
            faults_max: 8,
        }
    }
}

impl Setup {
    pub(super) fn broker(&self, world: &World) -> Broker {
        let clock = world.clone();
        let broker = Broker::builder()
            .seed(world.seed())
            .session_timeout(SESSION_TIMEOUT)
            .transaction_timeout(TRANSACTION_TIMEOUT)
            .wall_clock(move || clock.wall_clock())
            .witnessed_by(Arc::new(world.clone()))
            .build();
        broker.create_topic(self.input.clone(), self.partitions);
        if let Some(state) = &self.state {
            broker.create_topic(state.clone(), self.partitions);
        }
        for (topic, partitions) in &self.outputs {
            broker.create_topic(topic.clone(), *partitions);
        }
        broker
    }

    /// Every fourth run rebalances by the older protocol.
    pub(super) const fn protocol(seed: u64) -> Protocol {
        if seed % 4 == 3 { Protocol::Eager } else { Protocol::Cooperative }
    }

    /// The operations of the members' ends.
    pub(super) fn operations(&self) -> Vec<Operation> {
        let mut operations = vec![
            Operation::Join,
            Operation::Fetch,
            Operation::Publish,
            Operation::Commit,
            Operation::Release,
            Operation::Leave,
        ];
        if self.delivery == Delivery::ExactlyOnce {
            operations.extend([Operation::BeginTransaction, Operation::EndTransaction]);
        }
        operations.extend(self.state.as_ref().map(|_| Operation::Restore));
        operations
    }

    /// Every effect that a fault can wait for.
    pub(super) fn effects(&self) -> Vec<Effect> {
        let operations = self.operations().into_iter().map(effect_of);
        operations.chain(self.effects.iter().copied()).collect()
    }

    pub(super) fn output_ends(&self, broker: &Broker) -> BTreeMap<TopicPartition, i64> {
        let partitions = self.outputs.keys().flat_map(|topic| broker.partitions(topic));
        let ends = partitions.filter_map(|p| broker.high_watermark(&p).map(|end| (p, end)));
        ends.collect()
    }
}
