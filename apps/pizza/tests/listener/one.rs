//! One of each, in one process and in several.

use jobstream::record::ConsumerRecord;
use jobstream_testkit::broker::Broker;
use pizza::customer_id::CustomerId;
use pizza::order_id::OrderId;
use pizza::topics;
use tokio::time::timeout;

use crate::town::{LIMIT, Town, text};

const WAY: [&str; 3] = [r#"{"status":200}"#, r#"{"status":300}"#, r#"{"status":400}"#];

/// What each service says that it consumes.
const SUBSCRIPTIONS: [(&str, &str); 4] = [
    ("msvc_assemble", "pizza-ordered"),
    ("msvc_bake", "pizza-assembled"),
    ("msvc_delivery", "pizza-ordered, pizza-baked"),
    ("msvc_status", "pizza-status"),
];

/// How many records have succeeded, by the metrics.
fn succeeded(metrics: &str) -> u32 {
    let name = r#"jobstream_records_total{fate="succeeded",reason=""} "#;
    let (_, count) = metrics.split_once(name).expect("records are counted");
    count.lines().next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_process_delivers_an_order_and_logs_what_every_service_does() {
    let town = Town::new().await;
    let all = town.start("all");
    let order = OrderId::from_bits(town.run);
    all.address().await;
    town.order(&[order]).await;
    assert_eq!(town.values(topics::STATUS, order, 3).await, WAY);
    // The last line of a way: its order was delivered.
    all.logs(&format!("Order '{order}' status updated: Your pizza was delivered")).await;
    // Ordered for two services, assembled, baked, and three statuses.
    let counted = async { while succeeded(&all.metrics().await) < 7 {} };
    timeout(LIMIT, counted).await.expect("every record is counted");
    let log = all.terminate().await;
    for (service, consumed) in SUBSCRIPTIONS {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(service)).collect();
        assert!(lines[0].ends_with(&format!(" - Subscribed to topic(s): {consumed}")), "{lines:?}");
    }
    for service in ["msvc_assemble", "msvc_bake", "msvc_delivery", "msvc_status", "webapp"] {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(service)).collect();
        assert!(lines.last().unwrap().ends_with(" - Graceful shutdown completed"), "{lines:?}");
    }
    for (service, topic) in [
        ("msvc_assemble", topics::ASSEMBLED),
        ("msvc_bake", topics::BAKED),
        ("msvc_delivery", topics::STATUS),
    ] {
        let produced = log.split(&format!("({service}) INFO ")).skip(1).any(|line| {
            line.contains(" - Event successfully produced\n")
                && line.contains(&format!("\n - Topic '{topic}', Partition #"))
                && line.contains(&format!("\n - Key: {order}\n - Value: "))
        });
        assert!(produced, "{service} has not produced to {topic}:\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_deliver_has_heard_survives_its_kill() {
    let town = Town::new().await;
    let order = OrderId::from_bits(town.run);
    let (assemble, deliver) = (town.start("assemble"), town.start("deliver"));
    town.order(&[order]).await;
    let customer = CustomerId::of("Italo").to_string();
    let remembered = town.values(topics::DELIVERIES, order, 1).await;
    assert!(remembered[0].ends_with(&customer), "{remembered:?}");
    deliver.kill().await;
    let (bake, status) = (town.start("bake"), town.start("status"));
    assert_eq!(town.values(topics::STATUS, order, 2).await, WAY[..2]);

    let deliver = town.start_as("deliver", "deliver");
    assert_eq!(town.values(topics::STATUS, order, 3).await, WAY);
    assert_eq!(town.values(topics::BAKED, order, 1).await, ["null"]);
    // What it has remembered before may be compacted away.
    let is_done = |record: &ConsumerRecord| {
        record.key.as_deref() == Some(order.as_bytes()) && text(record).ends_with(" done")
    };
    town.read_until(topics::DELIVERIES, 1, is_done).await;
    assert_eq!(deliver.log().matches("Early warning").count(), 1, "{}", deliver.log());
    status.logs(&format!("Order '{order}' status updated: Your pizza was delivered")).await;
    for process in [assemble, bake, deliver, status] {
        process.terminate().await;
    }
}

/// Runs `pizza check`: its exit code, and what it prints.
async fn checked(bootstrap: &str) -> (Option<i32>, String, String) {
    let command = tokio::process::Command::new(env!("CARGO_BIN_EXE_pizza"))
        .arg("check")
        .env_clear()
        .env("KAFKA_BROKERS", bootstrap)
        .kill_on_drop(true)
        .output();
    let ended = timeout(LIMIT, command).await.expect("an end").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (ended.status.code(), text(ended.stdout), text(ended.stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_names_what_is_missing_and_what_is_wrong() {
    let broker = Broker::new();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    let (code, found, _) = checked(&listener.bootstrap()).await;
    assert_eq!(code, Some(0), "{found}");
    let missing =
        topics::ALL.map(|it| format!("ok      topic '{it}': missing, created at the start"));
    assert_eq!(
        found.lines().collect::<Vec<_>>(),
        [
            &["ok      settings", "ok      Kafka: 1 broker"],
            &*missing.iter().map(|line| &**line).collect::<Vec<_>>(),
            &["ok      transactions"],
        ]
        .concat()
    );
    for topic in topics::ALL {
        broker.create_topic(topic, if topic == topics::BAKED { 3 } else { 6 });
    }
    let (code, found, error) = checked(&listener.bootstrap()).await;
    assert_eq!((code, &*error), (Some(1), "pizza: 1 of the checks failed\n"), "{found}");
    assert!(found.contains("failed  topic 'pizza-baked': found 3 partitions, expected 6\n"));
    for group in ["pizza-assemble", "pizza-bake", "pizza-deliver", "pizza-status"] {
        assert!(found.contains(&format!("ok      group '{group}'\n")), "{found}");
    }
    drop(listener);
    let (code, found, _) = checked("127.0.0.1:1").await;
    assert_eq!(code, Some(1));
    assert!(found.contains("failed  Kafka: ") && found.contains("127.0.0.1:1"), "{found}");
}
