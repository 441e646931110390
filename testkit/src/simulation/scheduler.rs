//! The scheduler: polls members and the outside in an order that depends only on the seed, and
//! applies the faults.
//!
//! ```text
//!            ┌──────────── due? restart · heal · fault ◀── schedule
//!  step n ───┤
//!            └── one of the ready actors, by the seed ──▶ poll ──▶ effect reached? fault
//!                none is ready: time goes on
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll};

use jobstream::record::TopicPartition;
use jobstream::topology::Drained;

use super::actor::{Actor, Bell};
use super::cast::Cast;
use super::fault::{Fault, Planned, Trigger};
use super::history::{Commit, What, Who};
use super::input::Input;
use super::replaced::Replaced;
use super::slot::{Due, Ended, Reached, Slot};
use super::workload::Workload;
use super::world::{Effect, World};
use crate::broker::{Broker, MemberId, When};

/// How many steps after the end of its run a member is restarted, if no fault restarts it.
const RESTART_STEPS: u64 = 20;

/// Crashes by effect: how many came before it, and how many after it.
pub type Crashes = BTreeMap<Effect, (u64, u64)>;

/// The name for crashes at no effect: while the member waited, or between two effects.
pub const BETWEEN_EFFECTS: Effect = "(between effects)";

pub(super) struct Scheduler<'a> {
    pub(super) world: World,
    broker: Broker,
    cast: &'a dyn Cast,
    bell: Arc<Bell>,
    slots: Vec<Slot>,
    replaced: Replaced,
    outside: Vec<Actor<()>>,
    planned: Vec<Planned>,
    /// The faults that last, each with the step at which it ends.
    releases: Vec<(u64, Fault)>,
    pub(super) input: Input<'a>,
    pub(super) crashes: Crashes,
    is_ending: bool,
}

impl<'a> Scheduler<'a> {
    pub(super) fn new(
        world: World,
        broker: Broker,
        cast: &'a dyn Cast,
        members: usize,
        workload: Workload,
        planned: Vec<Planned>,
    ) -> Self {
        let input = Input::new(world.clone(), broker.clone(), cast, workload);
        Self {
            world,
            broker,
            cast,
            bell: Arc::default(),
            slots: (0..members).map(|_| Slot::new()).collect(),
            replaced: Replaced::default(),
            outside: Vec::new(),
            planned,
            releases: Vec::new(),
            input,
            crashes: Crashes::new(),
            is_ending: false,
        }
    }

    pub(super) fn step(&self) -> u64 {
        self.world.state().step
    }

    /// The polls of each member so far.
    pub(super) fn polls(&self) -> Vec<u64> {
        self.slots.iter().map(Slot::polls).collect()
    }

