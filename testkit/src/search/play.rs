//! A play: a fresh broker, the program, the faults of a schedule, and a time of peace.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;
use tokio::select;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::account::Account;
use super::fault::Act;
use super::member::{Member, Sessions};
use super::program::Program;
use super::promise::{Unusable, Verdict};
use super::receiver::Receiver;
use super::schedule::Schedule;
use super::stage::{Conductor, Counts, Order, Shared, Stage};
use super::timeline::{Timeline, Who};
use super::watch::Watch;
use crate::broker::{Broker, TopicOptions};
use crate::smtp::SmtpServer;
use crate::wire::Listener;

/// How often a play looks around.
const TICK: Duration = Duration::from_millis(10);
/// In how many parts the jobs are produced; each but the first once those before are done, or after
/// some time.
const PARTS: usize = 3;
const NEXT_PART_AFTER: Duration = Duration::from_millis(500);
/// How long nothing may come after all is done and committed, for a play to end.
const QUIET: Duration = Duration::from_millis(150);
/// The same where all is done, and not all of it committed: many programs commit now and then.
const QUIET_UNCOMMITTED: Duration = Duration::from_secs(1);
/// A play is given up after this time, whatever happens in it.
const PLAY_MAX: Duration = Duration::from_secs(120);
/// A program that has not begun its work yet, or that joins, produces or commits, and gets nothing done,
/// hangs after so many times the usual time: machines are slow now and then.
const PATIENCE: u32 = 6;
/// After what time without any progress a membership is ended of which nothing has come for as long: a
/// client that has lost an answer may have come back as another member, and its group waits for the former
/// one until its session ends. It is longer than clients wait between heartbeats.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// How often a member may end by itself with nothing done in between.
const OWN_ENDS_MAX: u32 = 10;
/// Bytes of a log, requests, and effects for each job, above which a program floods.
const LOG_MAX_BYTES: u64 = 16 << 20;
const REQUESTS_MAX: u64 = 1_000_000;
const EFFECTS_MAX_PER_JOB: u64 = 1_000;
/// The shortest session that a client may ask for, and the longest.
const SESSIONS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30 * 60));
/// How often members of groups of KIP-848 say that they live, so that rebalances do not wait long.
const HEARTBEATS_EVERY: Duration = Duration::from_millis(300);

/// What a play has shown.
#[derive(Debug)]
pub(super) struct Played {
    /// Whether the promise held.
    pub(super) verdict: Verdict,
    /// What happened.
    pub(super) timeline: Timeline,
    /// How long it took.
    pub(super) took: Duration,
    /// Outputs, mails and requests that belong to no job.
    pub(super) strays: u64,
    pub(super) counts: Counts,
    /// Whether all that was done was committed when it was over.
    pub(super) is_committed: bool,
    /// Holds a log of each member, `member-N.log`.
    pub(super) folder: TempDir,
}

struct Play<'a> {
    program: &'a Program,
    broker: Broker,
    stage: Shared,
    orders: UnboundedReceiver<Order>,
    members: Vec<Member>,
    variables: Vec<(&'static str, String)>,
    guests: JoinSet<()>,
    away_until: Option<Instant>,
    produced: usize,
    /// When the last part of the jobs was produced.
    part: Instant,
    progress: (u64, Instant),
    is_at_peace: bool,
}

/// Plays a schedule once. What was started ends with it, also when the future is dropped.
///
/// # Errors
/// If no socket, file or process can be had. A program that can't be found is no error: the verdict
/// says so.
pub(super) async fn play(program: &Program, schedule: &Schedule) -> io::Result<Played> {
    let (mut play, folder) = Play::begin(program, schedule).await?;
    let verdict = match play.start_all() {
        Err(error) => Verdict::Unusable(Unusable::Start(error)),
        Ok(()) => play.until_judged().await,
    };
    let Play { stage, members, .. } = play;
    drop(members);
    let mut stage = stage.lock();
    let (took, account) = (stage.began().elapsed(), stage.watch().account());
    let (strays, is_committed) = (account.strays(), account.is_committed());
    let (timeline, counts) = stage.take_findings();
    Ok(Played { verdict, timeline, took, strays, counts, is_committed, folder })
}

