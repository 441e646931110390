//! One run: a schedule played out in a world of its own.
#![expect(clippy::future_not_send, reason = "a run stays on the thread of its search")]

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::ops::Range;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use jobstream::record::{ConsumerRecord, Topic, TopicPartition};
use jobstream::sinks::Sink;
use jobstream::state::Store;
use jobstream::topology::{Event, Topology, Worker};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::cast::Cast;
use super::fault::{Fault, Planned};
use super::group::{Delivery, Group};
use super::history::{GroupHistory, History, Who};
use super::lives::life;
use super::member::{Member, noted};
use super::schedule::Schedule;
use super::scheduler::{Crashes, Scheduler};
use super::search::Search;
use super::setup::{Setup, TRANSACTION_TIMEOUT};
use super::slot::Life;
use super::workload::Workload;
use super::world::{Effect, World};
use crate::broker::{Assignor, Broker, Isolation, MemberId, Protocol, When};
use crate::random::Random;

/// How long a chain must have nothing to do before it has come to rest.
const CHAIN_RESTS: Duration = Duration::from_secs(5);
/// How long no actor is ready before the scheduler checks whether a fault is due.
const IDLE: Duration = Duration::from_secs(1);
/// How often it is checked whether everything has come to rest, in polls of the scheduler.
const LOOK_STEPS: u64 = 8;
/// How many records a consumer takes of one partition before the next partition's turn.
const POLL_RECORDS: usize = 4;

/// The result of a run.
pub(super) struct Outcome<O> {
    pub(super) history: History,
    pub(super) outside: Arc<O>,
    pub(super) steps: u64,
    /// The polls of each member while there were faults.
    pub(super) polls: Vec<u64>,
    /// How often each member reached each moment of an effect.
    pub(super) counts: BTreeMap<(usize, Effect, When), u64>,
    pub(super) crashes: Crashes,
}

/// How many polls of the scheduler a run may take with faults, and after them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) with_faults: u64,
    pub(super) without_faults: u64,
}

struct Stage<'a, O> {
    search: &'a Search<O>,
    world: World,
    broker: Broker,
    outside: Arc<O>,
    protocol_seed: u64,
}

impl<O: Send + Sync + 'static> Search<O> {
    /// Plays a schedule.
    pub(super) fn play(&self, seed: u64, schedule: &Schedule, patience: Patience) -> Outcome<O> {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without a thread or a socket");
        runtime.block_on(async {
            let world = World::new(seed);
            let broker = self.setup.broker(&world);
            let outside = Arc::new((self.outside)(&world));
            let stage = Stage { search: self, world, broker, outside, protocol_seed: seed };
            stage.play(schedule, patience).await
        })
    }
}

impl<O: Send + Sync + 'static> Stage<'_, O> {
    async fn play(self, schedule: &Schedule, patience: Patience) -> Outcome<O> {
        let workload = self.produce(schedule);
        let members = self.search.setup.members();
        let (world, broker) = (self.world.clone(), self.broker.clone());
        let planned = schedule.faults.clone();
        let mut scheduler =
            Scheduler::new(world, broker, &self, members, workload.clone(), planned);
        let groups = self.groups();
        let rests = || workload.len() == 0 && have_caught_up(&self.broker, &groups);
        until(&mut scheduler, patience.with_faults, |_| rests()).await;
        let polls = scheduler.polls();
        scheduler.heal();
        let last = scheduler.step() + patience.without_faults;
        let mut settled = until(&mut scheduler, last, |_| rests()).await;
        if groups.len() > 1 {
            // One of a chain may still work on records of a former life, which no topic shows any more.
            let rested = self.world.elapsed() + CHAIN_RESTS;
            let rests = |_: &Scheduler| self.world.elapsed() >= rested && rests();
            settled &= until(&mut scheduler, last, rests).await;
        }
        scheduler.stop_all();
        let last = scheduler.step() + patience.without_faults;
        let stopped = until(&mut scheduler, last, Scheduler::have_all_stopped).await;
        let steps = scheduler.step();
        let crashes = std::mem::take(&mut scheduler.crashes);
        let gone = scheduler.input.end();
        drop(scheduler);
        // A replaced member leaves its transaction open, and a reader waits for its end.
        sleep(TRANSACTION_TIMEOUT).await;
        self.broker.change(|state| state.expire_overdue(Instant::now()));
        let counts = std::mem::take(&mut self.world.state().counts);
        let history = self.history(settled && stopped, &gone);
        Outcome { history, outside: self.outside, steps, polls, counts, crashes }
    }

