//! A member of a play: a process of the program, with a broker address of its own.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::process::Process;
use super::stage::Shared;
use crate::wire::Listener;
use crate::wire::departed::Departed;

/// How long a program may take to stop after SIGTERM, before it is killed.
pub const STOPPING_LIMIT: Duration = Duration::from_secs(5);
/// When a program that has ended by itself is started again.
const RESTART_AFTER: Duration = Duration::from_millis(100);
/// How long a member that goes on after a pause is waited for: it ends what it had begun.
const AWAKENING: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Paused { until: Instant, leaves: Option<Instant> },
    Stopping { kill_at: Instant, restart_after: Duration },
    Down { restart_at: Instant },
}

#[derive(Debug)]
pub(super) struct Member {
    number: usize,
    listener: Listener,
    stage: Shared,
    process: Option<Process>,
    phase: Phase,
    /// When it has gone on after a pause.
    awoke: Option<Instant>,
    /// How often it has ended by itself, without any progress in between.
    own_ends: u32,
    /// How it has ended last by itself.
    last_end: String,
    folder: PathBuf,
    log: String,
    /// What its former lives have left, and when that ends.
    left: Vec<(Instant, Departed)>,
    sessions: Sessions,
}

/// When members that are gone are out of their group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sessions {
    pub(super) timeout_max: Duration,
    pub(super) leaves_at_once: bool,
}

impl Member {
    pub(super) fn new(
        number: usize,
        listener: Listener,
        stage: Shared,
        folder: PathBuf,
        sessions: Sessions,
    ) -> Self {
        Self {
            number,
            listener,
            stage,
            process: None,
            phase: Phase::Running,
            awoke: None,
            own_ends: 0,
            last_end: String::new(),
            folder,
            log: format!("member-{number}.log"),
            left: Vec::new(),
            sessions,
        }
    }

    pub(super) const fn listener(&self) -> &Listener {
        &self.listener
    }

    /// What it has printed.
    pub(super) fn log(&self) -> PathBuf {
        self.folder.join(&self.log)
    }

    /// Whether its process runs, and nothing is about to change that.
    pub(super) fn is_up(&self) -> bool {
        self.phase == Phase::Running && self.process.is_some()
    }

    /// Whether it is stopped by SIGSTOP or has just gone on, or is about to end.
    pub(super) fn is_between(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Paused { .. } | Phase::Stopping { .. })
            || self.awoke.is_some_and(|at| now.duration_since(at) < AWAKENING)
    }

    pub(super) const fn own_ends(&self) -> u32 {
        self.own_ends
    }

    pub(super) fn last_end(&self) -> &str {
        &self.last_end
    }

    /// Something was done since it ended by itself.
    pub(super) const fn forgive(&mut self) {
        self.own_ends = 0;
    }

    /// Starts its next life. What the former one has left is known by now.
    pub(super) fn start(
        &mut self,
        command: &[OsString],
        variables: &[(&'static str, String)],
        now: Instant,
    ) -> io::Result<()> {
        self.leave_behind(now);
        let mut variables = variables.to_vec();
        variables.push(("KAFKA_BROKERS", self.listener.bootstrap()));
        variables.push(("SEARCH_MEMBER", self.number.to_string()));
        let process = Process::start(command, &variables, (&self.folder, &self.log))?;
        self.stage.lock().starts(self.number, process.group());
        (self.process, self.phase) = (Some(process), Phase::Running);
        Ok(())
    }

    /// It was killed.
    pub(super) fn killed(&mut self, restart_after: Duration, now: Instant) {
        self.process = None;
        self.stage.lock().ends(self.number);
        self.leave_behind(now);
        self.phase = Phase::Down { restart_at: now + restart_after };
    }

    /// It was paused.
    pub(super) fn paused(&mut self, time: Duration, now: Instant) {
        if self.process.is_some() {
            let leaves = now + self.sessions.timeout_max;
            let leaves = (time > self.sessions.timeout_max).then_some(leaves);
            self.phase = Phase::Paused { until: now + time, leaves };
        }
    }

    /// It was asked to stop.
    pub(super) fn stopping(&mut self, restart_after: Duration, now: Instant) {
        if self.process.is_some() {
            self.phase = Phase::Stopping { kill_at: now + STOPPING_LIMIT, restart_after };
        }
    }

    /// Lets what is due happen: sessions end, a pause is over, a process is found to have ended.
    /// Says whether it is to be started.
    pub(super) fn advance(&mut self, now: Instant) -> bool {
        self.end_sessions(now);
        let ended = self.process.as_mut().and_then(Process::ended);
        if let Some(status) = ended {
            let how = status.to_string();
            self.stage.lock().note_of(self.number, format!("ends: {how}"));
            let restart_after = match self.phase {
                Phase::Stopping { restart_after, .. } => restart_after,
                _ => {
                    self.own_ends += 1;
                    self.last_end = how;
                    RESTART_AFTER
                }
            };
            self.killed(restart_after, now);
        }
        match self.phase {
            Phase::Down { restart_at } => restart_at <= now,
            Phase::Paused { until, .. } if until <= now => {
                (self.phase, self.awoke) = (Phase::Running, Some(now));
                self.signal("goes on", |process| process.group().go_on());
                false
            }
            Phase::Paused { until, leaves: Some(leaves) } if leaves <= now => {
                self.phase = Phase::Paused { until, leaves: None };
                let departed = self.departed();
                self.listener.expel_departed(&departed);
                self.stage
                    .lock()
                    .note_of(self.number, "is out of its group: its session has ended");
                false
            }
            Phase::Stopping { kill_at, restart_after } if kill_at <= now => {
                self.signal("does not stop: KILLED", |process| process.group().kill());
                self.killed(restart_after, now);
                false
            }
            Phase::Paused { .. } | Phase::Stopping { .. } | Phase::Running => false,
        }
    }

    fn signal(&self, what: &str, send: impl Fn(&Process)) {
        if let Some(process) = &self.process {
            send(process);
            self.stage.lock().note_of(self.number, what);
        }
    }

    fn departed(&self) -> Departed {
        let stage = self.stage.lock();
        let (members, transactions) = stage.ids(self.number);
        let (members, transactions) = (members.clone(), transactions.clone());
        drop(stage);
        self.listener.departed(&members, &transactions)
    }

    /// What its process has left at the broker stays for the time of a session, or goes at once.
    fn leave_behind(&mut self, now: Instant) {
        let departed = self.departed();
        if departed.is_empty() {
            return;
        }
        if self.sessions.leaves_at_once {
            self.listener.expel_departed(&departed);
        }
        self.left.push((now + self.sessions.timeout_max, departed));
    }

    fn end_sessions(&mut self, now: Instant) {
        let over: Vec<_> = self.left.extract_if(.., |(ends, _)| *ends <= now).collect();
        for (_, departed) in over {
            self.listener.expel_departed(&departed);
            self.listener.abort_departed(&departed);
        }
    }
}
