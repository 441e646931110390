//! A broker, and the shop's processes on it.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
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
use pizza::customer_id::CustomerId;
use pizza::order::{Order, OrderEvent};
use pizza::order_id::OrderId;
use pizza::topics;
use tempfile::TempDir;
use tokio::process::Child;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{sleep, timeout};

use crate::broker::Broker;
use crate::visitor::Visitor;

/// Longer than anything here takes, on any machine.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);
/// The wait before a condition is looked at again.
pub(crate) const A_MOMENT: Duration = Duration::from_millis(50);

/// The shop's groups have fixed names: one town at a time.
static ONE_TOWN: Mutex<()> = Mutex::const_new(());

/// A broker, and a folder with its configuration, as the original has it, and the logs.
pub(crate) struct Town {
    broker: Arc<Broker>,
    folder: TempDir,
    /// Different in each run: a broker may know other runs.
    pub(crate) run: u32,
    _alone: MutexGuard<'static, ()>,
}

/// A process of the shop.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Town {
    pub(crate) async fn new() -> Self {
        let alone = ONE_TOWN.lock().await;
        let (broker, folder) = (Broker::open().await, tempfile::tempdir().unwrap());
        let config = format!("[kafka]\nbootstrap.servers = {}\n", broker.bootstrap);
        fs::write(folder.path().join("kafka.ini"), config).unwrap();
        let run = SystemTime::UNIX_EPOCH.elapsed().unwrap().subsec_nanos();
        Self { broker, folder, run, _alone: alone }
    }

    /// Starts a part of the shop; `name` tells it from others of its kind.
    pub(crate) fn start_as(&self, part: &str, name: &str) -> Process {
        let log = self.path(&format!("{name}.log"));
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_pizza"));
        command.args([part, "--config", "kafka.ini", "--speed", "10", "--listen", "127.0.0.1:0"]);
        command.env_clear().env("INSTANCE_ID", format!("{name}-{}", self.run));
        command.env("METRICS_ADDRESS", "127.0.0.1:0");
        command.current_dir(self.folder.path()).kill_on_drop(true);
        // The successor of one that was killed goes on with its log.
        let out = File::options().create(true).append(true).open(&log).unwrap();
        let child = command.stdout(out).stderr(Stdio::inherit()).spawn().unwrap();
        Process { name: name.to_owned(), child, log }
    }

    pub(crate) fn start(&self, part: &str) -> Process {
        self.start_as(part, part)
    }

    /// A file that the processes share.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn config(&self) -> KafkaConfig {
        KafkaConfig::new(&self.broker.bootstrap)
    }

    /// Publishes orders.
    pub(crate) async fn order(&self, ids: &[OrderId]) {
        let event = serde_json::to_string(&OrderEvent::new(pizza(), 0)).unwrap();
        let record = |id: &OrderId| {
            ProducerRecord::to(topics::ORDERED).key(id.to_string()).value(event.clone())
        };
        self.publish(ids.iter().map(record).collect()).await;
    }

    pub(crate) async fn publish(&self, outputs: Vec<ProducerRecord>) {
        let sink = KafkaSink::new(&self.config()).unwrap();
        let batch = Batch { outputs, positions: Vec::new() };
        timeout(LIMIT, sink.publish(&batch)).await.expect("an acknowledgement").unwrap();
        sink.close().await.unwrap();
    }

    /// The records of a topic, as a `read_committed` reader sees them, up to and with those for
    /// which `is_last` has held `count` times.
    pub(crate) async fn read_until(
        &self,
        topic: &str,
        count: usize,
        is_last: impl Fn(&ConsumerRecord) -> bool,
    ) -> Vec<ConsumerRecord> {
        let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let source = KafkaSource::new(&self.config(), &format!("reader-{now}"), [topic]).unwrap();
        let (mut found, mut left) = (Vec::new(), count);
        let mut events = source.events();
        while left > 0 {
            match timeout(LIMIT, events.next()).await {
                Ok(Some(Ok(SourceEvent::Record(record)))) => {
                    left -= usize::from(is_last(&record));
                    found.push(record);
                }
                Ok(Some(Ok(_))) => {}
                other => panic!("{topic}: {other:?}; {left} of {count} are missing: {found:?}"),
            }
        }
        drop(events);
        source.close().await.unwrap();
        found
    }

    /// All records of a topic that were published before, as a `read_committed` reader sees them:
    /// those before a mark on each partition.
    pub(crate) async fn read(&self, topic: &'static str) -> Vec<ConsumerRecord> {
        let mark = format!("mark-{}", SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos());
        let marks = (0..topics::PARTITIONS).map(|partition| {
            let record = ProducerRecord::to(topic).key(mark.clone());
            ProducerRecord { partition: Some(partition), ..record }
        });
        self.publish(marks.collect()).await;
        let is_mark = |record: &ConsumerRecord| record.key.as_deref() == Some(mark.as_bytes());
        let mut records = self.read_until(topic, topics::PARTITIONS as usize, is_mark).await;
        records.retain(|record| !is_mark(record));
        records
    }

    /// The values of an order's records of a topic, as soon as there are so many.
    pub(crate) async fn values(&self, topic: &str, id: OrderId, count: usize) -> Vec<String> {
        let is_of = |record: &ConsumerRecord| record.key.as_deref() == Some(id.as_bytes());
        let records = self.read_until(topic, count, is_of).await;
        records.iter().filter(|record| is_of(record)).map(text).collect()
    }
}

