//! The binary on Apache Kafka, started by `scripts/kafka`, and the fake SMTP server;
//! `KAFKA_BOOTSTRAP` names a Kafka that runs already, without any security.

#![expect(clippy::unwrap_used, reason = "a test that waits for Kafka")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use jobstream::job::{Job, JobCodec, JobStatus};
use jobstream::kafka::{KafkaConfig, NewTopic, Topics};
use jobstream::record::ConsumerRecord;
use jobstream::sources::kafka::KafkaSource;
use jobstream::sources::{Source as _, SourceEvent};
use jobstream_testkit::smtp::{SmtpServer, Tls};
use tokio::time::{sleep, timeout};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);
/// A topic in which nothing has come for so long is at its end.
const QUIET: Duration = Duration::from_secs(2);

/// A broker that the tests share; the last one stops it.
struct Broker {
    bootstrap: String,
    folder: Option<PathBuf>,
}

static RUNNING: Mutex<Weak<Broker>> = Mutex::new(Weak::new());

fn script() -> Command {
    Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/kafka"))
}

impl Broker {
    fn shared() -> Arc<Self> {
        let mut running = RUNNING.lock().unwrap();
        if let Some(broker) = running.upgrade() {
            return broker;
        }
        let broker = Arc::new(Self::start());
        *running = Arc::downgrade(&broker);
        broker
    }

    fn start() -> Self {
        match std::env::var("KAFKA_BOOTSTRAP") {
            Ok(bootstrap) => Self { bootstrap, folder: None },
            Err(_) => Self::start_with(&[]),
        }
    }

    /// A broker of its own, with further arguments of `scripts/kafka start`.
    fn start_with(arguments: &[&str]) -> Self {
        let name = format!("mailjob-kafka-{}{}", std::process::id(), arguments.concat());
        let folder = std::env::temp_dir().join(name);
        let started = script().arg("start").arg(&folder).args(arguments).output().unwrap();
        let errors = String::from_utf8_lossy(&started.stderr);
        assert!(started.status.success(), "scripts/kafka start: {errors}");
        let bootstrap = String::from_utf8(started.stdout).unwrap().trim().to_owned();
        Self { bootstrap, folder: Some(folder) }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(folder) = &self.folder {
            let stopped = script().arg("stop").arg(folder).status().unwrap();
            assert!(stopped.success(), "scripts/kafka stop: {stopped}");
            std::fs::remove_dir_all(folder).unwrap();
        }
    }
}

/// The surroundings of one test: topics of its own, an inbox, and a folder to run in.
struct Stage {
    broker: Arc<Broker>,
    inbox: SmtpServer,
    folder: tempfile::TempDir,
    environment: BTreeMap<String, String>,
    run: String,
}

impl Stage {
    async fn new(inbox: SmtpServer) -> Self {
        let broker = Broker::shared();
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let run = format!("service-{}", now.as_nanos());
        let mut stage = Self {
            environment: BTreeMap::new(),
            folder: tempfile::tempdir().unwrap(),
            broker,
            inbox,
            run,
        };
        let address = stage.inbox.address();
        for (name, value) in [
            ("KAFKA_BROKERS", stage.broker.bootstrap.clone()),
            ("TOPIC_JOB_RUN", stage.topic("jobs")),
            ("TOPIC_JOB_RUN_RESULT", stage.topic("results")),
            ("TOPIC_JOB_RUN_DEAD_LETTER", stage.topic("dead-letters")),
            ("TOPIC_JOB_RUN_CONSUMER_GROUP_ID", stage.topic("group")),
            ("MAIL_SERVER_HOST", address.ip().to_string()),
            ("MAIL_SERVER_PORT", address.port().to_string()),
            ("MAIL_FROM", "mailjob@example.com".to_owned()),
        ] {
            stage.set(name, &value);
        }
        let config = KafkaConfig::new(&stage.broker.bootstrap);
        let name = stage.topic("jobs").into();
        let jobs = NewTopic { name, partitions: 3, replicas: 1, settings: Vec::new() };
        let topics = Topics::new(&config).unwrap();
        topics.ensure(&jobs).await.unwrap();
        // The answer may come before the broker tells of the topic.
        while topics.partitions(&jobs.name).await.unwrap() != Some(3) {
            sleep(Duration::from_millis(20)).await;
        }
        stage
    }

