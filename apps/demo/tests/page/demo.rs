//! A demo with a page: a process, and what its page says.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use crate::client::{self, Answer};
use crate::job::job;

/// Far longer than anything takes.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(200);

const DEMO: &[&str] = &["--page", "127.0.0.1:0"];

/// A demo with a page; it is killed with this.
pub(crate) struct Demo {
    pub(crate) address: SocketAddr,
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Demo {
    /// One that begins with no job.
    pub(crate) async fn empty() -> Self {
        Self::start(&["--jobs", "/dev/null"]).await
    }

    pub(crate) async fn start(arguments: &[&str]) -> Self {
        Self::of(command(DEMO), arguments).await
    }

    /// One that may have so many file descriptors.
    pub(crate) async fn with_descriptors(descriptors: &str, arguments: &[&str]) -> Self {
        let mut shell = Command::new("sh");
        let limited = format!("ulimit -n {descriptors}; exec \"$0\" \"$@\"");
        shell.args(["-c", &limited, env!("CARGO_BIN_EXE_mailjob-demo")]).args(DEMO);
        shell.env_clear().stdin(Stdio::null());
        Self::of(shell, arguments).await
    }

    async fn of(mut demo: Command, arguments: &[&str]) -> Self {
        let mut process =
            demo.args(arguments).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        timeout(LIMIT, output.read_line(&mut line)).await.expect("a line in time").unwrap();
        let address = line.strip_prefix("The page is on http://").and_then(|it| it.split_once('/'));
        let address = address.unwrap_or_else(|| panic!("{line}")).0.parse().unwrap();
        Self { address, process, output }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        client::get(self.address, path).await
    }

    pub(crate) async fn snapshot(&self) -> Value {
        self.get("/snapshot").await.json()
    }

    /// Waits until the page shows what is wanted.
    pub(crate) async fn until(
        &self,
        what: &str,
        is_so: impl Fn(&Value) -> bool + Send + Sync,
    ) -> Value {
        let mut snapshot = Value::Null;
        let shown = timeout(LIMIT, async {
            loop {
                snapshot = self.snapshot().await;
                if is_so(&snapshot) {
                    return;
                }
                sleep(ASK_AGAIN_AFTER).await;
            }
        });
        if shown.await.is_err() {
            panic!("{what}: {:#}", snapshot["play"]);
        }
        snapshot
    }

    /// Waits until so many records have met their fate and it adds up, and gives the account.
    pub(crate) async fn balanced(&self, records: u64) -> Value {
        let is_so = |shown: &Value| {
            let account = &shown["play"]["account"];
            account["verdict"] == "balanced" && account["records"] == records
        };
        let shown = self.until("everything adds up", is_so).await;
        shown["play"]["account"].clone()
    }

    /// Submits so many jobs, to addresses of their own.
    pub(crate) async fn submit(&self, name: &str, jobs: u64) {
        let values: Vec<_> = (0..jobs).map(|number| job(name, number)).collect();
        let answer = client::post(self.address, "/jobs", &json!({ "values": values })).await;
        assert_eq!(answer.status, 202, "{answer:?}");
    }

    pub(crate) async fn switch(&self, name: &str, on: bool) {
        let path = format!("/misfortunes/{name}");
        let answer = client::post(self.address, &path, &json!({ "on": on })).await;
        assert_eq!(answer.status, 204, "{answer:?}");
    }

    /// Interrupts it, as Ctrl-C does, and gives its exit code and its last words.
    pub(crate) async fn interrupt(mut self) -> (Option<i32>, String) {
        let id = self.process.id().unwrap().to_string();
        let kill = Command::new("kill").args(["-INT", &id]).status().await.unwrap();
        assert!(kill.success());
        let mut words = String::new();
        let ended = async {
            self.output.read_to_string(&mut words).await.unwrap();
            self.process.wait().await.unwrap().code()
        };
        let code = timeout(LIMIT, ended).await.expect("an end in time");
        (code, words)
    }
}

/// The program, without a setting of this process.
pub(crate) fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailjob-demo"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

/// The member of that number.
pub(crate) fn member(shown: &Value, number: usize) -> &Value {
    &shown["play"]["members"][number - 1]
}
