//! Metrics, health and readiness of a service on Kafka.

use std::mem;
use std::net::SocketAddr;

use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpSocket;
use tokio::time::{Instant, sleep, timeout};

use crate::arrivals::Arrivals as _;
use crate::broker::Broker;
use crate::load::{jobs, none_lost, under_load};
use crate::scrape::{Scrape, probe};
use crate::service::{is_ready, metrics_address};
use crate::stage::{DELIVERIES, LIMIT, LOOK_AGAIN_AFTER, Stage, inbox};

/// Completes when a scrape shows this sum; panics when what it shows does not change for long.
pub(crate) async fn shows(address: SocketAddr, name: &str, labels: &[(&str, &str)], expected: f64) {
    let (mut found, mut until) = (None, Instant::now() + LIMIT);
    while found != Some(expected) {
        assert!(Instant::now() < until, "{name}: found {found:?}, expected {expected}");
        sleep(LOOK_AGAIN_AFTER).await;
        let before = mem::replace(&mut found, Scrape::of(address).await.sum(name, labels));
        if found != before {
            until = Instant::now() + LIMIT;
        }
    }
}

/// The records that a scrape shows as waiting, once there are some.
async fn lag(address: SocketAddr) -> f64 {
    let shown = async {
        loop {
            match Scrape::of(address).await.sum("jobstream_partition_lag_records", &[]) {
                Some(lag) if lag > 0.0 => break lag,
                _ => sleep(LOOK_AGAIN_AFTER).await,
            }
        }
    };
    timeout(LIMIT, shown).await.expect("a lag under load")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrape_shows_fates_and_the_lag_that_shrinks_to_nothing() {
    for delivery in DELIVERIES {
        let server = inbox().await;
        let mut stage = Stage::new(server.address()).await;
        stage.set("JOB_DELIVERY", delivery);
        stage.set("METRICS_ADDRESS", "127.0.0.1:0");
        stage.set("MAIL_RATE", "200");
        stage.set("KAFKA_STATISTICS_INTERVAL_MS", "200");
        let mut service = stage.start("log");
        let address = metrics_address(&mut service).await;
        let scraping = async {
            is_ready(address, true).await;
            server.arrived(20).await;
            lag(address).await
        };
        let (lag, jobs) = under_load(&stage, &server, scraping).await;
        assert!(lag <= jobs as f64, "{lag}");
        let succeeded = [("fate", "succeeded")];
        shows(address, "jobstream_records_total", &succeeded, jobs as f64).await;
        shows(address, "jobstream_partition_lag_records", &[], 0.0).await;
        assert!(probe(address, "/healthz").await.0);
        let scrape = Scrape::of(address).await;
        let committed = [("outcome", "committed")];
        let transactions = scrape.sum("jobstream_kafka_transactions_total", &committed);
        assert_eq!(transactions > Some(0.0), delivery == "exactly-once", "{transactions:?}");
        let content = scrape.names().find(|name| name.contains("example"));
        assert_eq!(content, None, "what is in a job is in a label");
        service.terminate().await.succeeded();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_without_its_mail_server_is_well_and_not_ready() {
    let nobody = "127.0.0.1:1".parse().unwrap();
    let mut stage = Stage::new(nobody).await;
    stage.set("METRICS_ADDRESS", "127.0.0.1:0");
    let mut service = stage.start("log");
    let address = metrics_address(&mut service).await;
    service.said("Partition assigned", 6).await;
    let (ok, reasons) = probe(address, "/readyz").await;
    assert!(!ok && reasons["mail_server"].contains("connect"), "{reasons:?}");
    assert_eq!(reasons["partitions"], "6 assigned");
    assert!(probe(address, "/healthz").await.0);
    service.terminate().await.succeeded();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spare_member_is_ready_and_takes_over_when_the_other_ends() {
    let server = inbox().await;
    let mut stage = Stage::with(Broker::open().await, server.address(), 1).await;
    stage.set("METRICS_ADDRESS", "127.0.0.1:0");
    stage.set("KAFKA_STATISTICS_INTERVAL_MS", "200");
    let mut owner = stage.start("owner");
    owner.said("Partition assigned", 1).await;
    let mut spare = stage.start("spare");
    let address = metrics_address(&mut spare).await;
    is_ready(address, true).await;
    let (_, reasons) = probe(address, "/readyz").await;
    assert!(reasons["partitions"].starts_with("spare: "), "{reasons:?}");
    assert!(reasons["broker"].starts_with("a broker answered"), "{reasons:?}");
    owner.terminate().await.succeeded();
    spare.said("Partition assigned", 1).await;
    assert_eq!(probe(address, "/readyz").await.1["partitions"], "1 assigned");
    spare.terminate().await.succeeded();
}

/// Silent connections and half requests, several times as many as the service may have descriptors.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_connections_to_the_metrics_stops_no_mail_and_keeps_no_probe_out() {
    const DESCRIPTORS: usize = 256;
    const JOBS: usize = 200;
    let server = inbox().await;
    let mut stage = Stage::new(server.address()).await;
    stage.set("METRICS_ADDRESS", "127.0.0.1:0");
    stage.set("MAIL_CONNECTIONS", "64");
    let mut service = stage.start_with_descriptors("log", DESCRIPTORS);
    let address = metrics_address(&mut service).await;
    let mut held = Vec::new();
    for number in 0..3 * DESCRIPTORS {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, 2 + (number % 4) as u8], 0))).unwrap();
        let mut other = socket.connect(address).await.unwrap();
        if number % 2 == 0 {
            // One that there is no room for is closed.
            let _ = other.write_all(b"GET /metrics HTTP/1.1\r\nhost: ").await;
        }
        held.push(other);
    }
    stage.submit(&jobs(JOBS)).await;
    none_lost(&stage.results_of(JOBS).await, JOBS);
    is_ready(address, true).await;
    let open = Scrape::of(address).await.sum("process_open_fds", &[]).unwrap();
    assert!(open < 0.75 * DESCRIPTORS as f64, "{open} descriptors are open");
    drop(held);
    service.terminate().await.succeeded();
}
