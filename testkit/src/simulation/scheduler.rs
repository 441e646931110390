//! The scheduler: polls members and the outside in an order that is a function of the seed, and
//! lets the faults strike.
//!
//! ```text
//!            ┌──────────── due? restart · heal · fault ◀── schedule
//!  step n ───┤
//!            └── one of those who can go on, by the seed ──▶ poll ──▶ effect reached? fault
//!                none can: time goes on
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use jobstream::record::{ConsumerRecord, Topic, TopicPartition};
use jobstream::topology::{Drained, RunError};

use super::actor::{Actor, Bell};
use super::cast::Cast;
use super::commits::Commits;
use super::fault::{Fault, Planned, Trigger};
use super::history::{Commit, What, Who};
use super::world::{Effect, World};
use crate::broker::{Broker, Isolation, MemberId, Moment};

/// How a member's run ends.
pub(super) type Ended = Result<Drained, RunError>;

/// A life of a member: its future, its name at the broker, and how it is asked to stop.
pub(super) struct Life {
    pub(super) run: BoxFuture<'static, Ended>,
    pub(super) id: MemberId,
    pub(super) stop: tokio::sync::watch::Sender<bool>,
}

/// A member that is restarted by itself after its run has broken waits so many steps.
const RESTART_STEPS: u64 = 20;

/// The place of a member.
#[derive(Default)]
struct Slot {
    life: Option<Living>,
    lives: u32,
    polls: u64,
    /// The moments at which its last poll has left it.
    reached: Vec<(Effect, Moment)>,
    restart_at: Option<u64>,
}

struct Living {
    actor: Actor<Ended>,
    id: MemberId,
    stop: tokio::sync::watch::Sender<bool>,
    paused_until: Option<u64>,
    /// Until when it does not learn that its session has ended.
    unaware_until: Option<u64>,
}

/// Crashes by the effect at which they came: how many before it, and how many after it.
pub type Crashes = BTreeMap<Effect, (u64, u64)>;

/// A crash that came at no effect: while the member waited or between two effects.
pub const BETWEEN_EFFECTS: Effect = "(between effects)";

pub(super) struct Scheduler<'a> {
    pub(super) world: World,
    broker: Broker,
    cast: &'a dyn Cast,
    bell: Arc<Bell>,
    slots: Vec<Slot>,
    outside: Vec<Actor<()>>,
    planned: Vec<Planned>,
    /// When what hangs is released.
    releases: Vec<(u64, Fault)>,
    commits: Commits,
    /// What retention has removed of the jobs.
    pub(super) removed: Vec<ConsumerRecord>,
    pub(super) crashes: Crashes,
    is_ending: bool,
}

impl<'a> Scheduler<'a> {
    pub(super) fn new(
        world: World,
        broker: Broker,
        cast: &'a dyn Cast,
        members: usize,
        planned: Vec<Planned>,
    ) -> Self {
        let groups = cast.groups().into_iter().map(|(group, _)| group);
        Self {
            world,
            broker,
            cast,
            bell: Arc::default(),
            slots: (0..members).map(|_| Slot { restart_at: Some(0), ..Slot::default() }).collect(),
            outside: Vec::new(),
            planned,
            releases: Vec::new(),
            commits: Commits::of(groups),
            removed: Vec::new(),
            crashes: Crashes::new(),
            is_ending: false,
        }
    }

    pub(super) fn step(&self) -> u64 {
        self.world.state().step
    }

    /// The polls of each member so far.
    pub(super) fn polls(&self) -> Vec<u64> {
        self.slots.iter().map(|slot| slot.polls).collect()
    }

