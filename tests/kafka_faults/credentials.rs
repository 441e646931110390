//! Credentials that are refused, at once or later.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use jobstream::kafka::{ErrorKind, Event, KafkaConfig, Observer, Topics};
use jobstream::record::ProducerRecord;
use jobstream::sinks::kafka::KafkaSink;
use jobstream::sinks::{Batch, Sink as _};
use jobstream::sources::kafka::KafkaSource;
use jobstream::sources::{Source as _, SourceEvent};
use tokio::time::timeout;

use crate::kafka_broker::Broker;
use crate::{LIMIT, assigned, create, publish};

/// Keeps the kinds of errors that were reported.
#[derive(Debug, Default)]
struct Kinds(Mutex<Vec<ErrorKind>>);

impl Observer for Kinds {
    fn on(&self, event: &Event<'_>) {
        if let Event::Error { kind, .. } = event {
            self.0.lock().unwrap().push(*kind);
        }
    }
}

fn secure(broker: &Broker, mechanism: &str, user: &str, password: &str) -> KafkaConfig {
    let properties = [
        ("security.protocol", "SASL_SSL".to_owned()),
        ("ssl.ca.location", broker.file("ca.pem")),
        ("sasl.mechanism", mechanism.to_owned()),
        ("sasl.username", user.to_owned()),
        ("sasl.password", password.to_owned()),
    ];
    let config = KafkaConfig::new(&broker.bootstrap);
    properties.into_iter().fold(config, |c, (name, value)| c.property(name, value).unwrap())
}

/// Starts the broker again, with another password of the user `user`.
fn rotate(broker: &Broker, from: &str, to: &str) {
    broker.node("kill");
    let path = broker.file("server-0.properties");
    let settings = std::fs::read_to_string(&path).unwrap();
    let (old, new) = (format!("user_user=\"{from}\""), format!("user_user=\"{to}\""));
    assert!(settings.contains(&old), "no password {from} in {path}");
    std::fs::write(&path, settings.replace(&old, &new)).unwrap();
    broker.node("resume");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn credentials_that_are_refused_later_are_reported_and_the_source_waits() {
    let broker = Broker::start_with(&["--sasl-ssl", "--nodes", "1"]);
    let kinds = Arc::new(Kinds::default());
    let config = secure(&broker, "PLAIN", "user", "password").with_observer(kinds.clone());
    create(&config, "jobs").await;
    let source = KafkaSource::new(&config, "group", ["jobs"]).unwrap();
    let sink = KafkaSink::new(&config).unwrap();
    let mut events = source.events();
    assigned(&mut events).await;
    rotate(&broker, "password", "rotated");
    let refused = async {
        while !kinds.0.lock().unwrap().contains(&ErrorKind::Authentication) {
            let event = timeout(Duration::from_millis(100), events.next()).await;
            assert!(!matches!(event, Ok(None | Some(Err(_)))), "the stream has ended: {event:?}");
        }
        Topics::new(&config).unwrap().partitions("jobs").await.unwrap_err()
    };
    let at_a_start = timeout(LIMIT, refused).await.unwrap();
    assert_eq!(at_a_start.kind, ErrorKind::Authentication, "{at_a_start}");
    rotate(&broker, "rotated", "password");
    let outputs = vec![ProducerRecord::to("jobs").value("x")];
    let batch = Batch { outputs, positions: Vec::new() };
    timeout(LIMIT, sink.publish(&batch)).await.unwrap().unwrap();
    let delivered =
        async { while !matches!(events.next().await, Some(Ok(SourceEvent::Record(_)))) {} };
    timeout(LIMIT, delivered).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn plain_and_scram_over_tls_work_and_a_wrong_password_is_reported() {
    let broker = Broker::start_with(&["--sasl-ssl"]);
    for (mechanism, user) in [("PLAIN", "user"), ("SCRAM-SHA-256", "scram")] {
        let config = secure(&broker, mechanism, user, "password");
        create(&config, mechanism).await;
        publish(&config, vec![ProducerRecord::to(mechanism).value("x")]).await;
        let source = KafkaSource::new(&config, "group", [mechanism]).unwrap();
        let mut events = source.events();
        assigned(&mut events).await;
        let record = timeout(LIMIT, events.next()).await.unwrap();
        assert!(matches!(record, Some(Ok(SourceEvent::Record(_)))), "found {record:?}");
    }
    let kinds = Arc::new(Kinds::default());
    let config = secure(&broker, "PLAIN", "user", "wrong").with_observer(kinds.clone());
    let refused = Topics::new(&config).unwrap().partitions("PLAIN").await;
    assert_eq!(refused.unwrap_err().kind, ErrorKind::Authentication);
    let kinds = kinds.0.lock().unwrap().clone();
    assert!(kinds.contains(&ErrorKind::Authentication), "found {kinds:?}");
}
