//! librdkafka on the listener while things go wrong, and with what its users log in by.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::time::Duration;

use jobstream_testkit::broker::{Broker, Isolation};
use jobstream_testkit::wire::{Listener, ListenerBuilder};
use rdkafka::ClientConfig;
use rdkafka::consumer::{Consumer as _, StreamConsumer};
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::time::timeout;

/// How long anything may take: much, since other programs may want the machine, too.
const LIMIT: Duration = Duration::from_secs(60);

async fn listen(
    broker: &Broker,
    with: impl FnOnce(ListenerBuilder) -> ListenerBuilder,
) -> Listener {
    with(broker.listener()).listen("127.0.0.1:0").await.unwrap()
}

fn config(listener: &Listener, properties: &[(&str, &str)]) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", listener.bootstrap());
    for (name, value) in properties {
        config.set(*name, *value);
    }
    config
}

async fn produce(producer: &FutureProducer, count: usize) {
    for number in 0..count {
        let value = number.to_string();
        let record = FutureRecord::<(), _>::to("jobs").payload(&value);
        producer.send(record, LIMIT).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotent_producer_writes_each_record_once_whatever_is_cut() {
    let broker = Broker::new();
    broker.create_topic("jobs", 1);
    let faults = [
        "produce every=5 apply-then-disconnect",
        "produce every=7 disconnect-within",
        "produce nth=3 disconnect-before",
        "produce nth=4 error NOT_LEADER_OR_FOLLOWER",
        "produce nth=6 apply-then-error REQUEST_TIMED_OUT",
    ];
    let listener = listen(&broker, |builder| {
        faults.iter().fold(builder, |builder, line| builder.fault(line.parse().unwrap()))
    })
    .await;
    let properties = [
        ("enable.idempotence", "true"),
        ("retry.backoff.ms", "1"),
        ("reconnect.backoff.ms", "1"),
        ("reconnect.backoff.max.ms", "10"),
    ];
    let producer = config(&listener, &properties).create().unwrap();
    timeout(LIMIT, produce(&producer, 20)).await.unwrap();
    let records = broker.records("jobs", Isolation::ReadCommitted).into_iter();
    let values: Vec<_> = records.map(|record| record.value.unwrap()).collect();
    let expected: Vec<_> = (0..20).map(|number: usize| number.to_string()).collect();
    assert_eq!(values, expected);
    assert!(listener.faults().strikes().iter().all(|(_, struck)| *struck > 0));
    assert_eq!(listener.refusals(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_goes_on_where_leaders_move_and_nodes_go_away() {
    let broker = Broker::new();
    broker.create_topic("jobs", 3);
    let listener = listen(&broker, |builder| builder.nodes(3)).await;
    for line in ["produce every=4 times=2 move-leaders", "produce nth=6 node-away 200ms"] {
        listener.faults().push(line.parse().unwrap());
    }
    let properties = [
        ("enable.idempotence", "true"),
        ("retry.backoff.ms", "10"),
        ("reconnect.backoff.max.ms", "100"),
    ];
    let producer = config(&listener, &properties).create().unwrap();
    timeout(LIMIT, produce(&producer, 20)).await.unwrap();
    assert_eq!(broker.records("jobs", Isolation::ReadCommitted).len(), 20);
    assert!(listener.faults().strikes().iter().all(|(_, struck)| *struck > 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn librdkafka_logs_in_by_every_mechanism_with_tls_and_without() {
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        for encrypted in [false, true] {
            let broker = Broker::new();
            broker.create_topic("jobs", 1);
            let listener = listen(&broker, |builder| match encrypted {
                true => builder.login("me", "secret").tls(["broker.example"]),
                false => builder.login("me", "secret"),
            })
            .await;
            let protocol = if encrypted { "SASL_SSL" } else { "SASL_PLAINTEXT" };
            let mut config = config(
                &listener,
                &[
                    ("security.protocol", protocol),
                    ("sasl.mechanism", mechanism),
                    ("sasl.username", "me"),
                    ("sasl.password", "secret"),
                ],
            );
            if let Some(pem) = listener.ca_pem() {
                config.set("ssl.ca.pem", pem);
            }
            let producer = config.create().unwrap();
            timeout(LIMIT, produce(&producer, 1)).await.unwrap();
            assert_eq!(broker.records("jobs", Isolation::ReadCommitted).len(), 1);
            assert_eq!(listener.refusals(), Vec::<String>::new());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn members_of_the_new_protocol_share_the_partitions() {
    let broker = Broker::new();
    broker.create_topic("jobs", 6);
    let heartbeats = Duration::from_millis(100);
    let listener = listen(&broker, |builder| {
        builder.nodes(3).consumer_sessions(Duration::from_secs(6), heartbeats)
    })
    .await;
    for assignor in ["uniform", "range"] {
        let config = config(
            &listener,
            &[
                ("group.id", assignor),
                ("group.protocol", "consumer"),
                ("group.remote.assignor", assignor),
            ],
        );
        let mut members: Vec<StreamConsumer> = Vec::new();
        for count in 1..=3 {
            members.push(config.create().unwrap());
            members[count - 1].subscribe(&["jobs"]).unwrap();
            let shared = async {
                loop {
                    let owned = members.iter().map(|member| member.assignment().unwrap().count());
                    if owned.collect::<Vec<_>>() == vec![6 / count; count] {
                        return;
                    }
                    for member in &members {
                        let _ = timeout(Duration::from_millis(10), member.recv()).await;
                    }
                }
            };
            timeout(LIMIT, shared).await.expect("as many partitions each");
        }
    }
    assert_eq!(listener.refusals(), Vec::<String>::new());
}
