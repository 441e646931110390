//! The surroundings of one test: topics of its own, a folder to run in, and an environment.

#![expect(clippy::unwrap_used, reason = "a test that waits for the service")]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jobstream::kafka::{KafkaConfig, NewTopic, Topics};
use jobstream_testkit::smtp::SmtpServer;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::broker::Broker;
use crate::service::Service;
use crate::topics::{Found, Reader};

/// How long anything may take: much, since other programs may want the machine, too.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);
/// The wait before a condition is looked at again.
pub(crate) const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(50);

const MAILJOB: &str = env!("CARGO_BIN_EXE_mailjob");

/// Both ways of delivery.
pub(crate) const DELIVERIES: [&str; 2] = ["at-least-once", "exactly-once"];

/// The partitions of the input topic, unless a test wants others.
const PARTITIONS: i32 = 6;

pub(crate) struct Stage {
    pub(crate) broker: Arc<Broker>,
    folder: tempfile::TempDir,
    environment: BTreeMap<String, String>,
    run: String,
}

impl Stage {
    /// On the broker of a test that does nothing to it.
    pub(crate) async fn new(mail_server: SocketAddr) -> Self {
        Self::with(Broker::open().await, mail_server, PARTITIONS).await
    }

    /// On a broker without any security, with so many partitions of the input topic.
    pub(crate) async fn with(broker: Arc<Broker>, mail: SocketAddr, partitions: i32) -> Self {
        let stage = Self::without_topics(broker, mail);
        stage.create("jobs", partitions, &[("max.message.bytes", "2097152")]).await;
        stage
    }

    /// Without an input topic, which needs no broker yet.
    pub(crate) fn without_topics(broker: Arc<Broker>, mail: SocketAddr) -> Self {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let mut stage = Self {
            environment: BTreeMap::new(),
            folder: tempfile::tempdir().unwrap(),
            broker,
            run: format!("service-{}", now.as_nanos()),
        };
        for (name, value) in [
            ("KAFKA_BROKERS", stage.broker.bootstrap.clone()),
            ("TOPIC_JOB_RUN", stage.topic("jobs")),
            ("TOPIC_JOB_RUN_RESULT", stage.topic("results")),
            ("TOPIC_JOB_RUN_DEAD_LETTER", stage.topic("dead-letters")),
            ("TOPIC_JOB_RUN_LEDGER", stage.topic("ledger")),
            ("TOPIC_JOB_RUN_CONSUMER_GROUP_ID", stage.topic("group")),
            ("MAIL_SERVER_HOST", mail.ip().to_string()),
            ("MAIL_SERVER_PORT", mail.port().to_string()),
            ("MAIL_FROM", "mailjob@example.com".to_owned()),
        ] {
            stage.set(name, &value);
        }
        stage
    }

    /// Creates a topic with as many replicas as there are brokers.
    pub(crate) async fn create(&self, name: &str, partitions: i32, settings: &[(&str, &str)]) {
        let topics = Topics::new(&self.config()).unwrap();
        let text = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let topic = NewTopic {
            name: self.topic(name).into(),
            partitions,
            replicas: i32::try_from(self.broker.bootstrap.split(',').count()).unwrap(),
            settings: settings.iter().map(text).collect(),
        };
        // Several brokers may need a while until they know each other.
        let made = async {
            while topics.ensure(&topic).await.is_err()
                || topics.partitions(&topic.name).await != Ok(usize::try_from(partitions).ok())
            {
                sleep(LOOK_AGAIN_AFTER).await;
            }
        };
        timeout(LIMIT, made).await.expect("a new topic");
    }