    /// Polls one of the ready actors; pending, so that time goes on, if there is none.
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
            Turn::Replaced(index) => self.poll_replaced(index),
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
        let members = self.slots.iter().enumerate().filter(|(_, slot)| slot.can_go_on());
        let outside = self.outside.iter().enumerate().filter(|(_, actor)| actor.is_ready());
        let members = members.map(|(member, _)| Turn::Member(member));
        let outside = outside.map(|(index, _)| Turn::Outside(index));
        members.chain(outside).chain(self.replaced.ready().map(Turn::Replaced)).collect()
    }

    fn poll_outside(&mut self, index: usize) {
        self.begin_turn(None);
        if self.outside[index].poll().is_ready() {
            self.outside.remove(index);
        }
    }

    /// Polls a process that another one has replaced; it is not restarted.
    fn poll_replaced(&mut self, index: usize) {
        let who = self.replaced.who(index);
        self.begin_turn(Some(who));
        let ended = self.replaced.poll(index);
        let reached = self.world.state().reached.clone();
        self.note_commits(who);
        if let Some(ended) = ended {
            self.world.note(Some(who), what_of(ended));
        }
        self.strike_at_effects(who.member, &reached);
    }

    fn begin_turn(&self, who: Option<Who>) {
        let mut state = self.world.state();
        state.turn = who;
        state.reached.clear();
    }

    fn who(&self, member: usize) -> Who {
        Who { member, life: self.slots[member].lives() }
    }

    fn poll_member(&mut self, member: usize) {
        let poll = self.slots[member].count_poll();
        self.strike(|at| at == Trigger::Poll { member, poll });
        let who = self.who(member);
        self.begin_turn(Some(who));
        let Some(ended) = self.slots[member].poll() else { return };
        self.slots[member].set_reached(&self.world.state().reached);
        self.note_commits(who);
        if let Poll::Ready(ended) = ended {
            self.end(who, ended);
        }
        let reached = self.slots[member].reached().clone();
        self.strike_at_effects(member, &reached);
    }

    fn end(&mut self, who: Who, ended: Ended) {
        let slot = &mut self.slots[who.member];
        slot.end();
        if !slot.restarts() && !self.is_ending {
            slot.set_restart(Some(self.world.state().step + RESTART_STEPS));
        }
        self.world.note(Some(who), what_of(ended));
    }

    fn strike_at_effects(&mut self, member: usize, reached: &Reached) {
        for &(effect, when) in reached {
            let nth = self.world.state().counts.get(&(member, effect, when)).copied();
            let nth = nth.unwrap_or_default();
            self.strike(|at| at == Trigger::Effect { member, effect, nth, when });
        }
    }

    /// Applies the faults whose time has come.
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
                self.slots[member].set_restart(Some(step + restart_after_steps));
            }
            Fault::Pause { member, steps, unaware_steps } => {
                self.hide_loss(member, step + steps + unaware_steps);
                self.pause(member, step + steps);
            }
            Fault::Expire { member, unaware_steps } => {
                self.hide_loss(member, step + unaware_steps);
                self.id(member).into_iter().for_each(|id| self.broker.expire(id));
            }
            Fault::Replace { member, unaware_steps } => {
                self.replace(member, step + unaware_steps);
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
            Fault::Truncate { partition, beyond } => self.input.truncate(partition, beyond),
            Fault::Recreate { jobs } => self.input.recreate(jobs),
            Fault::LoseEnd { partition, offsets } => self.input.lose_end(partition, offsets),
            Fault::ForeignCommit { partition, offset, metadata } => {
                self.input.commit_as_another_program(partition, (offset, metadata));
            }
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

    fn id(&self, member: usize) -> Option<MemberId> {
        self.slots[member].id()
    }

    fn crash(&mut self, member: usize, restart_at: u64) {
        let who = self.who(member);
        if self.id(member).is_none() {
            return;
        }
        self.slots[member].set_restart(Some(restart_at));
        self.world.note(Some(who), What::Crashed);
        let reached = self.slots[member].reached().clone();
        if reached.is_empty() {
            self.crashes.entry(BETWEEN_EFFECTS).or_default().0 += 1;
        }
        for (effect, when) in reached {
            let counts = self.crashes.entry(effect).or_default();
            match when {
                When::Before => counts.0 += 1,
                When::After => counts.1 += 1,
            }
        }
        self.slots[member].set_reached(&Vec::new());
        self.slots[member].end();
    }

    /// Starts another process of a static member beside the one that runs.
    fn replace(&mut self, member: usize, unaware_until: u64) {
        if !self.cast.members_are_static() {
            return;
        }
        self.hide_loss(member, unaware_until);
        let who = self.who(member);
        if let Some(living) = self.slots[member].end() {
            self.slots[member].set_reached(&Vec::new());
            self.replaced.push(who, living);
            self.start(member);
        }
    }

    fn pause(&mut self, member: usize, until: u64) {
        let who = self.who(member);
        let Some(id) = self.id(member) else { return };
        self.slots[member].pause(until);
        self.broker.suspend(id);
        self.world.note(Some(who), What::Paused);
    }

    /// Hides from a member until this step that its session has ended.
    fn hide_loss(&mut self, member: usize, until: u64) {
        let Some(id) = self.id(member).filter(|_| until > self.step()) else { return };
        self.slots[member].set_unaware(Some(until));
        self.broker.hide_loss(id);
    }

    fn reveal_loss(&mut self, member: usize) {
        let Some(id) = self.id(member) else { return };
        self.slots[member].set_unaware(None);
        self.broker.reveal_loss(id);
    }

    fn ask_to_stop(&self, member: usize) {
        if self.slots[member].ask_to_stop() {
            self.world.note(Some(self.who(member)), What::Stopping);
        }
    }

    /// Restarts, wakes and releases what is due, and applies the faults of this step.
    fn do_what_is_due(&mut self) {
        let step = self.step();
        for member in 0..self.slots.len() {
            let Due { starts, wakes, learns } = self.slots[member].due(step);
            if starts {
                self.start(member);
            }
            if wakes {
                self.wake(member);
            }
            if learns {
                self.reveal_loss(member);
            }
        }
        for who in self.replaced.go_on(&self.broker, step) {
            self.world.note(Some(who), What::Woken);
        }
        let (due, later) =
            std::mem::take(&mut self.releases).into_iter().partition(|(at, _)| *at <= step);
        self.releases = later;
        let due: Vec<(u64, Fault)> = due;
        due.into_iter().for_each(|(_, fault)| self.release(fault));
        self.input.grow();
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
        let who = Who { member, life: self.slots[member].next_life() };
        let (group, _) = self.cast.groups().swap_remove(self.cast.group_of(member));
        self.world.note(Some(who), What::Started(group));
        let life = self.cast.start(who);
        self.world.state().lives.insert(life.id, who);
        self.slots[member].begin(life, &self.bell);
    }

    fn wake(&mut self, member: usize) {
        let who = self.who(member);
        let Some(id) = self.id(member) else { return };
        self.slots[member].wake();
        self.broker.wake(id);
        self.world.note(Some(who), What::Woken);
    }

    /// Notes the positions that a poll of the member has committed.
    fn note_commits(&mut self, who: Who) {
        let may_have = |(effect, when): &(Effect, When)| {
            *when == When::After && ["commit", "end"].contains(effect)
        };
        if !self.world.state().reached.iter().any(may_have) {
            return;
        }
        let group = self.cast.group_of(who.member);
        for (partition, life, position) in self.input.news(group) {
            let commit = Commit { partition, life, position, ends: self.cast.output_ends() };
            self.world.note(Some(who), What::Committed(commit));
        }
    }

    /// Ends all faults: operations that hang go on, and members that are away come back.
    pub(super) fn heal(&mut self) {
        self.world.note(None, What::Healed);
        self.planned.clear();
        self.releases.clear();
        self.broker.heal();
        self.cast.heal();
        for member in 0..self.slots.len() {
            let slot = &mut self.slots[member];
            if slot.id().is_none() || slot.restarts() {
                slot.set_restart(Some(0));
            }
            slot.set_unaware(None);
            if slot.is_paused() {
                self.wake(member);
            }
        }
        for who in self.replaced.go_on(&self.broker, u64::MAX) {
            self.world.note(Some(who), What::Woken);
        }
    }

    /// Asks all members to stop; none is restarted.
    pub(super) fn stop_all(&mut self) {
        self.is_ending = true;
        for member in 0..self.slots.len() {
            self.slots[member].set_restart(None);
            self.ask_to_stop(member);
        }
        for who in self.replaced.ask_to_stop() {
            self.world.note(Some(who), What::Stopping);
        }
    }

    /// Whether every member has stopped.
    pub(super) fn have_all_stopped(&self) -> bool {
        self.replaced.is_empty() && self.slots.iter().all(Slot::is_over)
    }
}

fn what_of(ended: Ended) -> What {
    match ended {
        Ok(Drained { unfinished }) => What::Stopped { unfinished },
        Err(error) => What::Broke(error.to_string()),
    }
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Member(usize),
    Outside(usize),
    /// A process that another one has replaced.
    Replaced(usize),
}