impl Process {
    /// What it has logged, and what its predecessors of the same name have.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it has logged that, and gives the rest of the line.
    pub(crate) async fn logs(&self, text: &str) -> String {
        let rest = async {
            loop {
                let log = self.log();
                // A line that is being written is not read yet.
                let lines = log.split_inclusive('\n').filter(|line| line.ends_with('\n'));
                if let Some((_, rest)) = lines.filter_map(|line| line.split_once(text)).next_back()
                {
                    return rest.trim_end().to_owned();
                }
                sleep(A_MOMENT).await;
            }
        };
        let rest = timeout(LIMIT, rest).await;
        rest.unwrap_or_else(|_| panic!("{} does not log '{text}':\n{}", self.name, self.log()))
    }

    /// Where browsers come.
    pub(crate) async fn address(&self) -> SocketAddr {
        self.logs("The shop is open: http://").await.parse().unwrap()
    }

    /// Waits until it is ready, and gives its metrics.
    pub(crate) async fn metrics(&self) -> String {
        let mut prober =
            Visitor::of(self.logs("Metrics and health on http://").await.parse().unwrap());
        let ready = async {
            while prober.get("/readyz").await.status != 200 {
                sleep(A_MOMENT).await;
            }
        };
        timeout(LIMIT, ready).await.expect("it is ready");
        assert_eq!(prober.get("/healthz").await.status, 200, "{}", self.name);
        prober.get("/metrics").await.body
    }

    /// Kills it, as `kill -9` does.
    pub(crate) async fn kill(mut self) {
        self.child.start_kill().unwrap();
        self.child.wait().await.unwrap();
    }

    /// Asks it to end, and waits until it has; gives its log.
    pub(crate) async fn terminate(self) -> String {
        self.ask_to_end();
        self.ended().await
    }

    /// Waits until it has ended well; gives its log.
    pub(crate) async fn ended(mut self) -> String {
        let ended = timeout(LIMIT, self.child.wait()).await.expect("an end").unwrap();
        let log = self.log();
        assert!(ended.success(), "{}: {ended}\n{log}", self.name);
        log
    }

    /// Sends SIGTERM.
    pub(crate) fn ask_to_end(&self) {
        let pid = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }
}

/// What everybody orders.
pub(crate) fn pizza() -> Order {
    Order {
        extra_toppings: vec!["Onion".into()],
        customer_id: CustomerId::of("Italo"),
        name: "Italo".into(),
        sauce: "Pesto".into(),
        cheese: "Gouda".into(),
        main_topping: "Chicken".into(),
    }
}

/// A record's value.
pub(crate) fn text(record: &ConsumerRecord) -> String {
    record.value.as_deref().map_or("null".into(), |value| String::from_utf8_lossy(value).into())
}