impl<'a> Play<'a> {
    async fn begin(program: &'a Program, schedule: &Schedule) -> io::Result<(Self, TempDir)> {
        let folder = tempfile::Builder::new().prefix("broker-search-").tempdir()?;
        let broker = Broker::builder().seed(schedule.seed).wall_clock(now_ms).build();
        let own = program.outputs.iter().chain([&program.input]);
        let own = own.map(|topic| (topic.as_str(), program.partitions));
        let others = program.topics.iter().map(|(topic, partitions)| (topic.as_str(), *partitions));
        for (topic, partitions) in own.chain(others) {
            broker.create_topic(topic, TopicOptions::partitions(partitions));
        }
        let (inbox, receiver, variables) = outside(program).await?;
        let wants_outputs = !program.outputs.is_empty();
        let jobs = program.jobs.clone();
        let account = Account::new(jobs.clone(), program.promise, &program.input, wants_outputs);
        let topics = (program.input.as_str(), program.outputs.as_slice());
        let watch = Watch::new(broker.clone(), (jobs, account), topics, inbox, receiver);
        let (sender, orders) = unbounded_channel();
        let stage = Stage::new(watch, topics, program.members, &schedule.faults, sender);
        let stage = Shared::new(stage);
        let sessions = Sessions {
            timeout_max: program.session_timeout_max,
            leaves_at_once: schedule.leaves_at_once,
        };
        let mut members = Vec::new();
        for number in 0..program.members {
            let listener = listen(&broker, program, number, &stage).await?;
            let folder = folder.path().to_owned();
            members.push(Member::new(number, listener, stage.clone(), folder, sessions));
        }
        let now = Instant::now();
        let play = Self {
            program,
            broker,
            stage,
            orders,
            members,
            variables,
            guests: JoinSet::new(),
            away_until: None,
            produced: 0,
            part: now,
            progress: (0, now),
            is_at_peace: false,
        };
        Ok((play, folder))
    }

    fn start_all(&mut self) -> Result<(), String> {
        self.produce_part();
        (0..self.members.len()).try_for_each(|member| self.start(member))
    }

    fn start(&mut self, member: usize) -> Result<(), String> {
        let (command, now) = (&self.program.command, Instant::now());
        let started = self.members[member].start(command, &self.variables, now);
        let name = command.first().map(|name| name.to_string_lossy()).unwrap_or_default();
        self.progress.1 = now;
        started.map_err(|error| format!("{name}: {error}"))
    }

    /// Produces the next part of the jobs.
    fn produce_part(&mut self) {
        let jobs = self.program.jobs.list();
        let until = (self.produced + jobs.len().div_ceil(PARTS)).min(jobs.len());
        let mut stage = self.stage.lock();
        for (number, job) in jobs.iter().enumerate().take(until).skip(self.produced) {
            match self.broker.produce(job.record(&self.program.input)) {
                Ok((partition, offset)) => {
                    let topic = &self.program.input;
                    let what = format!("job {} produced at {topic}[{partition}]@{offset}", job.id);
                    stage.note(Who::World, what);
                    stage.watch_mut().account_mut().produced(number, (partition, offset));
                }
                Err(error) => {
                    stage.note(Who::World, format!("job {} not produced: {error}", job.id));
                }
            }
        }
        drop(stage);
        (self.produced, self.part) = (until, Instant::now());
    }

    async fn until_judged(&mut self) -> Verdict {
        loop {
            select! {
                biased;
                Some(order) = self.orders.recv() => self.obey(order),
                () = sleep(TICK) => {}
            }
            self.stage.lock().look();
            let now = Instant::now();
            if let Err(error) = self.advance(now) {
                return Verdict::Unusable(Unusable::Start(error));
            }
            if let Some(verdict) = self.judge(now) {
                return verdict;
            }
        }
    }

    /// Carries out what a fault asks for.
    fn obey(&mut self, Order { member, act }: Order) {
        let now = Instant::now();
        self.progress.1 = now;
        let of_it = &mut self.members[member];
        match act {
            Act::Kill { restart_after, .. } => of_it.killed(restart_after, now),
            Act::Stop { restart_after } => of_it.stopping(restart_after, now),
            Act::Pause { time, .. } => of_it.paused(time, now),
            Act::Away { time } => {
                self.away_until = Some(now + time);
                self.each_node(|listener, node| listener.take_away(node));
            }
            Act::Rebalance { stay } => {
                for group in self.broker.groups_on_the_wire() {
                    self.guests.spawn(of_it.listener().visit(&group, stay));
                }
            }
            Act::Broker(_) | Act::Silence { .. } => {}
        }
    }

