//! The faults in force, and the judgement which of them strike.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::fault::{FaultAct, FaultMoment, FaultPer, WireFault};
use super::subject::Subject;

/// Names a fault that was pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WireFaultId(u64);

/// The faults in force. Clones are handles to the same list. Changes hold from the next request on.
#[derive(Clone, Debug)]
pub struct WireFaults {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    seed: u64,
    /// The number of rules, to pass by the lock where there are none.
    len: AtomicUsize,
    list: Mutex<List>,
}

#[derive(Debug, Default)]
struct List {
    pushed: u64,
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    id: WireFaultId,
    fault: WireFault,
    /// How often the occasion came, by whose count it is.
    occurrences: BTreeMap<String, u64>,
    struck: u64,
}

/// What a request looks like to the faults.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'a> {
    pub(super) moment: FaultMoment,
    pub(super) node: i32,
    pub(super) connection: u64,
    pub(super) client: &'a str,
    pub(super) subject: &'a Subject,
}

impl WireFaults {
    pub(in crate::wire) fn new(seed: u64, faults: Vec<WireFault>) -> Self {
        let (len, list) = Default::default();
        let this = Self { shared: Arc::new(Shared { seed, len, list }) };
        for fault in faults {
            this.push(fault);
        }
        this
    }

    /// Adds a fault after those that are there.
    pub fn push(&self, fault: WireFault) -> WireFaultId {
        let mut list = self.list();
        list.pushed += 1;
        let id = WireFaultId(list.pushed);
        list.rules.push(Rule { id, fault, occurrences: BTreeMap::new(), struck: 0 });
        self.publish(&list);
        id
    }

    /// Takes a fault out again and says how often it had struck; `None` where it is not there.
    pub fn remove(&self, id: WireFaultId) -> Option<u64> {
        let mut list = self.list();
        let at = list.rules.iter().position(|rule| rule.id == id)?;
        let rule = list.rules.remove(at);
        self.publish(&list);
        Some(rule.struck)
    }

    /// Takes all of them out. A request that stalls goes on stalling.
    pub fn clear(&self) {
        let mut list = self.list();
        list.rules.clear();
        self.publish(&list);
    }

    /// How often this one has struck; 0 where it is not there.
    #[must_use]
    pub fn struck(&self, id: WireFaultId) -> u64 {
        self.list().rules.iter().find(|rule| rule.id == id).map_or(0, |rule| rule.struck)
    }

    /// The faults in force in the order in which they were pushed, and how often each has struck.
    #[must_use]
    pub fn strikes(&self) -> Vec<(WireFault, u64)> {
        self.list().rules.iter().map(|rule| (rule.fault.clone(), rule.struck)).collect()
    }

    /// Whether a request at this moment has to be decoded to be judged.
    pub(super) fn asks_for_names(&self) -> bool {
        let needs = |act| {
            matches!(
                act,
                FaultAct::ExpelMember
                    | FaultAct::ExpelGroup
                    | FaultAct::FenceProducer
                    | FaultAct::TimeOutTransaction
                    | FaultAct::Retain(_)
            )
        };
        self.list()
            .rules
            .iter()
            .any(|rule| rule.fault.occasion.has_names() || needs(rule.fault.act))
    }

    /// Judges a request, and counts it: the acts that strike.
    pub(super) fn judge(&self, scene: &Scene<'_>) -> Vec<FaultAct> {
        let mut list = self.list();
        let struck = list
            .rules
            .iter_mut()
            .filter_map(|rule| rule.strikes(scene, self.shared.seed).then_some(rule.fault.act));
        struck.collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.shared.len.load(Ordering::Acquire) == 0
    }

    fn list(&self) -> MutexGuard<'_, List> {
        self.shared.list.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, list: &List) {
        self.shared.len.store(list.rules.len(), Ordering::Release);
    }
}

impl Rule {
    fn strikes(&mut self, scene: &Scene<'_>, seed: u64) -> bool {
        let occasion = &self.fault.occasion;
        if !occasion.fits(scene) {
            return false;
        }
        let counted = match occasion.per {
            FaultPer::Broker => String::new(),
            FaultPer::Client => scene.client.to_owned(),
            FaultPer::Connection => scene.connection.to_string(),
        };
        let draw = |count| draw(seed, self.id.0, crc32fast::hash(counted.as_bytes()), count);
        let count = self.occurrences.get(&counted).copied().unwrap_or_default() + 1;
        let strikes = occasion.nth.is_none_or(|nth| nth == count)
            && occasion.every.is_none_or(|every| count.is_multiple_of(every))
            && occasion.after.is_none_or(|after| count > after)
            && occasion.probability.is_none_or(|probability| draw(count) < probability)
            && occasion.times.is_none_or(|times| self.struck < times);
        self.occurrences.insert(counted, count);
        self.struck += u64::from(strikes);
        strikes
    }
}

/// A number in 0.0..1.0 that depends on its arguments only.
fn draw(seed: u64, rule: u64, counted: u32, occurrence: u64) -> f64 {
    let mixed = mix(mix(mix(mix(seed) ^ rule) ^ u64::from(counted)) ^ occurrence);
    f64::from(u32::try_from(mixed >> 32).unwrap_or(u32::MAX)) / (f64::from(u32::MAX) + 1.0)
}

fn mix(state: u64) -> u64 {
    crate::random::Random::seeded(state).next()
}