    fn topic(&self, name: &str) -> String {
        format!("{}-{name}", self.run)
    }

    fn set(&mut self, name: &str, value: &str) {
        self.environment.insert(name.to_owned(), value.to_owned());
    }

    fn mailjob(&self, arguments: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_mailjob"));
        command.args(arguments).env_clear().envs(&self.environment);
        command.current_dir(self.folder.path()).kill_on_drop(true);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    async fn ended(&self, arguments: &[&str]) -> Output {
        timeout(LIMIT, self.mailjob(arguments).output()).await.expect("an end").unwrap()
    }

    async fn submit(&self, jobs: &str) {
        std::fs::write(self.folder.path().join("jobs"), jobs).unwrap();
        let ended = self.ended(&["submit", "jobs"]).await;
        assert!(ended.status.success(), "{}", error_text(&ended));
    }

    /// A running service, whose log goes to a file: a pipe that nobody reads would hold it up.
    fn start(&self) -> tokio::process::Child {
        let log = std::fs::File::create(self.folder.path().join("log")).unwrap();
        self.mailjob(&["run"]).stdout(log).spawn().unwrap()
    }

    /// SIGTERM, and what the service has left behind.
    async fn terminate(&self, child: tokio::process::Child) -> Output {
        let pid = child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let mut ended = timeout(LIMIT, child.wait_with_output()).await.expect("an end").unwrap();
        ended.stdout = std::fs::read(self.folder.path().join("log")).unwrap();
        ended
    }

    /// What is in a topic, as a `read_committed` reader sees it: at least `count` records.
    async fn records(&self, topic: &str, count: usize) -> Vec<ConsumerRecord> {
        let config = KafkaConfig::new(&self.broker.bootstrap);
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let group = format!("reader-{now}");
        let source = KafkaSource::new(&config, &group, [self.topic(topic)]).unwrap();
        let mut found = Vec::new();
        let mut events = source.events();
        loop {
            let patience = if found.len() < count { LIMIT } else { QUIET };
            match timeout(patience, events.next()).await {
                Ok(Some(Ok(SourceEvent::Record(record)))) => found.push(record),
                Ok(Some(Ok(_))) => {}
                Ok(other) => panic!("{other:?}"),
                Err(_) if found.len() < count => panic!("found {} of {count}", found.len()),
                Err(_) => break,
            }
        }
        drop(events);
        source.close().await.unwrap();
        found
    }
}

fn error_text(ended: &Output) -> String {
    String::from_utf8_lossy(&ended.stderr).into_owned()
}

fn log(ended: &Output) -> String {
    String::from_utf8_lossy(&ended.stdout).into_owned()
}

fn job(record: &ConsumerRecord) -> Job {
    use jobstream::codec::Codec as _;
    JobCodec.decode(record.value.as_ref()).unwrap()
}

const SAMPLE: &str = r#"{"Id":"649f07e619fca8aa63d842f6","Name":"job1","ScheduleTime":"2024-01-01T00:00:00Z",
 "CreatedAt":"2023-06-30T16:50:46.3042083Z","UpdatedAt":"2023-06-30T16:50:46.3042086Z","Status":2,
 "JobData":{"SourceAddress":"example@example.com","DestinationAddress":"example@example.com",
            "Subject":"subject ","Message":"message"}}"#;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn the_documented_sample_becomes_a_mail_and_a_result() {
    for delivery in ["at-least-once", "exactly-once"] {
        let mut stage = Stage::new(SmtpServer::builder().listen().await.unwrap()).await;
        stage.set("JOB_DELIVERY", delivery);
        stage.set("KAFKA_PORT", "tcp://10.0.0.1:9092");
        let service = stage.start();
        stage.submit(SAMPLE).await;
        let mails = timeout(LIMIT, stage.inbox.inbox().wait_for(1)).await.expect("a mail");
        assert_eq!(mails[0].recipients, ["example@example.com"]);
        let results = stage.records("results", 1).await;
        assert_eq!(results.len(), 1, "{delivery}");
        assert_eq!(job(&results[0]).status(), JobStatus::Succeeded);
        let expected = SAMPLE.replace(r#""Status":2"#, r#""Status":4"#);
        assert_eq!(results[0].value.as_deref(), Some(expected.as_bytes()));
        assert_eq!(results[0].key.as_deref(), Some(&b"649f07e619fca8aa63d842f6"[..]));

        let ended = stage.terminate(service).await;
        assert!(ended.status.success(), "{}", error_text(&ended));
        let (log, results, jobs) = (log(&ended), stage.topic("results"), stage.topic("jobs"));
        for line in [
            "Creating job-executor app",
            "KAFKA_PORT: unknown setting",
            &format!("Topic '{results}' created successfully."),
            "Starting email job consumers with 1 workers...",
            "Worker 1 started for consuming job events...",
            &format!("Job finished id=649f07e619fca8aa63d842f6 topic={jobs} partition="),
            "fate=succeeded",
            "Starting graceful shutdown...",
            "Closing consumer group...",
            "Consumer group successfully closed",
            "Graceful shutdown completed",
        ] {
            assert!(log.contains(line), "no line {line:?} in\n{log}");
        }
        assert!(!log.contains('@'), "an address in\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_termination_under_load_drains_and_the_next_start_goes_on_without_a_repeat() {
    const JOBS: usize = 3_000;
    let mut stage = Stage::new(SmtpServer::builder().listen().await.unwrap()).await;
    stage.set("TOPIC_JOB_RUN_CONSUMER_WORKER_COUNT", "2");
    stage.set("MAIL_RATE", "400");
    stage.set("JOB_IN_FLIGHT", "200");
    let mut jobs = String::new();
    for number in 0..JOBS {
        let job = SAMPLE.replace("649f07e619fca8aa63d842f6", &format!("{number:024x}"));
        write!(jobs, "{job}").unwrap();
    }
    stage.submit(&jobs).await;
    let first = stage.start();
    timeout(LIMIT, stage.inbox.inbox().wait_for(500)).await.expect("mails");
    let ended = stage.terminate(first).await;
    assert_eq!(ended.status.code(), Some(0), "{}", error_text(&ended));
    let mails = stage.inbox.inbox().count() as usize;
    assert!(mails < JOBS, "it was stopped under load");
    assert_eq!(stage.records("results", mails).await.len(), mails);

    let second = stage.start();
    timeout(LIMIT, stage.inbox.inbox().wait_for(JOBS as u64)).await.expect("mails");
    sleep(QUIET).await;
    assert_eq!(stage.terminate(second).await.status.code(), Some(0));
    assert_eq!(stage.inbox.inbox().count() as usize, JOBS);
    assert_eq!(stage.records("results", JOBS).await.len(), JOBS);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_second_signal_ends_at_once() {
    let mut stage = Stage::new(SmtpServer::builder().listen().await.unwrap()).await;
    stage.set("MAIL_RATE", "1");
    stage.set("SHUTDOWN_TIMEOUT", "60");
    let jobs: String =
        (0..100).map(|n| SAMPLE.replace("649f07e619fca8aa63d842f6", &n.to_string())).collect();
    stage.submit(&jobs).await;
    let service = stage.start();
    timeout(LIMIT, stage.inbox.inbox().wait_for(1)).await.expect("a mail");
    let pid = service.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    sleep(Duration::from_secs(1)).await;
    assert_eq!(stage.terminate(service).await.status.code(), Some(130));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_check_says_what_is_wrong() {
    let mut stage = Stage::new(SmtpServer::builder().listen().await.unwrap()).await;
    let ended = stage.ended(&["check"]).await;
    assert_eq!(ended.status.code(), Some(0), "{}{}", log(&ended), error_text(&ended));
    stage.set("TOPIC_CREATE", "false");
    stage.inbox.refuse_connections().await;
    let ended = stage.ended(&["check"]).await;
    assert_eq!(ended.status.code(), Some(1));
    let results = stage.topic("results");
    for line in [&*format!("failed  topic '{results}': missing"), "failed  mail server 127.0.0.1:"]
    {
        assert!(log(&ended).contains(line), "no line {line:?} in\n{}", log(&ended));
    }
    let ended = stage.ended(&["run"]).await;
    assert_eq!(ended.status.code(), Some(1));
    let expected = format!("mailjob: the topic '{results}' is missing: ");
    assert!(error_text(&ended).starts_with(&expected), "{}", error_text(&ended));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_login_needs_tls_and_where_there_is_none_the_way_out_is_named() {
    let inbox = SmtpServer::builder().login("user@example.com", "secret").require_login();
    let mut stage = Stage::new(inbox.clone().listen().await.unwrap()).await;
    for (name, value) in
        [("EMAIL_DOMAIN", "example.com"), ("SMTP_USER", "user"), ("SMTP_PASSWORD", "secret")]
    {
        stage.set(name, value);
    }
    let service = stage.start();
    stage.submit(SAMPLE).await;
    sleep(Duration::from_secs(8)).await;
    let ended = stage.terminate(service).await;
    assert!(log(&ended).contains("MAIL_ALLOW_PLAINTEXT_AUTH=true"), "{}", log(&ended));
    assert_eq!(stage.inbox.inbox().count(), 0);
    assert!(
        stage.inbox.conversation().iter().all(|line| !format!("{line:?}").contains("AUTH PLAIN"))
    );

    let encrypted = inbox.tls(Tls::StartTls).tls_names(["127.0.0.1"]).listen().await.unwrap();
    std::fs::write(stage.folder.path().join("ca.pem"), encrypted.ca_pem().unwrap()).unwrap();
    stage.set("MAIL_SERVER_PORT", &encrypted.address().port().to_string());
    let untrusted = stage.ended(&["run"]).await;
    assert_eq!(untrusted.status.code(), Some(1));
    assert!(error_text(&untrusted).contains("MAIL_TLS_CA_FILE"), "{}", error_text(&untrusted));
    stage.set("MAIL_TLS_CA_FILE", "ca.pem");
    let service = stage.start();
    timeout(LIMIT, encrypted.inbox().wait_for(1)).await.expect("a mail");
    assert_eq!(stage.terminate(service).await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn refused_credentials_and_a_wrong_authority_end_the_start_with_one_line() {
    let broker = Broker::start_with(&["--sasl-ssl"]);
    let mut stage = Stage::new(SmtpServer::builder().listen().await.unwrap()).await;
    let ca = broker.folder.as_ref().unwrap().join("ca.pem");
    for (name, value) in [
        ("KAFKA_BROKERS", &*broker.bootstrap),
        ("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"),
        ("KAFKA_SSL_CA_LOCATION", ca.to_str().unwrap()),
        ("KAFKA_SASL_MECHANISM", "SCRAM-SHA-512"),
        ("KAFKA_SASL_USERNAME", "scram"),
        ("KAFKA_SASL_PASSWORD_FILE", "password"),
    ] {
        stage.set(name, value);
    }
    let password = stage.folder.path().join("password");
    std::fs::write(&password, "password\n").unwrap();
    let ended = stage.ended(&["check"]).await;
    assert!(log(&ended).contains("ok      Kafka"), "{}", log(&ended));

    std::fs::write(&password, "wrong\n").unwrap();
    let refused = stage.ended(&["run"]).await;
    std::fs::write(&password, "password\n").unwrap();
    let other_ca = SmtpServer::builder().tls(Tls::Implicit).listen().await.unwrap();
    let other = stage.folder.path().join("other.pem");
    std::fs::write(&other, other_ca.ca_pem().unwrap()).unwrap();
    stage.set("KAFKA_SSL_CA_LOCATION", "other.pem");
    let untrusted = stage.ended(&["run"]).await;
    for (ended, named) in [(refused, "KAFKA_SASL_PASSWORD"), (untrusted, "KAFKA_SSL_CA_LOCATION")] {
        let errors = error_text(&ended);
        assert_eq!(ended.status.code(), Some(1), "{errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(errors.starts_with("mailjob: Kafka: ") && errors.contains(named), "{errors}");
    }
}
