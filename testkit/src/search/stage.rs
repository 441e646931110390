//! The stage of a play: every request comes by here, is counted, and may be where a fault strikes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jobstream::record::TopicPartition;
use kafka_protocol::messages::ApiKey;
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::Instant;

use super::fault::{Act, Planned, Point};
use super::process::Group;
use super::promise::Broken;
use super::said::Said;
use super::timeline::{Timeline, Who};
use super::watch::Watch;
use crate::wire::faults::FaultAct;
use crate::wire::{WireRequest, WireWitness};

/// How often each point came, by member.
pub(super) type Counts = BTreeMap<(usize, Point), u64>;

/// What the play has to do about a fault that has struck.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    pub(super) member: usize,
    pub(super) act: Act,
}

/// What is known of a member by its requests.
#[derive(Debug, Default)]
pub(super) struct Cast {
    life: u32,
    /// While it runs.
    group: Option<Group>,
    member_ids: BTreeSet<String>,
    transactional_ids: BTreeSet<String>,
    /// Requests of its life.
    requests: u64,
    /// Whether it has joined a group, read or produced in its life.
    has_begun: bool,
    positions: BTreeMap<TopicPartition, i64>,
}

#[derive(Debug)]
pub(super) struct Stage {
    began: Instant,
    timeline: Timeline,
    requests: u64,
    counts: Counts,
    /// Those that have not struck.
    faults: Vec<Planned>,
    /// The one that has struck last, and when.
    last_fault: Option<(Duration, u64, Planned)>,
    /// Acts of requests that are under way, by member and API, for when they were applied.
    after: Vec<(usize, i16, Act)>,
    cast: Vec<Cast>,
    watch: Watch,
    orders: UnboundedSender<Order>,
    broken: Option<Broken>,
    /// When something happened last that a program does for its jobs.
    busy: Instant,
    input: String,
    outputs: Vec<String>,
}

impl Stage {
    pub(super) fn new(
        watch: Watch,
        (input, outputs): (&str, &[String]),
        members: usize,
        faults: &[Planned],
        orders: UnboundedSender<Order>,
    ) -> Self {
        Self {
            began: Instant::now(),
            timeline: Timeline::default(),
            requests: 0,
            counts: Counts::new(),
            faults: faults.to_vec(),
            last_fault: None,
            after: Vec::new(),
            cast: (0..members).map(|_| Cast::default()).collect(),
            watch,
            orders,
            broken: None,
            busy: Instant::now(),
            input: input.to_owned(),
            outputs: outputs.to_vec(),
        }
    }

    /// Notes a thing, until the promise is broken.
    pub(super) fn note(&mut self, who: Who, what: impl Into<String>) {
        if self.broken.is_some() {
            return;
        }
        self.timeline.note(self.began.elapsed(), self.requests, who, what.into());
    }

    pub(super) fn note_of(&mut self, member: usize, what: impl Into<String>) {
        let life = self.cast[member].life;
        self.note(Who::Member { number: member, life }, what);
    }

    /// A member begins its next life.
    pub(super) fn starts(&mut self, member: usize, group: Group) {
        let life = self.cast[member].life + 1;
        self.cast[member] = Cast { life, group: Some(group), ..Cast::default() };
        self.busy = Instant::now();
        self.note_of(member, format!("starts as process {}", group.id()));
    }

    /// A member's process is gone.
    pub(super) fn ends(&mut self, member: usize) {
        self.cast[member].group = None;
    }

    /// Whether a member has read jobs in its life.
    pub(super) fn reads(&self, member: usize) -> bool {
        let mut positions = self.cast[member].positions.keys();
        positions.any(|partition| *partition.topic == *self.input)
    }

    /// How many requests a member has made in its life, if it has not begun its work yet.
    pub(super) fn preparations(&self, member: usize) -> Option<u64> {
        let cast = &self.cast[member];
        (!cast.has_begun).then_some(cast.requests)
    }

    /// The fault that has struck last, for people.
    pub(super) fn last_fault(&self) -> String {
        let Some((at, request, planned)) = &self.last_fault else {
            return "no fault had struck".to_owned();
        };
        let at = at.as_secs_f64();
        format!("the last fault was `{planned}`, at {at:.3} s, request {request}")
    }

    /// The ids that a member has named in its life: of members of groups, and of transactions.
    pub(super) fn ids(&self, member: usize) -> (&BTreeSet<String>, &BTreeSet<String>) {
        (&self.cast[member].member_ids, &self.cast[member].transactional_ids)
    }

    /// Whether no fault is left.
    pub(super) const fn is_at_peace(&self) -> bool {
        self.faults.is_empty()
    }

    pub(super) const fn watch(&self) -> &Watch {
        &self.watch
    }

    pub(super) const fn watch_mut(&mut self) -> &mut Watch {
        &mut self.watch
    }

