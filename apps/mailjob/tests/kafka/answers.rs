//! What is reported about a broker that hangs.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::time::{sleep, timeout};

use crate::broker::Broker;
use crate::load::{add, none_lost};
use crate::scrape::probe;
use crate::service::{is_ready, metrics_address};
use crate::stage::{DELIVERIES, LIMIT, LOOK_AGAIN_AFTER, Stage, inbox, output_text};

/// Completes when a probe of readiness says this of one of its checks.
async fn says(address: SocketAddr, check: &str, reason: &str) {
    let says = async {
        while !probe(address, "/readyz").await.1[check].contains(reason) {
            sleep(LOOK_AGAIN_AFTER).await;
        }
    };
    let said = timeout(LIMIT, says).await;
    assert!(said.is_ok(), "no {reason:?}: {:?}", probe(address, "/readyz").await);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn who_has_a_broker_that_hangs_is_not_ready_for_that_and_ready_again_when_it_answers() {
    for delivery in DELIVERIES {
        let broker = Arc::new(Broker::start_with(&[]));
        let server = inbox().await;
        let mut stage = Stage::with(broker.clone(), server.address(), 1).await;
        stage.set("JOB_DELIVERY", delivery);
        stage.set("METRICS_ADDRESS", "127.0.0.1:0");
        stage.set("KAFKA_STATISTICS_INTERVAL_MS", "200");
        // What a member does that is not ready again stands in librdkafka's own lines only.
        for (name, value) in
            [("LOGLEVEL", "DEBUG"), ("KAFKA_DEBUG", "cgrp"), ("KAFKA_LOG_LEVEL", "7")]
        {
            stage.set(name, value);
        }
        // The broker waits that long for members whose requests it finds when it goes on, and whose
        // connections have gone.
        stage.set("KAFKA_MAX_POLL_INTERVAL_MS", "25000");
        let mut owner = stage.start("owner");
        owner.said("Partition assigned", 1).await;
        let mut spare = stage.start("spare");
        let addresses = [metrics_address(&mut owner).await, metrics_address(&mut spare).await];
        for address in addresses {
            is_ready(address, true).await;
        }
        broker.signal("STOP");
        for address in addresses {
            says(address, "broker", "expected at most 30 s").await;
            says(address, "partitions", "no partition is assigned").await;
            is_ready(address, false).await;
            assert!(probe(address, "/healthz").await.0, "a restart mends nothing");
        }
        let check = stage.ended(&["check"]).await;
        let said = output_text(&check);
        assert!(said.contains("failed  Kafka: ") && said.contains(&broker.bootstrap), "{said}");
        broker.signal("CONT");
        for address in addresses {
            is_ready(address, true).await;
        }
        add(&stage, 0..3).await;
        none_lost(&stage.results_of(3).await, 3);
        owner.terminate().await.succeeded();
        spare.terminate().await.succeeded();
    }
}
