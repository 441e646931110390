//! The page beside a service: the shipping topology, on the in-memory broker, with a feed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jobstream::job::Job;
use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream::sinks::smtp::Accepted;
use jobstream::sinks::{JobError, JobSink};
use jobstream::topology::{Ambiguous, Retry};
use jobstream_service::page::{Access, Content, Feed, Page, Token};
use jobstream_testkit::broker::Broker;
use mailjob::page::feed;
use mailjob::topology::{Topics, topology};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::client::{Answer, ask, get, post};
use crate::job::job;

/// What the page may show of a job.
#[derive(Clone, Copy)]
pub(crate) enum Shows {
    Nothing,
    Content,
}

/// A page, and the service that it shows.
pub(crate) struct Service {
    pub(crate) address: SocketAddr,
    feed: Arc<Feed>,
    broker: Broker,
    stop: watch::Sender<bool>,
    served: JoinHandle<()>,
}

/// Knows nothing of jobs whose names say so; the others are sent.
struct Server;

#[async_trait::async_trait]
impl JobSink<Job, Accepted> for Server {
    async fn execute(&self, job: &Job, _: &ConsumerRecord) -> Result<Accepted, JobError> {
        if job.id().starts_with("doubtful") {
            return Err(JobError::ambiguous("no answer to the final dot"));
        }
        Ok(Accepted { message_id: "<1@example.com>".into(), reply: "250 ok".into(), relay: None })
    }
}

/// Opens a page; with a token it is as if other machines could reach it.
pub(crate) async fn open(token: Option<&str>, shows: Shows) -> Service {
    let content = match shows {
        Shows::Nothing => Content::Hidden,
        Shows::Content => Content::Shown,
    };
    let (broker, topics) = (Broker::new(), Topics::default());
    for topic in [&topics.jobs, &topics.results, &topics.dead_letters] {
        broker.create_topic(&**topic, 2);
    }
    let feed = Arc::new(feed(&topics, content));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let everywhere = SocketAddr::from(([0, 0, 0, 0], address.port()));
    let bound = if token.is_some() { everywhere } else { address };
    let access = Access::new(bound, token.map(|token| Token::new(token).unwrap())).unwrap();
    let (stop, mut stopped) = watch::channel(false);
    let page = Page::of_service(feed.clone(), access);
    let served = tokio::spawn(page.serve(listener, async move {
        drop(stopped.wait_for(|stopped| *stopped).await);
    }));
    Service { address, feed, broker, stop, served }
}

