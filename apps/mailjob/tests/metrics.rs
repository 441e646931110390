//! Metrics, health and readiness of the mail topology on the in-memory broker, over HTTP.
#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

mod scrape;

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::poll;
use jobstream::kafka::{self, ErrorKind, Observer as _};
use jobstream::record::{ProducerRecord, TopicPartition};
use jobstream::sinks::smtp::{
    self, CircuitChange, MailConfig, MailSink, Observer as _, TcpConnect, TlsMode,
};
use jobstream::topology::Retry;
use jobstream_testkit::broker::{Broker, TopicOptions};
use jobstream_testkit::smtp::{Misfortune, Moment, SmtpServer};
use mailjob::metrics::Metrics;
use mailjob::topology::{Topics, topology};
use scrape::{Scrape, answer, probe};
use tokio::net::TcpListener;
use tokio::time::{advance, pause, resume, sleep, timeout};

const GROUP: &str = "mailers";
/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(60);
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(20);
const GREYLISTED: &str = "greylisted@example.com";

fn job(id: u32, status: u8, to: &str) -> String {
    format!(
        r#"{{"Id":"{id:024x}","ScheduleTime":"2024-01-01T00:00:00Z","Status":{status},"JobData":{{
            "SourceAddress":"a@example.com","DestinationAddress":"{to}","Subject":"s","Message":"m"}}}}"#
    )
}

/// Completes when a probe's check says this.
async fn says(address: SocketAddr, path: &str, check: &str, reason: &str) {
    while !probe(address, path).await.1[check].contains(reason) {
        sleep(LOOK_AGAIN_AFTER).await;
    }
}

async fn smtp_server() -> SmtpServer {
    let greylists = Misfortune::at(Moment::Rcpt).to(GREYLISTED).times(1);
    let builder = SmtpServer::builder().misfortune(greylists.reply(451, "4.7.1 try again"));
    builder.listen().await.unwrap()
}

fn mail_sink(server: &SmtpServer, metrics: &Metrics) -> MailSink {
    let (host, port) = (server.address().ip().to_string(), server.address().port());
    let config = MailConfig::new(&host, "m@example.com").port(port).tls(TlsMode::None);
    MailSink::with(&config, Arc::new(TcpConnect::new(host, port)), metrics.mail.relay("mail:25"))
        .unwrap()
}

/// What is scraped once the partitions are reported to stand at their ends.
async fn scrape_at_the_end(address: SocketAddr, records: usize) -> Scrape {
    loop {
        let scrape = Scrape::of(address).await;
        if scrape.sum("jobstream_frontier_offset", &[]) == Some(records as f64) {
            return scrape;
        }
        sleep(LOOK_AGAIN_AFTER).await;
    }
}

