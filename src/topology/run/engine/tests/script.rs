//! The stages of the game, and its dice.

use std::future::ready;
use std::time::Duration;

use futures::future::{BoxFuture, FutureExt};

use crate::record::{ConsumerRecord, ProducerRecord, Topic};
use crate::topology::punctuator::{Punctuation, Punctuator};
use crate::topology::stages::{
    Admitted, Context, ExecutionEnd, Finished, JobKeys, Pipeline, States,
};
use crate::topology::{Fate, KeyLimits, Limits, StageKind};

pub(super) const LIMITS: Limits = Limits {
    in_flight_records: 48,
    executing_records: 16,
    in_flight_bytes: 1 << 20,
    commit_interval: Duration::from_millis(100),
    drain_timeout: Duration::from_secs(2),
    shutdown_timeout: Duration::from_secs(2),
    close_timeout: Duration::from_secs(1),
    stuck_after: Duration::from_secs(1),
};

/// Jobs of one key that execute at once, at most.
pub(super) const QUOTA: usize = 3;

/// Stages that read in a record's value what becomes of it.
pub(super) struct Script {
    pub(super) is_stateful: bool,
}

impl Pipeline for Script {
    fn admit<'a>(&'a self, _: &'a Context, record: ConsumerRecord, _: &dyn States) -> Admitted<'a> {
        let (value, lane) = (value_of(&record), lane_of(&record).map(u64::from));
        let outputs =
            if value.is_multiple_of(4) { Vec::new() } else { vec![ProducerRecord::to("results")] };
        let finished =
            Finished { record, outputs, fate: Fate::Succeeded, attempts: 1, changes: None };
        match is_executed(value) {
            true => {
                let keys = JobKeys { lane, quota: quota_of(&finished.record).map(u64::from) };
                Admitted::Execute(keys, ready(ExecutionEnd::Finished(finished)).boxed())
            }
            false => Admitted::Finished(finished),
        }
    }

    fn is_stateful(&self) -> bool {
        self.is_stateful
    }

    fn withdraws(&self) -> bool {
        false
    }

    fn has_lanes(&self) -> bool {
        !self.is_stateful
    }

    fn key_limits(&self) -> KeyLimits {
        KeyLimits::new().executing_jobs(Some(QUOTA))
    }

    fn ready(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }

    fn dead_letters(&self) -> &Topic {
        unreachable!("nothing is too large")
    }

    fn stages(&self) -> Vec<StageKind> {
        Vec::new()
    }
}

fn value_of(record: &ConsumerRecord) -> u8 {
    record.value.as_ref().map_or(0, |value| value[0])
}

const fn is_executed(value: u8) -> bool {
    value >= 16
}

/// The key whose order a record keeps; one that needs no execution keeps none.
pub(super) fn lane_of(record: &ConsumerRecord) -> Option<u8> {
    record.key.as_ref().filter(|_| is_executed(value_of(record))).map(|key| key[0])
}

/// The key by which a job is limited; a third of the jobs have the same one, and a third have none.
pub(super) fn quota_of(record: &ConsumerRecord) -> Option<u8> {
    let value = value_of(record);
    match value % 3 {
        0 => None,
        1 => Some(0),
        _ => Some(value),
    }
}

pub(super) struct NoCalls;

#[async_trait::async_trait]
impl Punctuator for NoCalls {
    async fn punctuate(&self, _: &Punctuation) -> Vec<ProducerRecord> {
        unreachable!("the game answers calls")
    }
}

/// Draws from a seed.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    /// By splitmix64.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        ((self.next() >> 32) as usize * limit) >> 32
    }

    pub(super) fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }
}
