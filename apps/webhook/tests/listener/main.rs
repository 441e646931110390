//! The binary from end to end, on the broker of the testkit and its listener for Kafka's protocol, with
//! a receiver on a socket.
#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

#[path = "../receiver/mod.rs"]
mod receiver;

use std::collections::BTreeMap;
use std::fs::File;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream_testkit::broker::{Broker, Isolation, TopicOptions};
use jobstream_testkit::wire::Listener;
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use receiver::{Act, Receiver};

const JOBS: &str = "topic-job-run";
const RESULTS: &str = "topic-job-run-result";
/// How long anything may take: much, since other programs may want the machine, too.
const LIMIT: Duration = Duration::from_secs(180);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);

/// A broker, a receiver, and a folder for the log of each service.
struct Stage {
    broker: Broker,
    listener: Listener,
    receiver: Arc<Receiver>,
    address: SocketAddr,
    folder: tempfile::TempDir,
    settings: Vec<(&'static str, String)>,
}

impl Stage {
    async fn new(receiver: Arc<Receiver>, settings: &[(&'static str, &str)]) -> Self {
        let broker = Broker::new();
        broker.create_topic(JOBS, TopicOptions::partitions(3));
        let listener = broker.listener().listen("127.0.0.1:0").await.unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let serving = receiver.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = socket.accept().await.unwrap();
                tokio::spawn(serving.clone().serve(stream));
            }
        });
        let settings = settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let folder = tempfile::tempdir().unwrap();
        Self { broker, listener, receiver, address, folder, settings }
    }

    fn submit(&self, count: usize) {
        for number in 0..count {
            let (id, address) = (format!("job-{number}"), self.address);
            let value = format!(
                r#"{{"Id":"{id}","ScheduleTime":"t","Status":3,"JobType":2,"JobData":"{{\"Url\":\"http://{address}/{id}\",\"Body\":{{}}}}"}}"#
            );
            self.broker.produce(ProducerRecord::to(JOBS).key(id).value(value)).unwrap();
        }
    }