    pub(super) const fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }

    pub(super) const fn requests(&self) -> u64 {
        self.requests
    }

    pub(super) const fn busy(&self) -> Instant {
        self.busy
    }

    pub(super) const fn began(&self) -> Instant {
        self.began
    }

    pub(super) fn take_findings(&mut self) -> (Timeline, Counts) {
        (std::mem::take(&mut self.timeline), std::mem::take(&mut self.counts))
    }

    /// What has changed since the last look.
    pub(super) fn look(&mut self) {
        let news = self.watch.look();
        if !news.lines.is_empty() {
            self.busy = Instant::now();
        }
        for line in news.lines {
            self.note(Who::World, line);
        }
        if let Some(broken) = news.broken
            && self.broken.is_none()
        {
            self.note(Who::World, format!("BROKEN: {}", broken.part));
            self.broken = Some(broken);
        }
    }

    fn on_request(&mut self, member: usize, request: &WireRequest<'_>) -> Vec<FaultAct> {
        self.requests += 1;
        let said = Said::read(request, &self.input, &self.outputs);
        let cast = &mut self.cast[member];
        cast.requests += 1;
        cast.has_begun |= said.text.is_some() || !said.reads.is_empty();
        cast.member_ids.extend(request.members().iter().filter(|id| !id.is_empty()).cloned());
        cast.transactional_ids.extend(request.transactional_ids().iter().cloned());
        if said.text.is_some() {
            self.busy = Instant::now();
        }
        for (partition, offset) in said.reads.iter().cloned() {
            let before = self.cast[member].positions.insert(partition.clone(), offset);
            if before != Some(offset) {
                self.busy = Instant::now();
                self.note_of(member, format!("reads {partition} from {offset}"));
            }
        }
        if let Some(text) = said.text.clone() {
            self.note_of(member, text);
        }
        let struck = self.struck(member, &said, request.api());
        let acts = struck.into_iter().flat_map(|act| self.strike(member, request.api(), act));
        acts.collect()
    }

    /// Counts the points at which a request is, and takes out the faults that strike there.
    fn struck(&mut self, member: usize, said: &Said, api: i16) -> Vec<Act> {
        let mut struck = Vec::new();
        for (point, times) in said.points(api) {
            let count = self.counts.entry((member, point)).or_default();
            let reached = *count + 1..=*count + times;
            *count += times;
            let is_here = |planned: &Planned| {
                planned.member == member && planned.at == point && reached.contains(&planned.nth)
            };
            let here: Vec<_> = self.faults.extract_if(.., |planned| is_here(planned)).collect();
            for planned in here {
                self.note(Who::World, format!("FAULT {planned}"));
                self.last_fault = Some((self.began.elapsed(), self.requests, planned));
                struck.push(planned.act);
            }
        }
        struck
    }

    /// What becomes of the request at which this strikes; what is around it is changed.
    fn strike(&mut self, member: usize, api: i16, act: Act) -> Vec<FaultAct> {
        match act {
            Act::Broker(act) => vec![act],
            Act::Silence { applied: false, time } => {
                vec![FaultAct::Delay(time), FaultAct::DisconnectBefore]
            }
            Act::Silence { applied: true, time } => {
                vec![FaultAct::ApplyThenDelay(time), FaultAct::ApplyThenDisconnect]
            }
            Act::Kill { applied: false, .. } => match self.signal(member, act) {
                true => vec![FaultAct::DisconnectBefore],
                false => Vec::new(),
            },
            Act::Kill { applied: true, .. } => {
                self.after.push((member, api, act));
                vec![FaultAct::ApplyThenDisconnect]
            }
            Act::Pause { applied: false, time } => match self.signal(member, act) {
                true => vec![FaultAct::Delay(time)],
                false => Vec::new(),
            },
            Act::Pause { applied: true, .. } => {
                self.after.push((member, api, act));
                Vec::new()
            }
            Act::Stop { .. } => {
                self.signal(member, act);
                Vec::new()
            }
            Act::Rebalance { .. } | Act::Away { .. } => {
                self.order(member, act);
                Vec::new()
            }
        }
    }

    /// Sends a signal at once, so that the program does nothing more. Says whether it still ran.
    fn signal(&mut self, member: usize, act: Act) -> bool {
        let Some(group) = self.cast[member].group else { return false };
        let what = match act {
            Act::Kill { .. } => {
                group.kill();
                self.cast[member].group = None;
                "KILLED"
            }
            Act::Pause { .. } => {
                group.pause();
                "PAUSED"
            }
            _ => {
                group.terminate();
                "is asked to stop"
            }
        };
        self.note_of(member, what);
        self.order(member, act);
        true
    }

    fn order(&self, member: usize, act: Act) {
        // A play that has ended carries nothing out.
        let _ = self.orders.send(Order { member, act });
    }

    fn on_applied(&mut self, member: usize, request: &WireRequest<'_>) {
        if changes_something(request.api()) {
            self.look();
        }
        let api = request.api();
        let is_of = |(of, at, _): &(usize, i16, Act)| *of == member && *at == api;
        if let Some(place) = self.after.iter().position(is_of) {
            let (_, _, act) = self.after.remove(place);
            self.signal(member, act);
        }
    }
}

/// Whether requests of this API change logs or positions.
fn changes_something(api: i16) -> bool {
    const CHANGING: [ApiKey; 5] = [
        ApiKey::Produce,
        ApiKey::OffsetCommit,
        ApiKey::TxnOffsetCommit,
        ApiKey::EndTxn,
        ApiKey::InitProducerId,
    ];
    CHANGING.iter().any(|key| *key as i16 == api)
}

/// The stage as the broker of one member sees it.
pub(super) struct Conductor {
    pub(super) member: usize,
    pub(super) stage: Shared,
}

/// A stage, for the play and for the brokers of its members.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Mutex<Stage>>);

impl Shared {
    pub(super) fn new(stage: Stage) -> Self {
        Self(Arc::new(Mutex::new(stage)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Stage> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Conductor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conductor").field("member", &self.member).finish_non_exhaustive()
    }
}

impl WireWitness for Conductor {
    fn on_request(&self, request: &WireRequest<'_>) -> Vec<FaultAct> {
        self.stage.lock().on_request(self.member, request)
    }

    fn on_applied(&self, request: &WireRequest<'_>) {
        self.stage.lock().on_applied(self.member, request);
    }
}
