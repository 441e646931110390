//! The stages of the game, and its dice.

use std::future::ready;

use futures::future::{BoxFuture, FutureExt};

use crate::record::{ConsumerRecord, ProducerRecord, Topic};
use crate::topology::Fate;
use crate::topology::punctuator::{Punctuation, Punctuator};
use crate::topology::stages::{Admitted, Context, Finished, Pipeline, States, Step};

/// Stages that read in a record's value what becomes of it.
pub(super) struct Script {
    pub(super) is_stateful: bool,
}

impl Pipeline for Script {
    fn admit<'a>(&'a self, _: &'a Context, record: ConsumerRecord, _: &dyn States) -> Admitted<'a> {
        let value = record.value.as_ref().map_or(0, |value| value[0]);
        let lane = record.key.as_ref().map(|key| u64::from(key[0]));
        let outputs =
            if value.is_multiple_of(4) { Vec::new() } else { vec![ProducerRecord::to("results")] };
        let finished = Finished { record, outputs, fate: Fate::Succeeded, changes: None };
        match value {
            0..16 => Admitted::Finished(finished),
            _ => Admitted::Execute(lane, ready(Step::Finished(finished)).boxed()),
        }
    }

    fn is_stateful(&self) -> bool {
        self.is_stateful
    }

    fn has_lanes(&self) -> bool {
        true
    }

    fn ready(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }

    fn dead_letters(&self) -> &Topic {
        unreachable!("nothing is too large")
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