    /// Produces half of the jobs at the beginning; the others come in handfuls. If the schedule
    /// gives the topic a new life, half of the later jobs are held back until then, or until the
    /// others have been worked on.
    fn produce(&self, schedule: &Schedule) -> Workload {
        let jobs = (self.search.setup.jobs)(self.world.seed());
        let count = jobs.len();
        let workload = Workload::new(self.broker.clone(), jobs);
        workload.produce(count / 2);
        let is_anew = |planned: &Planned| {
            matches!(planned.fault, Fault::Recreate { .. } | Fault::LoseEnd { .. })
        };
        let held_back = if schedule.faults.iter().any(is_anew) { count / 4 } else { 0 };
        let rests = {
            let (broker, groups) = (self.broker.clone(), self.groups());
            move || have_caught_up(&broker, &groups)
        };
        let random = Random::seeded(!self.world.seed());
        self.world.spawn(workload.clone().produce_all(random, held_back, rests));
        workload
    }

    fn history(&self, settled: bool, gone: &[ConsumerRecord]) -> History {
        let outputs = |isolation| -> BTreeMap<Topic, Vec<_>> {
            let topics = self.search.setup.outputs.keys();
            topics.map(|topic| (topic.clone(), self.broker.records(topic, isolation))).collect()
        };
        let groups = self.search.setup.numbered();
        History {
            seed: self.world.seed(),
            entries: std::mem::take(&mut self.world.state().entries),
            groups: groups.map(|(group, members)| self.left_of(group, members, gone)).collect(),
            outputs: outputs(Isolation::ReadCommitted),
            uncommitted_outputs: outputs(Isolation::ReadUncommitted),
            sets_fit: Setup::<O>::sets_fit(self.world.seed()),
            settled,
        }
    }

    fn left_of(
        &self,
        group: &Group<O>,
        members: Range<usize>,
        gone: &[ConsumerRecord],
    ) -> GroupHistory {
        let read = |topic: &Topic| self.broker.records(topic, Isolation::ReadCommitted);
        let mut inputs: Vec<_> = group.topics.iter().flat_map(read).collect();
        let is_input = |record: &&ConsumerRecord| group.topics.contains(&record.partition.topic);
        inputs.extend(gone.iter().filter(is_input).cloned());
        inputs.sort_by(|a, b| {
            (&a.partition, life(a), a.offset).cmp(&(&b.partition, life(b), b.offset))
        });
        GroupHistory {
            name: group.name.clone(),
            members,
            topics: group.topics.clone(),
            inputs,
            state: group.state.iter().flat_map(read).collect(),
            delivery: group.delivery,
            limits: group.limits,
            attempts_max: group.attempts_max,
            attempt_timeout: group.attempt_timeout,
            limited_by: group.limited_by,
            identity: group.identity,
        }
    }
}