    /// Polls one of those who can go on; pending, with time going on, if there is none.
    pub(super) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.bell.listen(cx.waker());
        self.count_step();
        self.do_what_is_due();
        self.take_in_spawned();
        let ready = self.ready();
        if ready.is_empty() {
            return Poll::Pending;
        }
        let picked = self.world.state().random.below(ready.len());
        match ready[picked] {
            Turn::Member(member) => self.poll_member(member),
            Turn::Outside(index) => self.poll_outside(index),
        }
        Poll::Ready(())
    }

    fn count_step(&self) {
        self.world.state().step += 1;
    }

    fn take_in_spawned(&mut self) {
        let spawned = std::mem::take(&mut self.world.state().spawned);
        self.outside.extend(spawned.into_iter().map(|future| Actor::new(future, &self.bell)));
    }

    fn ready(&self) -> Vec<Turn> {
        let can_go_on = |living: &Living| living.paused_until.is_none() && living.actor.is_ready();
        let members = self.slots.iter().enumerate();
        let members = members.filter(|(_, slot)| slot.life.as_ref().is_some_and(can_go_on));
        let outside = self.outside.iter().enumerate().filter(|(_, actor)| actor.is_ready());
        let members = members.map(|(member, _)| Turn::Member(member));
        members.chain(outside.map(|(index, _)| Turn::Outside(index))).collect()
    }

    fn poll_outside(&mut self, index: usize) {
        self.begin_turn(None);
        if self.outside[index].poll().is_ready() {
            self.outside.remove(index);
        }
    }

    fn begin_turn(&self, who: Option<Who>) {
        let mut state = self.world.state();
        state.turn = who;
        state.reached.clear();
    }

    fn who(&self, member: usize) -> Who {
        Who { member, life: self.slots[member].lives }
    }

    fn poll_member(&mut self, member: usize) {
        let poll = self.slots[member].polls;
        self.slots[member].polls += 1;
        self.strike(|at| at == Trigger::Poll { member, poll });
        let who = self.who(member);
        if self.slots[member].life.as_ref().is_none_or(|living| living.paused_until.is_some()) {
            return;
        }
        self.begin_turn(Some(who));
        let Some(living) = self.slots[member].life.as_mut() else { return };
        let ended = living.actor.poll();
        self.slots[member].reached.clone_from(&self.world.state().reached);
        self.note_commits(who);
        if let Poll::Ready(ended) = ended {
            self.end(who, ended);
        }
        self.strike_at_effects(member);
    }

    fn end(&mut self, who: Who, ended: Ended) {
        let slot = &mut self.slots[who.member];
        slot.life = None;
        let what = match ended {
            Ok(Drained { unfinished }) => What::Stopped { unfinished },
            Err(error) => What::Broke(error.to_string()),
        };
        if slot.restart_at.is_none() && !self.is_ending {
            slot.restart_at = Some(self.world.state().step + RESTART_STEPS);
        }
        self.world.note(Some(who), what);
    }

    fn strike_at_effects(&mut self, member: usize) {
        let reached = self.slots[member].reached.clone();
        for (effect, moment) in reached {
            let nth = self.world.state().counts.get(&(member, effect, moment)).copied();
            let nth = nth.unwrap_or_default();
            self.strike(|at| at == Trigger::Effect { member, effect, nth, moment });
        }
    }

    /// Lets the faults strike whose time it is.
    fn strike(&mut self, is_time: impl Fn(Trigger) -> bool) {
        if self.is_ending || !self.planned.iter().any(|planned| is_time(planned.at)) {
            return;
        }
        let (now, later) =
            std::mem::take(&mut self.planned).into_iter().partition(|p| is_time(p.at));
        self.planned = later;
        let now: Vec<Planned> = now;
        for planned in now {
            self.world.note(None, What::Fault(planned.fault));
            self.apply(planned.fault);
        }
    }

    fn apply(&mut self, fault: Fault) {
        let step = self.step();
        match fault {
            Fault::Crash { member, restart_after_steps } => {
                self.crash(member, step + restart_after_steps);
            }
            Fault::Stop { member, restart_after_steps } => {
                self.ask_to_stop(member);
                self.slots[member].restart_at = Some(step + restart_after_steps);
            }
            Fault::Pause { member, steps, unaware_steps } => {
                self.hide_loss(member, step + steps + unaware_steps);
                self.pause(member, step + steps);
            }
            Fault::Expire { member, unaware_steps } => {
                self.hide_loss(member, step + unaware_steps);
                self.id(member).into_iter().for_each(|id| self.broker.expire(id));
            }
            Fault::Move { partition, to } => self.move_to(partition, to),
            Fault::Fail { member: None, operation, times, how } => {
                self.broker.fail(operation, times, how);
            }
            Fault::Fail { member: Some(member), operation, times, how } => {
                let id = self.id(member);
                id.into_iter().for_each(|id| self.broker.fail_member(id, operation, times, how));
            }
            Fault::Hang { member, operation, steps } => {
                match member {
                    None => self.broker.hold(operation),
                    Some(member) => {
                        let id = self.id(member);
                        id.into_iter().for_each(|id| self.broker.hold_member(id, operation));
                    }
                }
                self.releases.push((step + steps, fault));
            }
            Fault::Away { steps } => {
                self.broker.stop();
                self.releases.push((step + steps, fault));
            }
            Fault::Truncate { partition, beyond } => self.truncate(partition, beyond),
            Fault::Compact => {
                self.cast.state_topics().iter().for_each(|topic| self.broker.compact(topic));
            }
            Fault::ClockJump { milliseconds } => {
                self.world.state().clock_jumps_ms += milliseconds;
            }
            Fault::Outside(name) => self.cast.misfortune(name),
        }
    }

    fn move_to(&self, partition: i32, to: usize) {
        let Some(id) = self.id(to) else { return };
        let (group, topics) = &self.cast.groups()[self.cast.group_of(to)];
        for topic in topics {
            let partition = TopicPartition::new(topic.clone(), partition);
            self.broker.reassign(group, &partition, id);
        }
    }

    /// Removes what every group that consumes the jobs has finished, and so many offsets more. The
    /// last record stays, as Kafka keeps its active segment: who reads it is told of the others.
    fn truncate(&mut self, partition: i32, beyond: i64) {
        let partition = TopicPartition::new(self.cast.input(), partition);
        let consumes = |topics: &[Topic]| topics.contains(&partition.topic);
        let groups = self.cast.groups().into_iter().filter(|(_, topics)| consumes(topics));
        let groups: Vec<_> = groups.map(|(group, _)| group).collect();
        let last = self.broker.high_watermark(&partition).unwrap_or_default() - 1;
        let before = (Commits::frontier(&self.broker, &groups, &partition) + beyond).min(last);
        let mut removed = self.broker.records(&partition.topic, Isolation::ReadCommitted);
        removed.retain(|record| record.partition == partition && record.offset < before);
        self.removed.extend(removed);
        self.broker.truncate(&partition, before);
        self.world.note(None, What::Removed { partition, before });
    }

    fn id(&self, member: usize) -> Option<MemberId> {
        self.slots[member].life.as_ref().map(|living| living.id)
    }

    fn crash(&mut self, member: usize, restart_at: u64) {
        let who = self.who(member);
        let Some(living) = self.slots[member].life.take() else { return };
        self.slots[member].restart_at = Some(restart_at);
        self.world.note(Some(who), What::Crashed);
        let reached = std::mem::take(&mut self.slots[member].reached);
        if reached.is_empty() {
            self.crashes.entry(BETWEEN_EFFECTS).or_default().0 += 1;
        }
        for (effect, moment) in reached {
            let counts = self.crashes.entry(effect).or_default();
            match moment {
                Moment::Before => counts.0 += 1,
                Moment::After => counts.1 += 1,
            }
        }
        drop(living);
    }

    fn pause(&mut self, member: usize, until: u64) {
        let who = self.who(member);
        let Some(living) = self.slots[member].life.as_mut() else { return };
        living.paused_until = Some(until);
        self.broker.suspend(living.id);
        self.world.note(Some(who), What::Paused);
    }

    /// Keeps a member from learning that its session has ended, up to a step after this one.
    fn hide_loss(&mut self, member: usize, until: u64) {
        let step = self.step();
        let Some(living) = self.slots[member].life.as_mut().filter(|_| until > step) else {
            return;
        };
        living.unaware_until = Some(until);
        self.broker.hide_loss(living.id);
    }

    fn reveal_loss(&mut self, member: usize) {
        let Some(living) = self.slots[member].life.as_mut() else { return };
        living.unaware_until = None;
        self.broker.reveal_loss(living.id);
    }

    fn ask_to_stop(&self, member: usize) {
        if let Some(living) = &self.slots[member].life
            && !living.stop.send_replace(true)
        {
            self.world.note(Some(self.who(member)), What::Stopping);
        }
    }

    /// Restarts, wakes and releases what it is time for, and lets the faults of this step strike.
    fn do_what_is_due(&mut self) {
        let step = self.step();
        for member in 0..self.slots.len() {
            let slot = &self.slots[member];
            if slot.life.is_none() && slot.restart_at.is_some_and(|at| at <= step) {
                self.start(member);
            }
            let life = self.slots[member].life.as_ref();
            let is_due = |until: Option<u64>| until.is_some_and(|until| until <= step);
            let wakes = is_due(life.and_then(|living| living.paused_until));
            let learns = is_due(life.and_then(|living| living.unaware_until));
            if wakes {
                self.wake(member);
            }
            if learns {
                self.reveal_loss(member);
            }
        }
        let (due, later) =
            std::mem::take(&mut self.releases).into_iter().partition(|(at, _)| *at <= step);
        self.releases = later;
        let due: Vec<(u64, Fault)> = due;
        due.into_iter().for_each(|(_, fault)| self.release(fault));
        self.strike(|at| matches!(at, Trigger::Step(at) if at <= step));
    }

    fn release(&self, fault: Fault) {
        match fault {
            Fault::Hang { operation, .. } => self.broker.release(operation),
            Fault::Away { .. } => self.broker.start(),
            _ => {}
        }
    }

    fn start(&mut self, member: usize) {
        let slot = &mut self.slots[member];
        slot.lives += 1;
        slot.restart_at = None;
        let who = Who { member, life: slot.lives };
        let (group, _) = self.cast.groups().swap_remove(self.cast.group_of(member));
        self.world.note(Some(who), What::Started(group));
        let Life { run, id, stop } = self.cast.start(who);
        let actor = Actor::new(run, &self.bell);
        self.world.state().lives.insert(id, who);
        let living = Living { actor, id, stop, paused_until: None, unaware_until: None };
        self.slots[member].life = Some(living);
    }

    fn wake(&mut self, member: usize) {
        let who = self.who(member);
        let Some(living) = self.slots[member].life.as_mut() else { return };
        living.paused_until = None;
        self.broker.wake(living.id);
        self.world.note(Some(who), What::Woken);
    }

    /// Notes the positions that the member's poll has committed.
    fn note_commits(&mut self, who: Who) {
        let may_have = |(effect, moment): &(Effect, Moment)| {
            *moment == Moment::After && ["commit", "end"].contains(effect)
        };
        if !self.world.state().reached.iter().any(may_have) {
            return;
        }
        let group = self.cast.group_of(who.member);
        for (partition, position) in self.commits.news(group, &self.broker) {
            let commit = Commit { partition, position, ends: self.cast.output_ends() };
            self.world.note(Some(who), What::Committed(commit));
        }
    }

    /// Ends all faults: what hangs goes on, who is away comes back.
    pub(super) fn heal(&mut self) {
        self.world.note(None, What::Healed);
        self.planned.clear();
        self.releases.clear();
        self.broker.heal();
        self.cast.heal();
        for member in 0..self.slots.len() {
            let slot = &mut self.slots[member];
            if slot.life.is_none() || slot.restart_at.is_some() {
                slot.restart_at = Some(0);
            }
            if slot.life.as_ref().is_some_and(|living| living.paused_until.is_some()) {
                self.wake(member);
            }
        }
    }

    /// Asks all members to stop; none is restarted.
    pub(super) fn stop_all(&mut self) {
        self.is_ending = true;
        for member in 0..self.slots.len() {
            self.slots[member].restart_at = None;
            self.ask_to_stop(member);
        }
    }

    /// Whether no member runs any more.
    pub(super) fn have_all_stopped(&self) -> bool {
        self.slots.iter().all(|slot| slot.life.is_none() && slot.restart_at.is_none())
    }
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Member(usize),
    Outside(usize),
}
