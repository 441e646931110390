//! The conformance suite on librdkafka's own cluster, which lives in this process.
//!
//! What it can't do, and why: transactions (its EndTxn does nothing, so that aborted records are
//! visible), truncation (it has no DeleteRecords), crashes and expiry (it has no DescribeGroups, so
//! that a member can't be taken out from outside). Real Kafka runs them: `kafka_real.rs`.

#![expect(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test with a thread")]

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use async_trait::async_trait;
use jobstream::record::TopicPartition;
use jobstream_testkit::conformance::Features;
use rdkafka::mocking::MockCluster;
use tokio::sync::oneshot;

use kafka_support::{Cluster, Kafka, check};

mod kafka_support;

type Creation = (String, i32, oneshot::Sender<()>);

/// The cluster stays on the thread that has made it: it must not move.
struct Mock {
    bootstrap: String,
    creations: Sender<Creation>,
}

impl Mock {
    fn start() -> Arc<Self> {
        let (creations, asked) = channel::<Creation>();
        let (started, bootstrap) = channel();
        std::thread::spawn(move || {
            let cluster = MockCluster::new(1).unwrap();
            started.send(cluster.bootstrap_servers()).unwrap();
            for (topic, partitions, done) in asked {
                cluster.create_topic(&topic, partitions, 1).unwrap();
                done.send(()).unwrap();
            }
        });
        Arc::new(Self { bootstrap: bootstrap.recv().unwrap(), creations })
    }
}

#[async_trait]
impl Cluster for Mock {
    fn bootstrap(&self) -> String {
        self.bootstrap.clone()
    }

    fn features(&self) -> Features {
        Features {
            transactions: false,
            cooperative: true,
            truncation: false,
            crashes: false,
            expiry: false,
        }
    }

    async fn create_topic(&self, topic: &str, partitions: i32) {
        let (done, created) = oneshot::channel();
        self.creations.send((topic.to_owned(), partitions, done)).unwrap();
        created.await.unwrap();
    }

    async fn truncate(&self, _partition: &TopicPartition, _before: i64) {
        unreachable!("the mock cluster has no DeleteRecords")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cooperative_group_keeps_every_behaviour() {
    check(&Kafka::cooperative(Mock::start())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_eager_group_keeps_every_behaviour() {
    check(&Kafka::eager(Mock::start())).await;
}