    fn command(&self, argument: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_webhook"));
        command.arg(argument).env_clear().current_dir(self.folder.path()).kill_on_drop(true);
        command.env("KAFKA_BROKERS", self.listener.bootstrap());
        command.env("WEBHOOK_ALLOW_PRIVATE", "true");
        // A process that was killed is replaced by another one of the same name.
        command.env("INSTANCE_ID", "one");
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    fn start(&self, log: &str) -> Child {
        let log = File::create(self.folder.path().join(log)).unwrap();
        let mut command = self.command("run");
        command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
    }

    fn log(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// Completes when this holds.
    async fn until(&self, what: &str, log: &str, holds: impl Fn() -> bool + Send + Sync) {
        let held = async {
            while !holds() {
                sleep(LOOK_AGAIN_AFTER).await;
            }
        };
        let held = timeout(LIMIT, held).await;
        assert!(held.is_ok(), "no {what}; the service has said:\n{}", self.log(log));
    }

    fn results(&self) -> Vec<ConsumerRecord> {
        self.broker.records(RESULTS, Isolation::ReadCommitted)
    }

    async fn terminate(&self, mut service: Child, log: &str) {
        let pid = service.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
        let ended = timeout(LIMIT, service.wait()).await.expect("an end").unwrap();
        assert_eq!(ended.code(), Some(0), "{}", self.log(log));
    }
}

fn header(record: &ConsumerRecord, name: &str) -> String {
    let value = record.headers.get(name).map(|value| value.to_vec()).unwrap_or_default();
    String::from_utf8(value).unwrap()
}

/// How often each job was delivered, and what its results are.
fn account(stage: &Stage) -> BTreeMap<String, (u64, Vec<ConsumerRecord>)> {
    let mut account: BTreeMap<String, (u64, Vec<_>)> = BTreeMap::new();
    for result in stage.results() {
        let id = String::from_utf8(result.key.clone().unwrap().to_vec()).unwrap();
        account.entry(id).or_default().1.push(result);
    }
    for posted in stage.receiver.posted() {
        account.entry(posted.path[1..].to_owned()).or_default().0 += 1;
    }
    account
}

/// Kills a service again and again under load, each time at another point of its work.
async fn killed(policy: &str) -> Stage {
    const COUNT: usize = 400;
    let receiver = Receiver::always(Act::answer(200).after(Duration::from_millis(5)));
    let settings =
        [("JOB_DELIVERY", "exactly-once"), ("JOB_LEDGER", "kafka"), ("JOB_AMBIGUOUS", policy)];
    let stage = Stage::new(receiver, &settings).await;
    stage.submit(COUNT);
    for kill in 0..5 {
        let log = format!("log-{kill}");
        let before = stage.receiver.posted().len();
        let mut service = stage.start(&log);
        let more = 20 + 7 * kill;
        let has_more = || stage.receiver.posted().len() >= before + more;
        stage.until("request", &log, has_more).await;
        service.kill().await.unwrap();
    }
    let last = stage.start("last");
    stage.until("result of every job", "last", || stage.results().len() >= COUNT).await;
    stage.terminate(last, "last").await;
    let account = account(&stage);
    assert_eq!(account.len(), COUNT);
    for (id, (_, results)) in &account {
        assert_eq!(results.len(), 1, "{id}");
    }
    // The defaults are this service's own.
    let ledger = stage.broker.records("topic-job-run-ledger-webhook", Isolation::ReadCommitted);
    assert!(!ledger.is_empty());
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_a_job_is_delivered_once_and_once_more_for_each_resend_at_most() {
    let stage = killed("resend").await;
    for (id, (delivered, results)) in account(&stage) {
        let resends: u64 = header(&results[0], "job-resends").parse().unwrap_or(0);
        let status = header(&results[0], "job-http-status");
        assert!((1..=1 + resends).contains(&delivered), "{id}: {delivered} with {resends} resends");
        assert!(status == "200" || header(&results[0], "job-outcome") == "duplicate", "{id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_no_job_is_delivered_twice_if_it_is_parked() {
    let stage = killed("park").await;
    for (id, (delivered, results)) in account(&stage) {
        let is_parked = header(&results[0], "job-outcome") == "ambiguous";
        assert!(delivered == 1 || delivered == 0 && is_parked, "{id}: {delivered}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_service_takes_its_jobs_and_says_what_it_does() {
    let receiver = Receiver::always(Act::answer(200));
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let stage = Stage::new(receiver, &[("WEBHOOK_SECRET", secret)]).await;
    stage.submit(3);
    let service = stage.start("log");
    stage.until("result of every job", "log", || stage.results().len() == 3).await;
    stage.terminate(service, "log").await;
    for posted in stage.receiver.posted() {
        assert!(posted.headers["webhook-signature"].starts_with("v1,"));
    }
    let log = stage.log("log");
    for line in ["Starting webhook job consumers with 1 workers", "Graceful shutdown completed"] {
        assert!(log.contains(line), "no {line:?} in\n{log}");
    }
    assert!(!log.contains(secret) && !log.contains("http://127"), "{log}");
    let check = timeout(LIMIT, stage.command("check").output()).await.unwrap().unwrap();
    let said = String::from_utf8(check.stdout).unwrap();
    assert!(said.contains("webhooks: signed with 1 secret, TLS with "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_written_ends_a_command_with_1() {
    let stage = Stage::new(Receiver::always(Act::answer(200)), &[]).await;
    for argument in ["--version", "--help", "check"] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = stage.command(argument);
        let child = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let ended = timeout(LIMIT, child.wait_with_output()).await.unwrap().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{argument}: {said}");
        assert!(said.contains("standard output can't be written"), "{argument}: {said}");
    }
}