    fn each_node(&self, change: impl Fn(&Listener, i32)) {
        for member in &self.members {
            (1..).take(self.program.nodes).for_each(|node| change(member.listener(), node));
        }
    }

    fn advance(&mut self, now: Instant) -> Result<(), String> {
        if self.away_until.is_some_and(|until| until <= now) {
            self.away_until = None;
            self.each_node(|listener, node| listener.bring_back(node));
            self.stage.lock().note(Who::World, "the broker is back");
        }
        while self.guests.try_join_next().is_some() {
            self.stage.lock().note(Who::World, "the guest has left");
        }
        for member in 0..self.members.len() {
            if self.members[member].advance(now) {
                self.start(member)?;
            }
        }
        let stage = self.stage.lock();
        let account = stage.watch().account();
        let (progress, is_done) = (account.progress(), account.undone().is_empty());
        let reads = (0..self.members.len()).any(|member| stage.reads(member));
        let is_over = stage.is_at_peace();
        drop(stage);
        if progress != self.progress.0 {
            self.progress = (progress, now);
            self.members.iter_mut().for_each(Member::forgive);
        }
        let is_left = self.produced < self.program.jobs.list().len();
        let is_late = reads && now.duration_since(self.part) > NEXT_PART_AFTER;
        if is_left && (is_done || is_late) {
            self.produce_part();
        }
        if let Some(since) = now.checked_sub(SILENCE_MAX)
            && self.progress.1 < since
            && self.members.first().is_some_and(|member| member.listener().expel_silent(since))
        {
            let what = "members that are silent are out of their group: their sessions have ended";
            self.stage.lock().note(Who::World, what);
        }
        if is_over && !self.is_at_peace && self.is_undisturbed(now) {
            self.is_at_peace = true;
            self.progress.1 = now;
            self.stage.lock().note(Who::World, "no fault from here on");
        }
        Ok(())
    }

    /// Whether no fault lasts.
    fn is_undisturbed(&self, now: Instant) -> bool {
        self.away_until.is_none()
            && self.guests.is_empty()
            && !self.members.iter().any(|member| member.is_between(now))
    }

    fn judge(&self, now: Instant) -> Option<Verdict> {
        let stage = self.stage.lock();
        if let Some(broken) = stage.broken() {
            return Some(Verdict::Broken(broken.clone()));
        }
        let account = stage.watch().account();
        let busy = now.duration_since(stage.busy());
        let has_zombies = self.members.iter().any(|member| member.is_between(now));
        if account.is_complete() && !has_zombies {
            let mut members = self.members.iter().enumerate();
            let all_read = members.all(|(number, member)| member.is_up() && stage.reads(number));
            let is_quiet = all_read && self.is_undisturbed(now) && busy > QUIET_UNCOMMITTED;
            let is_over = account.is_committed() && self.is_undisturbed(now) && busy > QUIET;
            if is_quiet || is_over {
                return Some(Verdict::Kept);
            }
        }
        let floods = self.floods(account, stage.requests());
        let unusable = floods.or_else(|| self.ends_by_itself()).or_else(|| self.hangs(&stage, now));
        let unusable = unusable?;
        if let Err(broken) = account.ended() {
            return Some(Verdict::Broken(broken));
        }
        // All is done, and only a commit is missing, which nobody has promised.
        let is_kept = account.is_complete() && matches!(unusable, Unusable::Hangs(_));
        Some(if is_kept { Verdict::Kept } else { Verdict::Unusable(unusable) })
    }

    fn ends_by_itself(&self) -> Option<Unusable> {
        let mut members = self.members.iter().enumerate();
        let (number, member) = members.find(|(_, member)| member.own_ends() > OWN_ENDS_MAX)?;
        let (ends, how) = (member.own_ends(), member.last_end());
        let reason = format!(
            "member {number} has ended {ends} times with nothing done in between, last with {how}"
        );
        Some(Unusable::Ends(reason))
    }

