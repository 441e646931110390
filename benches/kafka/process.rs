//! Processes: the bench again in the role of a contender, and what `/proc` says of one.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::sleep;

use super::figure::Figure;

/// The kernel's clock ticks a second, in which `/proc` counts CPU time.
const TICKS_PER_SECOND: f64 = 100.0;

/// How often it is asked whether a process has ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

const ROLE: &str = "KAFKA_BENCH_ROLE";
const BOOTSTRAP: &str = "KAFKA_BENCH_BOOTSTRAP";
const INPUT: &str = "KAFKA_BENCH_INPUT";
const OUTPUT: &str = "KAFKA_BENCH_OUTPUT";
const RECORDS: &str = "KAFKA_BENCH_RECORDS";
const EXACTLY_ONCE: &str = "KAFKA_BENCH_EXACTLY_ONCE";
const MAIL_PORT: &str = "KAFKA_BENCH_MAIL_PORT";

/// The arguments of a process of the bench.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) bootstrap: String,
    pub(crate) input: String,
    /// The topic of the results, and the name of the group.
    pub(crate) output: String,
    pub(crate) records: usize,
    pub(crate) is_exactly_once: bool,
    pub(crate) mail_port: u16,
}

impl Role {
    pub(crate) fn of_this_process() -> Option<Self> {
        let name = env::var(ROLE).ok()?;
        let text = |name: &str| env::var(name).unwrap_or_else(|_| panic!("{name} is missing"));
        let number = |name: &str| text(name).parse().expect("a number");
        Some(Self {
            name,
            bootstrap: text(BOOTSTRAP),
            input: text(INPUT),
            output: text(OUTPUT),
            records: number(RECORDS),
            is_exactly_once: text(EXACTLY_ONCE) == "true",
            mail_port: text(MAIL_PORT).parse().expect("a port"),
        })
    }

    /// This program again, in this role.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env::current_exe().expect("this program"));
        command
            .env(ROLE, &self.name)
            .env(BOOTSTRAP, &self.bootstrap)
            .env(INPUT, &self.input)
            .env(OUTPUT, &self.output)
            .env(RECORDS, self.records.to_string())
            .env(EXACTLY_ONCE, self.is_exactly_once.to_string())
            .env(MAIL_PORT, self.mail_port.to_string());
        command
    }

    /// Runs it to its end; it prints its figure. Cancelled, it is killed.
    pub(crate) async fn figure(&self) -> Figure {
        let mut running = Running::start(self.command().stdout(Stdio::piped()));
        let ended = loop {
            match running.0.try_wait().expect("its state can be asked") {
                Some(status) => break status,
                None => sleep(LOOK_EVERY).await,
            }
        };
        assert!(ended.success(), "{} failed: {ended}", self.name);
        let printed = running.0.stdout.take().expect("it is piped");
        serde_json::from_reader(printed).expect("a figure")
    }
}

/// A process that ends when dropped.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn start(command: &mut Command) -> Self {
        let name = command.get_program().to_owned();
        Self(command.spawn().unwrap_or_else(|error| panic!("{}: {error}", name.display())))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn assert_runs(&mut self) {
        let ended = self.0.try_wait().expect("its state can be asked");
        assert!(ended.is_none(), "it has ended: {ended:?}");
    }

    /// Asks it to end, and asserts that it does so well.
    pub(crate) fn end(mut self) {
        let pid = self.pid().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status().expect("kill is there");
        assert!(asked.success(), "kill: {asked}");
        let ended = self.0.wait().expect("it ends");
        assert!(ended.success(), "it ended with {ended}");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The id that a process has written to a file.
pub(crate) fn pid_in(file: impl AsRef<Path>) -> u32 {
    let text = fs::read_to_string(file).expect("a process id");
    text.trim().parse().expect("a process id")
}

/// CPU time of a process, user and system.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
    let fields = stat.rsplit(')').next().expect("the name ends").split_whitespace();
    // utime and stime, the fields 14 and 15.
    let ticks = fields.skip(11).take(2).map(|ticks| ticks.parse::<f64>().expect("a number"));
    ticks.sum::<f64>() / TICKS_PER_SECOND
}

/// The peak of a process's memory.
pub(crate) fn peak_kib(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
}

/// The machine's load, beside which the figures are to be read.
pub(crate) fn load() -> String {
    let load = fs::read_to_string("/proc/loadavg").expect("a Linux");
    load.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}