    /// Deletes a topic; completes when the brokers do not know it any more.
    pub(crate) async fn delete(&self, name: &str) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.broker.bootstrap).extend(self.properties());
        let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
        let name = self.topic(name);
        admin.delete_topics(&[&name], &AdminOptions::new()).await.unwrap();
        let topics = Topics::new(&self.config()).unwrap();
        let gone = async {
            while topics.partitions(&name).await != Ok(None) {
                sleep(LOOK_AGAIN_AFTER).await;
            }
        };
        timeout(LIMIT, gone).await.expect("an end of the topic");
    }

    /// Gives a topic partitions, so that it has this many.
    pub(crate) async fn grow(&self, name: &str, partitions: usize) {
        let topics = Topics::new(&self.config()).unwrap();
        topics.grow(&self.topic(name), partitions).await.unwrap();
    }

    /// Deletes a group without members.
    pub(crate) async fn delete_group(&self, name: &str) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.broker.bootstrap).extend(self.properties());
        let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
        let deleted = admin.delete_groups(&[name], &AdminOptions::new()).await.unwrap();
        deleted.into_iter().for_each(|group| assert!(group.is_ok(), "{group:?}"));
    }

    /// The partitions that a topic has.
    pub(crate) async fn partitions(&self, name: &str) -> Option<usize> {
        let topics = Topics::new(&self.config()).unwrap();
        topics.partitions(&self.topic(name)).await.unwrap()
    }

    /// The properties with which the service reaches Kafka.
    fn config(&self) -> KafkaConfig {
        let config = KafkaConfig::new(&self.broker.bootstrap);
        self.properties()
            .fold(config, |config, (name, value)| config.property(name, value).unwrap())
    }

    /// The properties about security that the environment sets.
    fn properties(&self) -> impl Iterator<Item = (String, String)> {
        self.environment.iter().filter_map(|(name, value)| {
            let property = name.strip_prefix("KAFKA_")?.to_lowercase().replace('_', ".");
            let is_security =
                ["sasl.", "security.", "ssl."].iter().any(|s| property.starts_with(s));
            is_security.then(|| (property, value.clone()))
        })
    }

    /// The name of this stage's topic or group.
    pub(crate) fn topic(&self, name: &str) -> String {
        format!("{}-{name}", self.run)
    }

    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    pub(crate) fn unset(&mut self, name: &str) {
        self.environment.remove(name);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn mailjob(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(MAILJOB);
        command.args(arguments);
        self.surround(&mut command);
        command
    }

    fn surround(&self, command: &mut Command) {
        command.env_clear().envs(&self.environment);
        command.current_dir(self.folder.path()).kill_on_drop(true).stdin(Stdio::null());
    }

    /// Runs a command to its end.
    pub(crate) async fn ended(&self, arguments: &[&str]) -> Output {
        timeout(LIMIT, self.mailjob(arguments).output()).await.expect("an end").unwrap()
    }

    /// Produces jobs with `mailjob submit`.
    pub(crate) async fn submit(&self, jobs: &str) {
        std::fs::write(self.path("jobs"), jobs).unwrap();
        let ended = self.ended(&["submit", "jobs"]).await;
        assert!(ended.status.success(), "{}", error_text(&ended));
    }

    /// A running service, whose log goes to a file of that name: a pipe that nobody reads would
    /// hold it up.
    pub(crate) fn start(&self, name: &str) -> Service {
        Service::spawn(self.mailjob(&["run"]), self.path(name))
    }

    /// A running service to which a file in its folder is `/etc/hosts`. Needs the right to mount, as
    /// root has it.
    pub(crate) fn start_with_hosts(&self, name: &str, hosts: &str) -> Service {
        const MOUNTED: &str = r#"mount --bind "$0" /etc/hosts && exec "$@""#;
        let mut command = Command::new("/usr/bin/unshare");
        command.args(["--mount", "/bin/sh", "-c", MOUNTED, hosts, MAILJOB, "run"]);
        self.surround(&mut command);
        Service::spawn(command, self.path(name))
    }

    /// A running service that may have so many file descriptors.
    pub(crate) fn start_with_descriptors(&self, name: &str, descriptors: usize) -> Service {
        let mut command = Command::new("/bin/sh");
        let limited = format!("ulimit -n {descriptors}; exec \"$0\" run");
        command.args(["-c", &limited, MAILJOB]);
        self.surround(&mut command);
        Service::spawn(command, self.path(name))
    }

    /// Another command that runs beside the test; what it says goes to a file of that name.
    pub(crate) fn start_command(&self, name: &str, arguments: &[&str]) -> Service {
        Service::spawn(self.mailjob(arguments), self.path(name))
    }

    /// What a `read_committed` reader finds in a topic, once there are so many records.
    pub(crate) async fn records_of(&self, topic: &str, count: usize) -> Vec<Found> {
        self.reader(topic).until(move |found| found.len() >= count).await
    }

    /// What a `read_committed` reader finds in a topic now.
    pub(crate) async fn records(&self, topic: &str) -> Vec<Found> {
        self.reader(topic).until(|_| true).await
    }

    /// The results, once there is one of each of so many jobs.
    pub(crate) async fn results_of(&self, jobs: usize) -> Vec<Found> {
        self.reader("results").of_jobs(jobs).await
    }

    fn reader(&self, topic: &str) -> Reader {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.broker.bootstrap).extend(self.properties());
        Reader { config, topic: self.topic(topic) }
    }
}

/// The fake mail server, as it is without a word.
pub(crate) async fn inbox() -> SmtpServer {
    SmtpServer::builder().listen().await.unwrap()
}

/// Completes with the number of mails when there are so many.
pub(crate) async fn mails(server: &SmtpServer, count: usize) -> usize {
    let (inbox, count) = (server.inbox(), count as u64);
    let arrived = timeout(LIMIT, inbox.wait_for(count)).await;
    assert!(arrived.is_ok(), "found {} mails of {count}", inbox.count());
    usize::try_from(inbox.count()).unwrap()
}

pub(crate) fn error_text(ended: &Output) -> String {
    String::from_utf8_lossy(&ended.stderr).into_owned()
}

pub(crate) fn output_text(ended: &Output) -> String {
    String::from_utf8_lossy(&ended.stdout).into_owned()
}

pub(crate) type LedgerSettings = [(&'static str, &'static str); 4];

/// The settings of a service with a ledger of this policy.
pub(crate) const fn with_ledger(policy: &'static str) -> LedgerSettings {
    [
        ("JOB_DELIVERY", "exactly-once"),
        ("JOB_LEDGER", "kafka"),
        ("JOB_LEDGER_IN_DOUBT", "32"),
        ("JOB_AMBIGUOUS", policy),
    ]
}
