//! The shop on a real Kafka, in processes of its own.
#![allow(clippy::unwrap_used, reason = "a test panics where it can't go on")]

#[path = "../../../tests/kafka_broker/mod.rs"]
mod kafka_broker;

use std::fs::{self, File};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::StreamExt as _;
use jobstream::kafka::KafkaConfig;
use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream::sinks::kafka::KafkaSink;
use jobstream::sinks::{Batch, Sink as _};
use jobstream::sources::kafka::KafkaSource;
use jobstream::sources::{Source as _, SourceEvent};
use kafka_broker::Broker;
use pizza::customer_id::CustomerId;
use pizza::order::{Order, OrderEvent};
use pizza::order_id::OrderId;
use pizza::topics;
use tempfile::TempDir;
use tokio::process::Child;
use tokio::time::timeout;

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);
/// Nothing more comes after that.
const QUIET: Duration = Duration::from_secs(3);

/// A broker, and a folder with its configuration, as the original has it, and the logs.
struct Town {
    broker: Arc<Broker>,
    folder: TempDir,
    /// Different in each run: a broker may know other runs.
    run: u32,
}

impl Town {
    fn new() -> Self {
        let (broker, folder) = (Broker::shared(), tempfile::tempdir().unwrap());
        let config = format!("[kafka]\nbootstrap.servers = {}\n", broker.bootstrap);
        fs::write(folder.path().join("kafka.ini"), config).unwrap();
        let run = SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
        Self { broker, folder, run }
    }

    fn start(&self, part: &str) -> Child {
        let log = File::create(self.folder.path().join(part)).unwrap();
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_pizza"));
        command.args([part, "--config", "kafka.ini", "--speed", "10", "--listen", "127.0.0.1:0"]);
        command.env_clear().env("INSTANCE_ID", format!("{part}-{}", self.run));
        command.current_dir(self.folder.path()).kill_on_drop(true);
        command.stdout(log).stderr(Stdio::inherit()).spawn().unwrap()
    }

    fn log(&self, part: &str) -> String {
        fs::read_to_string(self.folder.path().join(part)).unwrap()
    }

    async fn terminate(&self, part: &str, mut child: Child) {
        let pid = child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let ended = timeout(LIMIT, child.wait()).await.expect("an end").unwrap();
        assert!(ended.success(), "{part}: {ended}\n{}", self.log(part));
    }

    fn config(&self) -> KafkaConfig {
        KafkaConfig::new(&self.broker.bootstrap)
    }

    async fn order(&self, id: OrderId) {
        let order = Order {
            extra_toppings: vec!["Onion".into()],
            customer_id: CustomerId::of("Italo"),
            name: "Italo".into(),
            sauce: "Pesto".into(),
            cheese: "Gouda".into(),
            main_topping: "Chicken".into(),
        };
        let event = serde_json::to_string(&OrderEvent::new(order, 0)).unwrap();
        let record = ProducerRecord::to(topics::ORDERED).key(id.to_string()).value(event);
        let sink = KafkaSink::new(&self.config()).unwrap();
        let batch = Batch { outputs: vec![record], positions: Vec::new() };
        timeout(LIMIT, sink.publish(&batch)).await.expect("an acknowledgement").unwrap();
        sink.close().await.unwrap();
    }

    /// The values of an order's records of a topic, as a `read_committed` reader sees them: `count`
    /// of them, and what follows soon.
    async fn values(&self, topic: &str, id: OrderId, count: usize) -> Vec<String> {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let source = KafkaSource::new(&self.config(), &format!("reader-{now}"), [topic]).unwrap();
        let mut found = Vec::new();
        let mut events = source.events();
        loop {
            let patience = if found.len() < count { LIMIT } else { QUIET };
            match timeout(patience, events.next()).await {
                Ok(Some(Ok(SourceEvent::Record(record)))) => {
                    found.extend(is_of(id, &record).then(|| text(&record)));
                }
                Ok(Some(Ok(_))) => {}
                Ok(other) => panic!("{other:?}"),
                Err(_) if found.len() < count => panic!("{topic}: found {found:?} of {count}"),
                Err(_) => break,
            }
        }
        drop(events);
        source.close().await.unwrap();
        found
    }
}

fn is_of(id: OrderId, record: &ConsumerRecord) -> bool {
    record.key.as_deref() == Some(id.as_bytes())
}

fn text(record: &ConsumerRecord) -> String {
    record.value.as_deref().map_or("null".into(), |value| String::from_utf8_lossy(value).into())
}

const WAY: [&str; 3] = [r#"{"status":200}"#, r#"{"status":300}"#, r#"{"status":400}"#];

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn orders_are_delivered_once_by_one_process_and_by_many_of_which_one_is_killed() {
    let town = Town::new();
    let all = town.start("all");
    let first = OrderId::from_bits(town.run);
    while !town.log("all").contains("The shop is open: http://127.0.0.1:") {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    town.order(first).await;
    assert_eq!(town.values(topics::STATUS, first, 3).await, WAY);
    town.terminate("all", all).await;
    let log = town.log("all");
    for service in ["msvc_assemble", "msvc_bake", "msvc_delivery", "msvc_status", "webapp"] {
        let lines: Vec<_> = log.lines().filter(|line| line.contains(service)).collect();
        assert!(lines.last().unwrap().ends_with("Graceful shutdown completed"), "{lines:?}");
    }

    // Deliver hears of the order, and is killed before it is baked.
    let second = OrderId::from_bits(town.run + 1);
    let (assemble, mut deliver) = (town.start("assemble"), town.start("deliver"));
    town.order(second).await;
    let customer = CustomerId::of("Italo").to_string();
    assert_eq!(town.values(topics::DELIVERIES, second, 1).await, [customer.as_str()]);
    deliver.start_kill().unwrap();
    deliver.wait().await.unwrap();
    let (bake, status) = (town.start("bake"), town.start("status"));
    assert_eq!(town.values(topics::STATUS, second, 2).await, WAY[..2]);

    let deliver = town.start("deliver");
    assert_eq!(town.values(topics::STATUS, second, 3).await, WAY);
    assert_eq!(town.values(topics::BAKED, second, 1).await, ["null"]);
    assert_eq!(town.values(topics::DELIVERIES, second, 2).await, [&*customer, "null"]);
    assert!(!town.log("deliver").contains("Early warning"), "{}", town.log("deliver"));
    for (part, child) in
        [("assemble", assemble), ("bake", bake), ("deliver", deliver), ("status", status)]
    {
        town.terminate(part, child).await;
    }
    assert!(
        town.log("status").contains(&format!("Order '{second}' status updated: Your pizza was"))
    );
}
