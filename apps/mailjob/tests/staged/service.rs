//! A running service: its log, and the signals it gets.

#![expect(clippy::unwrap_used, reason = "a test that waits for the service")]

use std::collections::BTreeSet;
use std::fs::{DirEntry, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use tokio::process::Child;
use tokio::time::{sleep, timeout};

use crate::scrape::probe;
use crate::stage::{LIMIT, LOOK_AGAIN_AFTER};

/// Threads of a client live for some tenths of a second.
const THREADS_LOOK_AGAIN_AFTER: Duration = Duration::from_millis(5);

/// Of the log of a test that fails, so many lines are shown: the last ones.
const SHOWN_LINES: usize = 300;

/// Killed when it is dropped.
pub(crate) struct Service {
    child: Child,
    log: PathBuf,
}

/// How a service has ended, and all that it has said.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    /// Standard output and standard error.
    pub(crate) log: String,
}

impl Service {
    pub(crate) fn spawn(mut command: tokio::process::Command, log: PathBuf) -> Self {
        let file = File::create(&log).unwrap();
        command.stdout(file.try_clone().unwrap()).stderr(file);
        Self { child: command.spawn().unwrap(), log }
    }

    pub(crate) fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap()).into_owned()
    }

    /// How many lines hold this text.
    pub(crate) fn lines(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    /// Completes when so many lines hold this text.
    pub(crate) async fn said(&mut self, text: &str, count: usize) {
        let said = async {
            while self.lines(text) < count {
                let ended = self.child.try_wait().unwrap();
                assert!(ended.is_none(), "ended without {text:?}:\n{}", self.log());
                sleep(LOOK_AGAIN_AFTER).await;
            }
        };
        let said = timeout(LIMIT, said).await;
        assert!(said.is_ok(), "no {text:?} in\n{}", self.log());
    }

    /// Completes when it has started so many threads of this name, one after another, from now on.
    pub(crate) async fn starts_threads(&mut self, name: &str, count: usize) {
        let before = self.threads(name);
        let mut started = BTreeSet::new();
        let starts = async {
            while started.len() < count {
                let ended = self.child.try_wait().unwrap();
                assert!(ended.is_none(), "ended without threads {name:?}:\n{}", self.log());
                started.extend(self.threads(name).difference(&before).copied());
                sleep(THREADS_LOOK_AGAIN_AFTER).await;
            }
        };
        let starts = timeout(LIMIT, starts).await;
        assert!(starts.is_ok(), "found {} new threads {name:?}, expected {count}", started.len());
    }

    /// The ids of its threads of this name; the system gives none of them again soon.
    fn threads(&self, name: &str) -> BTreeSet<u32> {
        let pid = self.child.id().expect("a running service");
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        let id = |thread: std::io::Result<DirEntry>| {
            let thread = thread.ok()?;
            // A thread may end meanwhile.
            let found = std::fs::read_to_string(thread.path().join("comm")).ok()?;
            (found.trim_end() == name).then(|| thread.file_name().to_str()?.parse().ok())?
        };
        threads.filter_map(id).collect()
    }

    /// The most memory that it has had, in KiB (`VmHWM`).
    pub(crate) fn peak_kib(&self) -> usize {
        let pid = self.child.id().expect("a running service");
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        peak.trim().strip_suffix(" kB").unwrap().parse().unwrap()
    }

    /// Sends a signal such as `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().expect("a running service").to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(sent.success(), "kill -{name}");
    }

    /// SIGTERM, and what the service has left behind.
    pub(crate) async fn terminate(self) -> Ended {
        self.signal("TERM");
        self.end().await
    }

    /// Completes when it has ended by itself.
    pub(crate) async fn end(mut self) -> Ended {
        let ended = timeout(LIMIT, self.child.wait()).await;
        let log = self.log();
        let status: ExitStatus = ended.unwrap_or_else(|_| panic!("no end:\n{log}")).unwrap();
        Ended { code: status.code(), log }
    }

    /// SIGKILL; completes when it is gone.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// A test that fails shows what the service has said.
impl Drop for Service {
    #[expect(clippy::print_stderr, reason = "a test that fails prints")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            // Its folder may have gone before it.
            let log = std::fs::read(&self.log).unwrap_or_default();
            let log = String::from_utf8_lossy(&log);
            let lines: Vec<_> = log.lines().collect();
            let (before, last) = lines.split_at(lines.len().saturating_sub(SHOWN_LINES));
            eprintln!("{}, after {} lines:", self.log.display(), before.len());
            eprintln!("{}", last.join("\n"));
        }
    }
}

impl Ended {
    /// It has ended in order.
    pub(crate) fn succeeded(&self) {
        assert_eq!(self.code, Some(0), "{}", self.log);
    }

    /// It has ended with 1, and with one line on standard error that says why.
    pub(crate) fn failed_with(&self, start: &str, named: &str) {
        assert_eq!(self.code, Some(1), "{}", self.log);
        let errors: Vec<_> = self.log.lines().filter(|l| l.starts_with("mailjob: ")).collect();
        let [line] = errors[..] else { panic!("found {errors:?}, expected one line") };
        assert!(line.starts_with(start) && line.contains(named), "{line}");
        assert_eq!(self.log.lines().last(), Some(line));
        assert!(!self.log.contains("panicked"), "{}", self.log);
    }
}

/// Where the service says that it serves metrics.
pub(crate) async fn metrics_address(service: &mut Service) -> SocketAddr {
    const WORDS: &str = "Metrics and health on http://";
    service.said(WORDS, 1).await;
    let log = service.log();
    let (_, rest) = log.split_once(WORDS).unwrap();
    rest.split_whitespace().next().unwrap().parse().unwrap()
}

/// Completes when the service is ready, or is not.
pub(crate) async fn is_ready(address: SocketAddr, expected: bool) {
    let ready = async {
        while probe(address, "/readyz").await.0 != expected {
            sleep(LOOK_AGAIN_AFTER).await;
        }
    };
    let ready = timeout(LIMIT, ready).await;
    assert!(ready.is_ok(), "{:?}", probe(address, "/readyz").await);
}