    fn floods(&self, account: &Account, requests: u64) -> Option<Unusable> {
        let effects_max = EFFECTS_MAX_PER_JOB * self.program.jobs.list().len() as u64;
        let bytes = |member: &Member| std::fs::metadata(member.log()).map_or(0, |file| file.len());
        let longest = self.members.iter().map(bytes).max().unwrap_or_default();
        let (found, what, most) = [
            (longest, "bytes in the log of a member", LOG_MAX_BYTES),
            (requests, "requests", REQUESTS_MAX),
            (account.effects(), "outputs, mails and requests", effects_max),
        ]
        .into_iter()
        .find(|(found, _, most)| found > most)?;
        Some(Unusable::Floods(format!("found {found} {what}, expected at most {most}")))
    }

    fn hangs(&self, stage: &Stage, now: Instant) -> Option<Unusable> {
        let peace = self.program.peace;
        let mut numbers = 0..self.members.len();
        let unbegun = numbers.find_map(|number| Some((number, stage.preparations(number)?)));
        let is_busy = now.duration_since(stage.busy()) <= peace;
        let limit = match is_busy || unbegun.is_some() || !self.members.iter().all(Member::is_up) {
            true => peace.saturating_mul(PATIENCE),
            false => peace,
        };
        let why = if now.duration_since(self.progress.1) > limit {
            format!("nothing was done for {limit:?}")
        } else if now.duration_since(stage.began()) > PLAY_MAX {
            format!("the play was not over after {PLAY_MAX:?}")
        } else {
            return None;
        };
        let (undone, last_fault) = (self.undone(stage.watch().account()), stage.last_fault());
        let unbegun = unbegun.map(|(number, requests)| {
            format!(
                "\n  member {number} has made {requests} requests to the broker of KAFKA_BROKERS, \
                 and has neither joined a group nor read nor produced"
            )
        });
        let unbegun = unbegun.unwrap_or_default();
        Some(Unusable::Hangs(format!("{why}; {undone}; {last_fault}{unbegun}")))
    }

    fn undone(&self, account: &Account) -> String {
        const SHOWN: usize = 5;
        let undone = account.undone();
        let jobs = self.program.jobs.list();
        let shown = undone.iter().take(SHOWN);
        let shown = shown.map(|job| format!("{} ({})", jobs[*job].id, account.place(*job)));
        let shown = shown.collect::<Vec<_>>().join(", ");
        let (count, all) = (undone.len(), account.jobs_produced());
        let strays = match account.strays() {
            0 => String::new(),
            strays => format!("; {strays} outputs belong to no job (--key says where the id is)"),
        };
        format!("{count} of {all} jobs are not done: {shown}{strays}")
    }
}

/// The listener of one member.
async fn listen(
    broker: &Broker,
    program: &Program,
    member: usize,
    stage: &Shared,
) -> io::Result<Listener> {
    let witness = Arc::new(Conductor { member, stage: stage.clone() });
    let listener = broker.listener().nodes(program.nodes).auto_create(1).witnessed_by(witness);
    let listener = listener.session_timeouts(SESSIONS.0, SESSIONS.1);
    let kafkas = Duration::from_secs(45);
    let listener = listener.unheard_members(program.session_timeout_max);
    listener.consumer_sessions(kafkas, HEARTBEATS_EVERY).listen("127.0.0.1:0").await
}

type Outside = (Option<SmtpServer>, Option<Receiver>, Vec<(&'static str, String)>);

/// The servers beside the broker, and the variables that name them.
async fn outside(program: &Program) -> io::Result<Outside> {
    let mut variables = Vec::new();
    let inbox = match program.inbox {
        true => Some(SmtpServer::builder().listen().await.map_err(io::Error::other)?),
        false => None,
    };
    if let Some(inbox) = &inbox {
        let address = inbox.address();
        variables.push(("SMTP_SERVER", address.to_string()));
        variables.push(("MAIL_SERVER_HOST", address.ip().to_string()));
        variables.push(("MAIL_SERVER_PORT", address.port().to_string()));
    }
    let receiver = match program.receiver {
        true => Some(Receiver::listen().await?),
        false => None,
    };
    if let Some(receiver) = &receiver {
        variables.push(("HTTP_RECEIVER", format!("http://{}", receiver.address())));
    }
    Ok((inbox, receiver, variables))
}

/// Milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "foreign programs have the machine's clock")]
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
