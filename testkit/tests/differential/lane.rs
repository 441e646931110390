//! One sequence of requests: each is sent to both sides, and the answers are compared.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::listed;
use super::operation::{self, Operation};
use super::random::Random;
use super::side::Side;

/// How long both sides together may take for one request.
const LIMIT: Duration = Duration::from_secs(120);
/// The wait before answers that differ, or are not there yet, are looked at again.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(10);

pub(crate) struct Setting {
    pub(crate) listener: SocketAddr,
    pub(crate) kafka: SocketAddr,
    pub(crate) seed: u64,
    pub(crate) requests: u64,
    /// What the names of topics, groups and transactional ids contain.
    pub(crate) name: String,
    pub(crate) number: u64,
}

pub(crate) struct Lane {
    setting: Setting,
    ours: Side,
    theirs: Side,
    random: Random,
    ended: Ended,
}

#[derive(Default)]
pub(crate) struct Ended {
    pub(crate) divergences: usize,
    /// How often each of the listed differences was met.
    pub(crate) listed: BTreeMap<&'static str, usize>,
}

impl Lane {
    pub(crate) async fn open(setting: Setting) -> Self {
        // So late that no record is too old for its topic, and so early that markers are later.
        let base = super::now_ms() - 100_000;
        let ours = Side::connect(setting.listener, false, base, &setting.name).await;
        let theirs = Side::connect(setting.kafka, true, base, &setting.name).await;
        let random = Random::seeded(setting.seed);
        Self { setting, ours, theirs, random, ended: Ended::default() }
    }

    pub(crate) async fn run(mut self) -> Ended {
        let traces = std::env::var_os("DIFFERENTIAL_TRACE").is_some();
        for number in 0..self.setting.requests {
            let operation = operation::generate(&mut self.random);
            if !self.ours.may(&operation) {
                continue;
            }
            if traces {
                println!("{}:{number} {operation:?}", self.setting.number);
            }
            let (found, expected) = self.both(number, &operation).await;
            if traces {
                println!("{}:{number} = {expected}", self.setting.number);
            }
            self.compare(number, &operation, &found, &expected);
            if let Some(group) = operation.classic_group() {
                self.settle(number, &operation, group).await;
            }
        }
        self.ours.stop();
        self.theirs.stop();
        self.ended
    }

    /// What both sides answer. What Kafka does after its answer, as when the offsets of a topic that was
    /// deleted are forgotten, shows a while later: what only reads is asked again while answers differ.
    async fn both(&mut self, number: u64, operation: &Operation) -> (String, String) {
        const TRIES: usize = 50;
        for tried in 1.. {
            let both = async { tokio::join!(self.ours.run(operation), self.theirs.run(operation)) };
            let both = tokio::time::timeout(LIMIT, both).await;
            let (found, expected) =
                both.unwrap_or_else(|_| panic!("{number}: no answer to {operation:?}"));
            let is_settled =
                found == expected || listed::why(operation, &found, &expected).is_some();
            if is_settled || tried == TRIES || !operation.only_reads() {
                return (found, expected);
            }
            tokio::time::sleep(LOOK_AGAIN_AFTER).await;
        }
        unreachable!("the last try returns")
    }

    fn compare(&mut self, number: u64, operation: &Operation, found: &str, expected: &str) {
        if found == expected {
            return;
        }
        if let Some(why) = listed::why(operation, found, expected) {
            *self.ended.listed.entry(why).or_default() += 1;
            return;
        }
        self.ended.divergences += 1;
        let lane = self.setting.number;
        println!("{lane}:{number} {operation:?}\n  found    {found}\n  expected {expected}");
    }

    /// Waits until both sides have answered the same joins and syncs, and describe the group alike;
    /// then a request on another connection can't overtake. A single look may be too early for both.
    async fn settle(&mut self, number: u64, operation: &Operation, group: usize) {
        const TRIES: usize = 500;
        const ALIKE: usize = 3;
        let mut alike = 0;
        for tried in 1..=TRIES {
            let (found, expected) =
                tokio::join!(self.ours.group_now(group), self.theirs.group_now(group));
            alike = if found == expected { alike + 1 } else { 0 };
            if alike == ALIKE || tried == TRIES {
                self.compare(number, operation, &found, &expected);
                break;
            }
            if alike == 0 {
                tokio::time::sleep(LOOK_AGAIN_AFTER).await;
            }
        }
        let (found, expected) = tokio::join!(self.ours.arrived(group), self.theirs.arrived(group));
        for (member, answer) in found {
            let other = expected.get(&member).map_or("no answer", |answer| answer);
            self.compare(
                number,
                operation,
                &format!("m{member} {answer}"),
                &format!("m{member} {other}"),
            );
        }
    }
}
