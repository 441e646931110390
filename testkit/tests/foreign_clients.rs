//! Kafka clients that are not ours, against the listener: each writes, reads, works in groups and
//! transactions, asks what an administrator asks, and checks what it sees.
//!
//! The programs stand in `clients/`; `scripts/clients ADDRESS` runs them against any broker, a real
//! one too.

#![expect(clippy::print_stdout, reason = "what each client has printed")]

use std::process::Stdio;

use jobstream_testkit::broker::Broker;
use tokio::process::Command;

/// The client of that name in `scripts/clients` passes, against so many nodes.
async fn passes(client: &str, nodes: usize) {
    let broker = Broker::new();
    let listener = broker.listener().nodes(nodes).listen("127.0.0.1:0").await.expect("a port");
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../scripts/clients");
    let ended = Command::new(script)
        .args([&listener.bootstrap(), client])
        .kill_on_drop(true)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("scripts/clients");
    let printed = String::from_utf8_lossy(&ended.stdout);
    println!("{printed}");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{client}:\n{printed}\n{said}\n{:?}", listener.refusals());
}

/// Those of `docs/broker.md`, taken from there; the one in Rust runs in `tests/kafka_wire_conformance.rs`.
#[tokio::test]
#[ignore = "needs Python, Go, Node and Java"]
async fn the_examples_of_the_documentation_run() {
    passes("documented", 1).await;
}

#[tokio::test]
#[ignore = "needs Python"]
async fn kafka_python_passes() {
    passes("kafka-python", 1).await;
}

#[tokio::test]
#[ignore = "needs Python"]
async fn confluent_kafka_passes_with_three_nodes() {
    passes("confluent-kafka", 3).await;
}

#[tokio::test]
#[ignore = "needs Go"]
async fn franz_go_passes_with_three_nodes() {
    passes("franz-go", 3).await;
}

#[tokio::test]
#[ignore = "needs Go"]
async fn the_tests_of_franz_go_pass() {
    passes("kgo-tests", 1).await;
}

#[tokio::test]
#[ignore = "needs Node"]
async fn kafkajs_passes() {
    passes("kafkajs", 1).await;
}

#[tokio::test]
#[ignore = "needs Java"]
async fn the_tools_of_kafka_pass() {
    passes("kafka-tools", 3).await;
}

#[tokio::test]
#[ignore = "needs Java"]
async fn kafka_streams_counts_words_exactly_once() {
    passes("kafka-streams", 1).await;
}
