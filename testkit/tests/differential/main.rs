//! The same requests to the listener and to Apache Kafka, side by side: seeded ones, good and bad.
//!
//! Answers are compared after ids and times are normalised. Several lanes run at once, each with
//! topics, producers, groups and connections of its own. What differs and has to is in `listed.rs`.
//!
//! The test starts Kafka itself, unless `KAFKA_BOOTSTRAP` names one that was started with [`KAFKA`] and
//! serves no other run at the same time: all share the group without a name.
//! `DIFFERENTIAL_SEED`, `DIFFERENTIAL_REQUESTS` and `DIFFERENTIAL_LANES` choose the run; with
//! `DIFFERENTIAL_TRACE` each request of it is printed before it is sent.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a test that waits for Kafka")]

use std::collections::BTreeMap;
use std::time::Duration;

use jobstream_testkit::broker::Broker;

use kafka_broker::Broker as Kafka;
use lane::{Lane, Setting};

#[path = "../wire/client.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod client;
#[path = "../../../tests/kafka_broker/mod.rs"]
#[allow(dead_code, reason = "shared with other tests")]
mod kafka_broker;
mod lane;
mod listed;
mod operation;
mod random;
mod side;

/// What Kafka is asked to be besides what `scripts/kafka` sets: no session ends during a run.
const KAFKA: &[&str] = &[
    "--set=group.consumer.max.session.timeout.ms=600000",
    "--set=group.consumer.session.timeout.ms=600000",
    // Groups of one partition share a place in a transaction.
    "--set=offsets.topic.num.partitions=50",
    // It forgets groups that are empty now and then.
    "--set=offsets.retention.check.interval.ms=86400000",
];
/// As `scripts/kafka` sets `group.consumer.heartbeat.interval.ms`.
const HEARTBEATS: Duration = Duration::from_millis(500);
const SESSIONS: Duration = Duration::from_secs(600);
/// As `scripts/kafka` sets `group.min.session.timeout.ms`, and Kafka's own for the longest.
const SESSION_TIMEOUTS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(1_800));

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().unwrap())
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn the_listener_answers_as_apache_kafka_does() {
    let kafka = match std::env::var("KAFKA_BOOTSTRAP") {
        Ok(_) => Kafka::shared(),
        Err(_) => Kafka::start_with(KAFKA).into(),
    };
    let broker = Broker::builder().wall_clock(now_ms).build();
    let (shortest, longest) = SESSION_TIMEOUTS;
    let listener = broker
        .listener()
        .consumer_sessions(SESSIONS, HEARTBEATS)
        .session_timeouts(shortest, longest)
        .listen("127.0.0.1:0")
        .await
        .unwrap();
    let seed = number("DIFFERENTIAL_SEED", now_ms().unsigned_abs());
    let (requests, lanes) =
        (number("DIFFERENTIAL_REQUESTS", 20_000), number("DIFFERENTIAL_LANES", 16));
    println!(
        "DIFFERENTIAL_SEED={seed} DIFFERENTIAL_REQUESTS={requests} DIFFERENTIAL_LANES={lanes}"
    );
    let run = now_ms();
    let lanes: Vec<_> = (0..lanes)
        .map(|number| {
            let setting = Setting {
                listener: listener.address(),
                kafka: kafka.bootstrap.parse().unwrap(),
                seed: seed.wrapping_add(number.wrapping_mul(0x9e37_79b9)),
                requests: requests.div_ceil(lanes),
                name: format!("{run}-{number}"),
                number,
            };
            tokio::spawn(async move { Lane::open(setting).await.run().await })
        })
        .collect();
    let (mut divergences, mut listed) = (0, BTreeMap::<_, usize>::new());
    for lane in lanes {
        let ended = lane.await.unwrap_or_else(|end| panic!("{end}: {:?}", listener.refusals()));
        divergences += ended.divergences;
        ended.listed.into_iter().for_each(|(why, times)| *listed.entry(why).or_default() += times);
    }
    for (why, times) in listed {
        println!("listed, {times} times: {why}");
    }
    assert_eq!(divergences, 0, "seed {seed}: {divergences} of {requests} answers differ");
}
