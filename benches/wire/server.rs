//! Servers: this program again, or kfake, each in a process of its own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jobstream_testkit::broker::Broker;

use super::raw::Client;
use super::{PARTITIONS, TOPICS};

const ROLE: &str = "WIRE_BENCH_SERVER";
/// The kernel's clock ticks a second, in which `/proc` counts CPU time.
const TICKS_PER_SECOND: u32 = 100;

pub(super) fn is_asked_for() -> bool {
    std::env::var_os(ROLE).is_some()
}

/// Serves until the standard input ends; on one thread, as the program `broker` does.
#[tokio::main(flavor = "current_thread")]
#[expect(clippy::disallowed_methods, reason = "a thread waits for the input's end")]
pub(super) async fn serve() {
    let broker = Broker::new();
    for topic in TOPICS {
        broker.create_topic(topic, PARTITIONS);
    }
    let listener = broker.listen("127.0.0.1:0").await.expect("a free port");
    let mut out = std::io::stdout();
    writeln!(out, "{}", listener.bootstrap()).expect("the bench reads it");
    let end = || std::io::stdin().read_to_end(&mut Vec::new());
    tokio::task::spawn_blocking(end).await.expect("no panic").expect("the end of the input");
    let refusals = listener.refusals();
    assert!(refusals.is_empty(), "refused: {refusals:?}");
}

/// A server that ends when it is dropped.
pub(super) struct Server {
    name: &'static str,
    bootstrap: String,
    pid: u32,
    ends: Ends,
}

/// How a server is ended.
enum Ends {
    WithItsInput(Child),
    ByScript(PathBuf),
}

impl Server {
    pub(super) fn listener() -> Self {
        let program = std::env::current_exe().expect("this program");
        Self::start("listener", Command::new(program).env(ROLE, "listener"))
    }

    /// Nothing if there is no `go` to build it with.
    pub(super) fn kfake() -> Option<Self> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/wire/kfake");
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kfake");
        let mut build = Command::new("go");
        build.current_dir(folder).args(["build", "-o"]).arg(&program).arg(".");
        let built = build.status().is_ok_and(|status| status.success());
        built.then(|| Self::start("kfake", &mut Command::new(program)))
    }

    /// Apache Kafka, with both topics. Nothing if there is no `java` or `mvn`.
    pub(super) fn kafka() -> Option<Self> {
        let folder = std::env::temp_dir().join(format!("wire-bench-{}", std::process::id()));
        let started = script().arg("start").arg(&folder).output().ok()?;
        if !started.status.success() {
            return None;
        }
        let bootstrap = String::from_utf8(started.stdout).expect("an address").trim().to_owned();
        let pid = std::fs::read_to_string(folder.join("node-0.pid")).expect("its process");
        let pid = pid.trim().parse().expect("a number");
        Client::connect(&bootstrap).create_topics();
        Some(Self { name: "kafka", bootstrap, pid, ends: Ends::ByScript(folder) })
    }

    fn start(name: &'static str, command: &mut Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a program that starts");
        let mut bootstrap = String::new();
        let out = child.stdout.take().expect("it is piped");
        BufReader::new(out).read_line(&mut bootstrap).expect("its address");
        let (bootstrap, pid) = (bootstrap.trim().to_owned(), child.id());
        Self { name, bootstrap, pid, ends: Ends::WithItsInput(child) }
    }

    pub(super) const fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.pid)).expect("a Linux")
    }

    /// CPU time that it has used.
    pub(super) fn cpu(&self) -> Duration {
        let stat = self.proc("stat");
        let (_, fields) = stat.rsplit_once(") ").expect("a name in parentheses");
        let ticks = fields.split(' ').skip(11).take(2);
        let ticks: u32 = ticks.map(|ticks| ticks.parse::<u32>().expect("a number")).sum();
        Duration::from_secs(ticks.into()) / TICKS_PER_SECOND
    }

    /// The most memory that it ever had, in KiB.
    pub(super) fn peak_kib(&self) -> usize {
        let status = self.proc("status");
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a peak");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        match &mut self.ends {
            Ends::WithItsInput(child) => {
                drop(child.stdin.take());
                // It ends with its input.
                let _ = child.wait();
            }
            Ends::ByScript(folder) => {
                let stopped = script().arg("stop").arg(&*folder).status();
                assert!(stopped.is_ok_and(|status| status.success()), "scripts/kafka stop");
                let _ = std::fs::remove_dir_all(folder);
            }
        }
    }
}

fn script() -> Command {
    Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/kafka"))
}