/// Runs the topology over these jobs, and completes with what is scraped before it stops.
async fn scrape_a_run(jobs: &[String]) -> Scrape {
    let (metrics, monitor) = Metrics::new(GROUP, Some("staging"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (broker, topics) = (Broker::new(), Topics::default());
    for topic in [&topics.jobs, &topics.results, &topics.dead_letters] {
        broker.create_topic(&**topic, TopicOptions::partitions(2));
    }
    for job in jobs {
        broker.produce(ProducerRecord::to(topics.jobs.clone()).value(job.clone())).unwrap();
    }
    let server = smtp_server().await;
    let retry = Retry::new().attempts(Some(8)).first_delay(Duration::from_millis(1));
    let topology = topology(&topics, Arc::new(mail_sink(&server, &metrics)), retry)
        .with_observer(metrics.run.clone());
    let source = broker.consumer(GROUP, [topics.jobs.clone()]).build();
    let (mut scraped, sink) = (None, broker.producer());
    let shutdown = async {
        broker.caught_up(GROUP, &topics.jobs).await;
        says(address, "/healthz", "run", "the loop turned 0.").await;
        assert!(probe(address, "/readyz").await.0, "{:?}", probe(address, "/readyz").await);
        scraped = Some(scrape_at_the_end(address, jobs.len()).await);
    };
    let run = async {
        tokio::select! {
            biased;
            ended = topology.run(&source, &sink, shutdown) => ended.unwrap(),
            ended = monitor.serve(listener) => panic!("{ended:?}"),
        }
    };
    timeout(LIMIT, run).await.expect("an end of the run");
    scraped.unwrap()
}

#[tokio::test]
async fn a_run_is_counted_and_measured() {
    let scrape = scrape_a_run(&[
        job(1, 2, "b@example.com"),
        job(2, 2, GREYLISTED),
        job(3, 2, "no address"),
        job(4, 4, "b@example.com"),
        "no job".to_owned(),
    ])
    .await;
    let jobs = ("messaging_destination_name", "topic-job-run");
    for (name, labels, expected) in [
        (
            "messaging_client_consumed_messages_total",
            &[jobs, ("messaging_consumer_group_name", GROUP)] as &[_],
            5.0,
        ),
        (
            "messaging_client_sent_messages_total",
            &[("messaging_destination_name", "topic-job-run-result")],
            3.0,
        ),
        (
            "messaging_client_sent_messages_total",
            &[("messaging_destination_name", "topic-job-run-dead-letter")],
            1.0,
        ),
        ("messaging_process_duration_seconds_count", &[jobs], 4.0),
        (
            "messaging_process_duration_seconds_count",
            &[jobs, ("error_type", "transient"), ("messaging_operation_name", "process")],
            1.0,
        ),
        ("jobstream_records_total", &[("environment", "staging")], 5.0),
        ("jobstream_records_total", &[("fate", "succeeded")], 2.0),
        ("jobstream_records_total", &[("fate", "failed"), ("reason", "permanent")], 1.0),
        ("jobstream_records_total", &[("fate", "skipped"), ("reason", "status")], 1.0),
        ("jobstream_records_total", &[("fate", "dead-letter")], 1.0),
        ("jobstream_retries_total", &[("cause", "transient")], 1.0),
        ("jobstream_rebalanced_partitions_total", &[("change", "assigned")], 2.0),
        ("jobstream_partition_in_flight_records", &[("topic", "topic-job-run")], 0.0),
        ("jobstream_frontier_offset", &[("topic", "topic-job-run")], 5.0),
        ("jobstream_frontier_age_seconds", &[("partition", "1")], 0.0),
        ("jobstream_ambiguous_attempts_total", &[], 0.0),
        ("target_info", &[("service_name", "mailjob")], 1.0),
        ("mailjob_smtp_circuit_open", &[], 0.0),
        ("mailjob_smtp_waiting_mails", &[], 0.0),
        ("mailjob_smtp_connections_left_out", &[], 0.0),
        (
            "mailjob_smtp_phase_duration_seconds_count",
            &[("phase", "final reply"), ("outcome", "succeeded")],
            2.0,
        ),
    ] {
        assert_eq!(scrape.sum(name, labels), Some(expected), "{name} {labels:?}");
    }
    let commits = scrape.sum("jobstream_commit_duration_seconds_count", &[]);
    assert!(commits >= Some(1.0), "{commits:?}");
    let content =
        scrape.names().find(|name| name.contains("example.com") || name.contains("00000"));
    assert_eq!(content, None, "what is in a job is in a label");
}

#[tokio::test]
async fn before_the_run_the_process_is_well_and_not_ready_until_it_is_a_spare_member_at_least() {
    let (metrics, monitor) = Metrics::new(GROUP, None);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let probed = async {
        let (ok, reasons) = probe(address, "/healthz").await;
        assert!(ok && reasons["run"] == "no run is under way", "{reasons:?}");
        let (ok, reasons) = probe(address, "/readyz").await;
        assert!(!ok, "{reasons:?}");
        assert_eq!(reasons["partitions"], "no partition is assigned");
        assert_eq!(reasons["broker"], "never a broker answered");
        assert_eq!(reasons["mail_server"], "not asked yet");

        let reason = "RCPT: 421 busy <a@b.example>".to_owned();
        let relay = metrics.mail.relay("mail:25");
        relay.on(&smtp::Event::CircuitChanged(&CircuitChange::Opened { reason }));
        // A connection is up, and nobody has answered on it.
        metrics.kafka.on(&kafka::Event::Brokers { up: 1, answered: None });
        let (_, reasons) = probe(address, "/readyz").await;
        assert_eq!(reasons["broker"], "never a broker answered");
        assert_eq!(reasons["mail_server"], "RCPT: 421 busy [address]");
        assert_eq!(Scrape::of(address).await.sum("mailjob_smtp_circuit_open", &[]), Some(1.0));

        let answered = Duration::from_secs(2);
        metrics.kafka.on(&kafka::Event::Brokers { up: 1, answered: Some(answered) });
        relay.on(&smtp::Event::CircuitChanged(&CircuitChange::Closed));
        let (ok, reasons) = probe(address, "/readyz").await;
        assert!(!ok, "{reasons:?}");
        assert!(reasons["broker"].starts_with("a broker answered "), "{reasons:?}");
        assert_eq!(reasons["mail_server"], "it could be used when it was last asked");

        metrics.kafka.on(&kafka::Event::Member { partitions: 0, answered });
        let (ok, reasons) = probe(address, "/readyz").await;
        assert!(ok && reasons["partitions"].starts_with("spare: "), "{reasons:?}");
    };
    tokio::select! {
        biased;
        () = probed => {}
        ended = monitor.serve(listener) => panic!("{ended:?}"),
    }
}

/// What a probe of readiness is answered after these events, and where it is not ready, why.
async fn readiness(events: &[kafka::Event<'_>]) -> Vec<String> {
    let (metrics, monitor) = Metrics::new(GROUP, None);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let relay = metrics.mail.relay("mail:25");
    relay.on(&smtp::Event::CircuitChanged(&CircuitChange::Closed));
    events.iter().for_each(|event| metrics.kafka.on(event));
    tokio::select! {
        biased;
        (ok, reasons) = probe(address, "/readyz") => {
            let bad = ["no partition", "expected at most 30 s", "never"];
            let is_bad = |reason: &String| bad.iter().any(|bad| reason.contains(bad));
            let reasons: Vec<_> = reasons.into_values().filter(is_bad).collect();
            assert_eq!(ok, reasons.is_empty(), "{reasons:?}");
            reasons
        }
        ended = monitor.serve(listener) => panic!("{ended:?}"),
    }
}

#[tokio::test]
async fn who_is_answered_no_more_is_not_ready_although_its_connections_are_up() {
    let answered = |seconds| Some(Duration::from_secs(seconds));
    let spare = kafka::Event::Member { partitions: 0, answered: Duration::ZERO };
    let up = |answered| kafka::Event::Brokers { up: 3, answered };
    assert_eq!(readiness(&[spare, up(answered(29))]).await, [""; 0]);
    // Another client has been answered.
    assert_eq!(readiness(&[spare, up(answered(2)), up(answered(90))]).await, [""; 0]);
    for silent in [answered(31), None] {
        let found = readiness(&[spare, up(silent)]).await;
        assert!(matches!(&*found, [reason] if reason.contains("broker answered")), "{found:?}");
    }
}

#[tokio::test]
async fn who_is_no_member_any_more_is_no_spare() {
    let up = kafka::Event::Brokers { up: 1, answered: Some(Duration::ZERO) };
    let member = |partitions, seconds| {
        let answered = Duration::from_secs(seconds);
        kafka::Event::Member { partitions, answered }
    };
    assert_eq!(readiness(&[up, member(0, 1)]).await, [""; 0]);
    for events in [
        &[up, member(0, 1), kafka::Event::NoMember][..],
        // Its coordinator is silent; another broker answers.
        &[up, member(0, 31)],
        // It has been a spare, then an owner, and now it is neither.
        &[up, member(0, 1), member(2, 1)],
    ] {
        let found = readiness(events).await;
        assert_eq!(found, ["no partition is assigned"], "{events:?}");
    }
}

#[tokio::test]
async fn a_scrape_is_answered_in_the_form_that_it_accepts() {
    let (_metrics, monitor) = Metrics::new(GROUP, None);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let scraped = async {
        for (accept, content_type, counter) in [
            ("", "text/plain; version=0.0.4; charset=utf-8", "jobstream_records_total counter"),
            (
                "application/openmetrics-text; version=1.0.0",
                "application/openmetrics-text; version=1.0.0; charset=utf-8",
                "jobstream_records counter",
            ),
        ] {
            let headers = format!("Accept: {accept}\r\n");
            let (head, body) = answer(address, "/metrics", &headers).await;
            assert!(head.contains(&format!("content-type: {content_type}\r\n")), "{head}");
            assert!(body.contains(&format!("# TYPE {counter}\n")), "{body}");
            assert_eq!(body.ends_with("\n# EOF\n"), !accept.is_empty(), "{body}");
        }
    };
    tokio::select! {
        biased;
        () = scraped => {}
        ended = monitor.serve(listener) => panic!("{ended:?}"),
    }
}

#[tokio::test]
async fn a_loop_that_stands_hides_behind_none_that_turns() {
    let (metrics, monitor) = Metrics::new(GROUP, None);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (broker, topics) = (Broker::new(), Topics::default());
    broker.create_topic(&*topics.jobs, TopicOptions::partitions(2));
    let server = smtp_server().await;
    let sink = Arc::new(mail_sink(&server, &metrics));
    let topology = topology(&topics, sink, Retry::default()).with_observer(metrics.run.clone());
    let sources = [(); 2].map(|()| broker.consumer(GROUP, [topics.jobs.clone()]).build());
    let sinks = [(); 2].map(|()| broker.producer());
    let [mut stands, mut turns] =
        [0, 1].map(|it| Box::pin(topology.run(&sources[it], &sinks[it], pending())));
    assert!(poll!(&mut stands).is_pending() && poll!(&mut turns).is_pending());
    pause();
    advance(Duration::from_secs(31)).await;
    resume();
    assert!(poll!(&mut turns).is_pending());
    let probed = async {
        let (ok, reasons) = probe(address, "/healthz").await;
        assert!(!ok && reasons["run"].ends_with("(1 of 2 runs)"), "{reasons:?}");
        drop(stands);
        let (ok, reasons) = probe(address, "/healthz").await;
        assert!(ok && reasons["run"].starts_with("the loop turned 0."), "{reasons:?}");
    };
    tokio::select! {
        biased;
        () = probed => {}
        ended = monitor.serve(listener) => panic!("{ended:?}"),
    }
}

#[tokio::test]
async fn what_clients_of_kafka_tell_is_counted_and_a_foreign_partition_is_not_shown() {
    let (metrics, monitor) = Metrics::new(GROUP, None);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let partition = &TopicPartition::new("jobs", 0);
    metrics.kafka.on(&kafka::Event::Watermarks { partition, low: 0, high: 9 });
    let (kind, reason) = (ErrorKind::Unreachable, "away");
    metrics.kafka.on(&kafka::Event::Error { kind, reason });
    let topic = "results";
    metrics.kafka.on(&kafka::Event::PublishRetried { records: 3, topic, kind, reason });
    metrics.kafka.on(&kafka::Event::Transaction { committed: true });
    metrics.kafka.on(&kafka::Event::Transaction { committed: false });
    let scraped = async {
        let scrape = Scrape::of(address).await;
        let errors = scrape.sum("jobstream_kafka_errors_total", &[("kind", "unreachable")]);
        assert_eq!(errors, Some(1.0));
        assert_eq!(scrape.sum("jobstream_kafka_published_again_total", &[]), Some(3.0));
        for outcome in ["committed", "aborted"] {
            let ended = scrape.sum("jobstream_kafka_transactions_total", &[("outcome", outcome)]);
            assert_eq!(ended, Some(1.0), "{outcome}");
        }
        assert_eq!(scrape.sum("jobstream_partition_lag_records", &[]), None);
    };
    tokio::select! {
        biased;
        () = scraped => {}
        ended = monitor.serve(listener) => panic!("{ended:?}"),
    }
}
