//! The same requests to the listener and to Apache Kafka, side by side: seeded ones, good and bad.
//!
//! Answers are compared after ids and times are normalised. `KAFKA_BOOTSTRAP` names a fresh broker;
//! `DIFFERENTIAL_SEED` and `DIFFERENTIAL_REQUESTS` choose the run.
//!
//! Known to differ, and not yet passed over:
//! - a producer that has sent a batch outside of its transaction is refused sequence numbers by Kafka
//!   until its next epoch (`OUT_OF_ORDER_SEQUENCE_NUMBER`): it verifies against an older attempt;
//! - Kafka looks for records that are too old every five minutes, the listener twice a second;
//! - Kafka takes commits of a group without a name, the listener answers `INVALID_GROUP_ID`.

#![expect(clippy::unwrap_used, reason = "a test that waits for Kafka")]

use std::time::Duration;

use jobstream_testkit::broker::Broker;

use operation::generate;
use random::Random;
use side::Side;

#[path = "../wire/client.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod client;
mod operation;
mod random;
mod side;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().unwrap())
}

#[tokio::test]
#[ignore = "needs Kafka"]
async fn the_listener_answers_as_apache_kafka_does() {
    let address = std::env::var("KAFKA_BOOTSTRAP").expect("KAFKA_BOOTSTRAP: a fresh broker");
    let broker = Broker::builder().wall_clock(now_ms).build();
    let listener = broker.listen("127.0.0.1:0").await.unwrap();
    // So late that no record is too old for its topic, and so early that markers are later.
    let base = now_ms() - 100_000;
    let mut ours = Side::connect(&listener.address().to_string(), false, base).await;
    let mut theirs = Side::connect(&address, true, base).await;
    let seed = number("DIFFERENTIAL_SEED", now_ms().unsigned_abs());
    let requests = number("DIFFERENTIAL_REQUESTS", 2_000);
    let mut random = Random::seeded(seed);
    let mut divergences = Vec::new();
    for number in 0..requests {
        let operation = generate(&mut random, seed);
        if std::env::var_os("DIFFERENTIAL_TRACE").is_some() {
            println!("{operation:?}");
        }
        let both = async { (ours.run(&operation).await, theirs.run(&operation).await) };
        let (found, expected) = tokio::time::timeout(Duration::from_secs(120), both)
            .await
            .unwrap_or_else(|_| panic!("no answer to {operation:?}: {:?}", listener.refusals()));
        if found != expected {
            let divergence =
                format!("{number} {operation:?}\n  found    {found}\n  expected {expected}");
            println!("{divergence}");
            divergences.push(divergence);
        }
    }
    assert!(divergences.is_empty(), "seed {seed}: {} of {requests} differ", divergences.len());
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_millis()).unwrap()
}