impl Service {
    /// Works off so many jobs of that name.
    pub(crate) async fn work(&self, name: &str, jobs: u64) {
        let values: Vec<_> = (0..jobs).map(|number| job(name, number)).collect();
        self.work_on(&values.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }

    async fn work_on(&self, values: &[&str]) {
        let topics = Topics::default();
        for value in values {
            let record = ProducerRecord::to(topics.jobs.clone()).value((*value).to_owned());
            self.broker.produce(record).unwrap();
        }
        let retry = Retry::new().ambiguous(Ambiguous::Park);
        let topology = topology(&topics, Arc::new(Server), retry).with_observer(self.feed.clone());
        self.feed.shows(&topology);
        let source = self.broker.consumer("mailers", [topics.jobs.clone()]).build();
        let worked_off = self.broker.caught_up("mailers", &topics.jobs);
        topology.run(&source, &self.broker.producer(), worked_off).await.unwrap();
    }

    pub(crate) async fn snapshot(&self) -> Value {
        get(self.address, "/snapshot").await.json()
    }

    pub(crate) async fn close(self) {
        self.stop.send_replace(true);
        self.served.await.unwrap();
    }
}

#[tokio::test]
async fn fates_dead_letters_and_ambiguous_jobs_are_shown_without_what_is_in_them() {
    let service = open(None, Shows::Nothing).await;
    service.work("plain", 2).await;
    service.work("doubtful", 1).await;
    service.work_on(&["no JSON but a secret"]).await;
    let answer = get(service.address, "/snapshot").await;
    let shown = answer.json();
    assert_eq!(shown["fates"]["count"], 4);
    assert_eq!(shown["fates"]["last"][0]["fate"], "dead-letter");
    assert_eq!(shown["fates"]["last"][0]["reason"], "undecodable");
    let mut ids: Vec<_> =
        [1, 2, 3].map(|at| shown["fates"]["last"][at]["id"].as_str().unwrap()).into();
    ids.sort_unstable();
    assert_eq!(ids, ["doubtful-0", "plain-0", "plain-1"]);
    assert_eq!(shown["dead_letters"]["count"], 1);
    assert_eq!(shown["ambiguous"]["last"][0]["id"], "doubtful-0");
    let counts = &shown["counts"];
    assert_eq!((&counts["fetched"], &counts["succeeded"]), (&json!(4), &json!(2)));
    assert_eq!((&counts["results"], &counts["dead_letters"]), (&json!(3), &json!(1)));
    assert_eq!(shown["play"], Value::Null);
    for content in ["example.org", "a message", "shop@", "secret"] {
        assert!(!answer.body.contains(content), "{content}: {}", answer.body);
    }
    assert_eq!(get(service.address, "/fates/1").await.status, 404);
}

#[tokio::test]
async fn the_picture_is_of_the_topologys_own_stages_and_each_counts_what_it_skips() {
    let service = open(None, Shows::Nothing).await;
    service.work("plain", 1).await;
    let skipped = [r#"{"Id":"a","Status":4}"#, r#"{"Id":"b","Status":3,"JobType":1}"#];
    service.work_on(&skipped).await;
    let shown = service.snapshot().await;
    let kinds = [
        ("decode", "decode"),
        ("status", "filter"),
        ("job-type", "filter"),
        ("execute", "execute"),
        ("encode", "encode"),
    ];
    let stages = kinds.map(|(name, kind)| json!({ "name": name, "kind": kind }));
    let expected = json!({ "service": "mailjob", "server": "mail server", "stages": stages });
    assert_eq!(shown["topology"], expected);
    assert_eq!(shown["counts"]["skipped_by"], json!({ "status": 1, "job-type": 1 }));
}

#[tokio::test]
async fn what_the_service_has_to_show_besides_is_in_a_panel_of_its_own() {
    use jobstream::sinks::smtp::{Event, Observer as _};
    use mailjob::page::MailPanel;
    let service = open(None, Shows::Nothing).await;
    assert_eq!(service.snapshot().await["panels"], json!([]));
    let panel = Arc::new(MailPanel::default());
    service.feed.add_panel(panel.clone());
    panel.relay().on(&Event::Connections { open: 2, waiting: 0 });
    panel.relay().on(&Event::Connections { open: 1, waiting: 17 });
    let shown = &service.snapshot().await["panels"][0];
    assert_eq!(shown["title"], "Mail server");
    assert_eq!(shown["rows"][0], json!(["Open connections", "3"]));
    assert_eq!(shown["rows"][2], json!(["Mails that wait for one", "17"]));
}

#[tokio::test]
async fn where_content_is_allowed_a_recent_record_is_shown() {
    let service = open(None, Shows::Content).await;
    service.work("plain", 1).await;
    let answer = get(service.address, "/fates/1").await;
    assert_eq!((answer.status, &*answer.body), (200, &*job("plain", 0)));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(get(service.address, "/fates/2").await.status, 404);
}

#[tokio::test]
async fn only_the_last_fates_are_kept() {
    let service = open(None, Shows::Content).await;
    service.work("many", 120).await;
    let shown = service.snapshot().await;
    assert_eq!(shown["fates"]["count"], 120);
    assert_eq!(shown["fates"]["last"].as_array().unwrap().len(), 50);
    assert_eq!(get(service.address, "/fates/70").await.status, 404);
    assert_eq!(get(service.address, "/fates/71").await.status, 200);
}

#[tokio::test]
async fn in_flight_and_lag_are_those_of_the_partitions_that_are_here() {
    use jobstream::kafka;
    use jobstream::record::TopicPartition;
    use jobstream::topology::{Event, Observer as _};
    let service = open(None, Shows::Nothing).await;
    let partition = TopicPartition::new("topic-job-run", 1);
    let assignment = assigned(&service.broker).await;
    let mut record = fetched(&service.broker).await;
    record.partition = partition.clone();
    service.feed.on(&Event::Assigned(&assignment));
    service.feed.on(&Event::Fetched(&record));
    let watermarks = kafka::Event::Watermarks { partition: &partition, low: 0, high: 10 };
    kafka::Observer::on(&*service.feed, &watermarks);
    let at = |in_flight| Event::Frontier {
        partition: &partition,
        offset: 4,
        in_flight,
        age: Duration::from_secs(7),
    };
    assert_eq!(service.snapshot().await["partitions"][0]["in_flight"], 1);
    service.feed.on(&at(3));
    let shown = service.snapshot().await["partitions"][0].clone();
    assert_eq!((&shown["in_flight"], &shown["lag"]), (&json!(3), &json!(6)));
    assert_eq!((&shown["frontier"], &shown["age_seconds"]), (&json!(4), &json!(7)));
    service.feed.on(&Event::Lost(&partition));
    assert_eq!(service.snapshot().await["partitions"], json!([]));
}

/// An assignment of partition 1.
async fn assigned(broker: &Broker) -> jobstream::sources::Assignment {
    use futures::StreamExt as _;
    use jobstream::sources::{Source as _, SourceEvent};
    let source = broker.consumer("others", ["topic-job-run"]).build();
    match source.events().next().await {
        Some(Ok(SourceEvent::Assigned(partitions))) => partitions[1].clone(),
        other => panic!("{other:?}"),
    }
}

async fn fetched(broker: &Broker) -> ConsumerRecord {
    use jobstream_testkit::broker::Isolation;
    broker.produce(ProducerRecord::to("topic-job-run").value("x")).unwrap();
    broker.records("topic-job-run", Isolation::ReadCommitted).remove(0)
}

#[tokio::test]
async fn the_page_of_a_service_is_read_only() {
    let service = open(None, Shows::Content).await;
    for (path, body) in
        [("/jobs", json!({ "values": ["x"] })), ("/misfortunes/zombie", json!({ "on": true }))]
    {
        assert_eq!(post(service.address, path, &body).await.status, 403, "{path}");
    }
    for path in
        ["/mails", "/mails/1", "/mails/1/text", "/mails/1/source", "/topics/topic-job-run/0"]
    {
        assert_eq!(get(service.address, path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_service_that_others_can_reach_does_not_start_without_a_token() {
    let settings =
        [("KAFKA_BROKERS", "127.0.0.1:1"), ("MAIL_SERVER_HOST", "m"), ("MAIL_FROM", "a@b.example")];
    let run = Command::new(env!("CARGO_BIN_EXE_mailjob"))
        .args(["run", "--page", "0.0.0.0:0"])
        .env_clear()
        .envs(settings)
        .output()
        .await
        .unwrap();
    assert_eq!(run.status.code(), Some(2));
    let said = String::from_utf8(run.stderr).unwrap();
    let expected = "mailjob: PAGE_TOKEN: found nothing, expected a secret: the page's address \
                    0.0.0.0:0 can be reached from other machines\n";
    assert_eq!(said, expected);
}

/// Asks as another machine would.
pub(crate) async fn from_afar(service: &Service, path: &str, headers: &[(&str, &str)]) -> Answer {
    let host = [("host", "mail.example:8090")];
    ask(service.address, "GET", path, &[&host, headers].concat(), "").await
}
