//! A program in a process group of its own, which ends with what it has started.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// Waits for the end of its input, which comes when whoever has started it is gone, and then kills a
/// process group and removes a folder.
const GUARD: &str = r#"read -r _; kill -s KILL -- "-$1"; rm -rf -- "$2""#;

/// A program that runs. When it is dropped, its process group is killed; when this very process dies
/// without having done that, a shell beside it does.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    group: Group,
    guard: Child,
}

/// A process group, by the process that leads it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group(Pid);

impl Group {
    pub(super) fn kill(self) {
        self.signal(Signal::KILL);
        // A group that is stopped dies as well, but its parts must not wait for others of it.
        self.signal(Signal::CONT);
    }

    pub(super) fn terminate(self) {
        self.signal(Signal::TERM);
    }

    pub(super) fn pause(self) {
        self.signal(Signal::STOP);
    }

    pub(super) fn go_on(self) {
        self.signal(Signal::CONT);
    }

    fn signal(self, signal: Signal) {
        // A group that has ended meanwhile is none any more.
        let _ = kill_process_group(self.0, signal);
    }

    pub(super) fn id(self) -> i32 {
        self.0.as_raw_nonzero().get()
    }

    fn guard(self, folder: &Path) -> io::Result<Child> {
        Command::new("sh")
            .args(["-c", GUARD, "guard", &self.id().to_string()])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // What a terminal sends to the others is not for it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("sh: {error}")))
    }
}

impl Process {
    /// Starts a command with these variables besides its surroundings; what it prints is appended to
    /// a file of a folder.
    pub(super) fn start(
        command: &[OsString],
        variables: &[(&'static str, String)],
        (folder, log): (&Path, &str),
    ) -> io::Result<Self> {
        let out = OpenOptions::new().create(true).append(true).open(folder.join(log))?;
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::InvalidInput)?;
        let child = Command::new(program)
            .args(arguments)
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stderr(out.try_clone()?)
            .stdout(out)
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let group = Group(id.ok_or_else(|| io::Error::other("the system gave it no process id"))?);
        match group.guard(folder) {
            Ok(guard) => Ok(Self { child, group, guard }),
            Err(error) => {
                group.kill();
                Err(error)
            }
        }
    }

    pub(super) const fn group(&self) -> Group {
        self.group
    }

    /// How it has ended, if it has.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Before its input ends. One that has ended already can't be killed.
        let _ = self.guard.start_kill();
        self.group.kill();
    }
}