/// Makes the lives of members.
impl<O: Send + Sync + 'static> Stage<'_, O> {
    fn topology(&self, group: &Group<O>, who: Who) -> Topology {
        let (world, outside) = (self.world.clone(), self.outside.clone());
        let member = Member::new(who, world.clone(), outside);
        let topology = (group.topology)(&member);
        let is_watched = member.is_watched();
        let observer = move |event: &Event<'_>| {
            noted(event, is_watched).into_iter().for_each(|what| world.note(Some(who), what));
        };
        let topology = topology.with_limits(group.limits).with_seed(self.world.seed());
        topology.with_observer(Arc::new(observer))
    }

    fn worker(&self, group: &Group<O>, who: Who) -> (Worker, MemberId) {
        let consumer = self.broker.consumer(group.name.clone(), group.topics.iter().cloned());
        let consumer = consumer.max_poll_records(POLL_RECORDS);
        let consumer = match Setup::<O>::members_are_static(self.world.seed()) {
            true => consumer.instance_id(format!("instance-{}", who.member)),
            false => consumer,
        };
        let consumer = match group.topics.len() {
            1 => consumer.protocol(Setup::<O>::protocol(self.protocol_seed)),
            _ => consumer.protocol(Protocol::Eager).assignor(Assignor::Range),
        };
        let (source, sink): (_, Box<dyn Sink>) = match group.delivery {
            Delivery::AtLeastOnce => {
                let source = consumer.build();
                let sink = self.broker.producer().beside(source.member());
                (source, Box::new(sink))
            }
            Delivery::ExactlyOnce => {
                let (source, sink) = consumer.exactly_once(format!("member-{}", who.member));
                (source, Box::new(sink))
            }
        };
        let id = source.member();
        let store = group.state.clone().map(|topic| self.broker.store(topic).beside(id));
        let store = store.map(|store| Box::new(store) as Box<dyn Store>);
        (Worker { source: Box::new(source), sink, store }, id)
    }
}

/// Whether these groups have caught up with all topics that they consume.
fn have_caught_up(broker: &Broker, groups: &[(Arc<str>, Vec<Topic>)]) -> bool {
    groups.iter().all(|(group, topics)| topics.iter().all(|t| broker.has_caught_up(group, t)))
}

/// Lets the scheduler go on until the condition holds, or up to a step. Returns whether the
/// condition holds.
async fn until<'a>(
    scheduler: &mut Scheduler<'a>,
    last_step: u64,
    condition: impl Fn(&Scheduler<'a>) -> bool,
) -> bool {
    loop {
        for _ in 0..LOOK_STEPS {
            step(scheduler).await;
        }
        if condition(scheduler) {
            return true;
        }
        if scheduler.step() > last_step {
            return false;
        }
    }
}

/// Waits for one poll, or for the idle time. Yields to the runtime before it completes, so that
/// each actor is polled with the whole of tokio's budget.
async fn step(scheduler: &mut Scheduler<'_>) {
    let mut idle = pin!(sleep(IDLE));
    let mut polled = false;
    poll_fn(|cx: &mut Context<'_>| {
        if polled {
            return Poll::Ready(());
        }
        if scheduler.poll_step(cx).is_ready() {
            polled = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        idle.as_mut().poll(cx)
    })
    .await;
}

impl<O: Send + Sync + 'static> Cast for Stage<'_, O> {
    fn start(&self, who: Who) -> Life {
        let (_, group) = self.search.setup.group_of(who.member);
        let topology = self.topology(group, who);
        let (worker, id) = self.worker(group, who);
        let (stop, mut stopped) = watch::channel(false);
        let run = async move {
            let shutdown = async {
                // The sender is dropped only with this future.
                let _ = stopped.wait_for(|stop| *stop).await;
            };
            topology.run_worker(&worker, shutdown).await
        };
        Life { run: Box::pin(run), id, stop }
    }

    fn groups(&self) -> Vec<(Arc<str>, Vec<Topic>)> {
        let groups = self.search.setup.groups.iter();
        groups.map(|group| (group.name.clone(), group.topics.clone())).collect()
    }

    fn group_of(&self, member: usize) -> usize {
        self.search.setup.group_of(member).0
    }

    fn members_are_static(&self) -> bool {
        Setup::<O>::members_are_static(self.world.seed())
    }

    fn input(&self) -> Topic {
        self.search.setup.input.clone()
    }

    fn commits_name_topics(&self) -> bool {
        Setup::<O>::commits_name_topics(self.world.seed())
    }

    fn state_topics(&self) -> Vec<Topic> {
        self.search.setup.state_topics().cloned().collect()
    }

    fn output_ends(&self) -> BTreeMap<TopicPartition, i64> {
        self.search.setup.output_ends(&self.broker)
    }

    fn misfortune(&self, name: &'static str) {
        let misfortune = self.search.misfortunes.iter().find(|(known, _)| *known == name);
        let (_, strike) = misfortune.unwrap_or_else(|| panic!("no misfortune is named {name:?}"));
        strike(&self.outside);
    }

    fn heal(&self) {
        (self.search.heal)(&self.outside);
    }
}
