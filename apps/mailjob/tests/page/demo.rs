//! A demo with a page: a process, and what its page says.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use crate::client::{self, Answer};

/// Far longer than anything takes.
const LIMIT: Duration = Duration::from_secs(120);
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(50);

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
        let mut process = command(&["demo", "--page", "127.0.0.1:0"])
            .args(arguments)
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
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
    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
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
    let mut command = Command::new(env!("CARGO_BIN_EXE_mailjob"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

pub(crate) fn job(name: &str, number: u64) -> String {
    let data = json!({
        "SourceAddress": "shop@example.com",
        "DestinationAddress": format!("{name}-{number}@example.org"),
        "Subject": format!("{name} {number}"),
        "Message": "a message",
    });
    json!({ "Id": format!("{name}-{number}"), "Status": 2, "JobData": data }).to_string()
}

/// The member of that number.
pub(crate) fn member(shown: &Value, number: usize) -> &Value {
    &shown["play"]["members"][number - 1]
}

#[tokio::test]
async fn the_jobs_of_a_demo_meet_every_fate_and_the_account_adds_up() {
    let demo = Demo::start(&[]).await;
    let account = demo.balanced(21).await;
    let fates = [("accepted", 8), ("rejected", 4), ("exhausted", 1), ("dead_letters", 4)];
    for (fate, count) in fates.into_iter().chain([("skipped", 4), ("duplicates", 0)]) {
        assert_eq!(account[fate], count, "{fate}: {account:#}");
    }
    let count = |name: &str| account[name].as_u64().unwrap();
    assert_eq!(count("mails"), count("accepted") + count("copies"), "{account:#}");
    assert!((1..=count("resent")).contains(&count("copies")), "{account:#}");
    let (code, words) = demo.interrupt().await;
    assert_eq!(code, Some(0));
    assert_eq!(words, "21 records have met their fate, and it adds up.\n");
}

#[tokio::test]
async fn what_is_submitted_is_found_in_its_topic_in_the_results_and_in_the_inbox() {
    let demo = Demo::empty().await;
    demo.submit("one", 1).await;
    demo.balanced(1).await;
    let mut values = Vec::new();
    for topic in ["topic-job-run", "topic-job-run-result"] {
        let mut found = Vec::new();
        for partition in 0..6 {
            let records = demo.get(&format!("/topics/{topic}/{partition}")).await.json();
            found.extend(records.as_array().unwrap().clone());
        }
        assert_eq!(found.len(), 1, "{topic}: {found:?}");
        assert_eq!(found[0]["key"], "one-0");
        values.push(found[0]["value"].as_str().unwrap().to_owned());
    }
    assert_eq!(values[0], job("one", 0));
    assert_eq!(values[1], values[0].replace("\"Status\":2", "\"Status\":4"));
    let mails = demo.get("/mails").await.json();
    assert_eq!(mails.as_array().unwrap().len(), 1);
    assert_eq!(mails[0]["recipients"], json!(["one-0@example.org"]));
    assert_eq!(mails[0]["subject"], "one 0");
    for path in ["/topics/topic-job-run/6", "/topics/none/0", "/mails/2", "/mails/2/text"] {
        assert_eq!(demo.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn the_same_job_twice_is_one_mail_and_two_results() {
    let demo = Demo::empty().await;
    demo.submit("twice", 1).await;
    demo.submit("twice", 1).await;
    let account = demo.balanced(2).await;
    assert_eq!((&account["accepted"], &account["duplicates"]), (&json!(1), &json!(1)));
    assert_eq!(account["mails"], 1);
}

#[tokio::test]
async fn what_is_no_job_is_a_dead_letter_and_what_is_no_request_is_refused() {
    let demo = Demo::empty().await;
    let answer =
        client::post(demo.address, "/jobs", &json!({ "values": ["no JSON", "{}"] })).await;
    assert_eq!(answer.status, 202);
    let account = demo.balanced(2).await;
    assert_eq!(account["dead_letters"], 2);
    for (path, body) in [
        ("/jobs", json!({})),
        ("/jobs", json!({ "values": [1] })),
        ("/misfortunes/zombie", json!({ "on": "yes" })),
    ] {
        assert_eq!(client::post(demo.address, path, &body).await.status, 400, "{path} {body}");
    }
    let none = client::post(demo.address, "/misfortunes/none", &json!({ "on": true })).await;
    assert_eq!(none.status, 404);
    // A form of another site can send text without asking; it is no JSON.
    let plain = [("content-type", "text/plain")];
    let body = json!({ "values": ["x"] }).to_string();
    let answer = client::ask(demo.address, "POST", "/jobs", &plain, &body).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(demo.snapshot().await["play"]["account"]["records"], 2);
}

#[tokio::test]
async fn a_load_is_worked_off_and_adds_up() {
    let demo = Demo::start(&["--generate", "3000"]).await;
    let account = demo.balanced(3000).await;
    assert_eq!((&account["accepted"], &account["mails"]), (&json!(3000), &json!(3000)));
    let listed = demo.get("/mails").await.json();
    assert_eq!(listed.as_array().unwrap().len(), 100, "the last ones");
    assert_eq!(listed[0]["number"], 3000);
}

#[tokio::test]
async fn a_page_that_can_t_be_shown_is_said_in_one_line() {
    let demo = Demo::empty().await;
    let taken = demo.address.to_string();
    for (arguments, code, text) in [
        (vec!["demo", "--page", &taken], 1, "mailjob: the page can't be shown on"),
        (vec!["demo", "--page", "nowhere"], 2, "error: invalid value 'nowhere'"),
        (vec!["demo", "--page", "127.0.0.1:0", "--mails", "x"], 2, "error: the argument '--page"),
    ] {
        let ended = timeout(LIMIT, command(&arguments).output()).await.unwrap().unwrap();
        assert_eq!(ended.status.code(), Some(code), "{arguments:?}");
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(said.starts_with(text), "{arguments:?}: {said}");
    }
}
