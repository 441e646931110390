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
        let (value, lane) = (value_of(&record), lane_of(&record).map(u64::from));
        let outputs =
            if value.is_multiple_of(4) { Vec::new() } else { vec![ProducerRecord::to("results")] };
        let finished = Finished { record, outputs, fate: Fate::Succeeded, changes: None };
        match is_executed(value) {
            true => Admitted::Execute(lane, ready(Step::Finished(finished)).boxed()),
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

    fn ready(&self) -> Option<BoxFuture<'_, ()>> {
        None
    }

    fn dead_letters(&self) -> &Topic {
        unreachable!("nothing is too large")
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
