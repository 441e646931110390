//! Limits by a key of the jobs: no key exceeds its own, and none takes what the others need.

#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jobstream::codec::{CodecError, Json};
use jobstream::record::{ConsumerRecord, ProducerRecord};
use jobstream::sinks::{JobError, JobSink};
use jobstream::topology::{Event, Executed, KeyLimits, Limits, Retry, Topology};
use jobstream_testkit::broker::{Broker, Isolation};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use support::{DEAD_LETTERS, GROUP, JOBS, RESULTS, broker, limits, values};
use tokio::time::{Instant, sleep, timeout};

/// A call of a host.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Call {
    id: usize,
    host: String,
    /// `None` never ends.
    takes_ms: Option<u64>,
    failures: u32,
}

fn call(id: usize, host: &str, takes_ms: Option<u64>) -> Call {
    Call { id, host: host.to_string(), takes_ms, failures: 0 }
}

fn produce(broker: &Broker, key: Option<&str>, partition: Option<i32>, call: &Call) {
    let mut record = ProducerRecord::to(JOBS).value(serde_json::to_vec(call).unwrap());
    record.key = key.map(|key| key.to_owned().into());
    record.partition = partition;
    broker.produce(record).unwrap();
}

/// What the hosts have seen.
#[derive(Default)]
struct Hosts {
    /// The calls in the order in which they began.
    begun: Mutex<Vec<(usize, String, Instant)>>,
    executing: Mutex<BTreeMap<String, usize>>,
    most_executing: Mutex<usize>,
    failures: Mutex<BTreeMap<usize, u32>>,
}

struct Executing<'a>(&'a Hosts, &'a str);

impl Drop for Executing<'_> {
    fn drop(&mut self) {
        self.0.executing.lock().unwrap().entry(self.1.to_owned()).and_modify(|n| *n -= 1);
    }
}

#[async_trait]
impl JobSink<Call, usize> for Hosts {
    async fn execute(&self, call: &Call, _: &ConsumerRecord) -> Result<usize, JobError> {
        self.begun.lock().unwrap().push((call.id, call.host.clone(), Instant::now()));
        let executing = {
            let mut executing = self.executing.lock().unwrap();
            let executing = executing.entry(call.host.clone()).or_default();
            *executing += 1;
            *executing
        };
        let _executing = Executing(self, &call.host);
        {
            let mut most = self.most_executing.lock().unwrap();
            *most = executing.max(*most);
        }
        match call.takes_ms {
            None => std::future::pending().await,
            Some(0) => {}
            Some(ms) => sleep(Duration::from_millis(ms)).await,
        }
        let mut failures = self.failures.lock().unwrap();
        let failed = failures.entry(call.id).or_default();
        *failed += 1;
        if *failed <= call.failures { Err(JobError::transient("503")) } else { Ok(call.id) }
    }
}

fn topology(hosts: &Arc<Hosts>, key_limits: KeyLimits, limits: Limits) -> Topology {
    Topology::builder(DEAD_LETTERS)
        .decode(Json::<Call>::new())
        .execute(hosts.clone())
        .limited_by(|call: &Call| &call.host, key_limits)
        .retry(Retry::new().first_delay(Duration::from_millis(100)))
        .encode(result)
        .with_limits(limits)
}

fn result(
    record: &ConsumerRecord,
    executed: Executed<Call, usize>,
) -> Result<Vec<ProducerRecord>, CodecError> {
    let value = executed.outcome.map_or_else(|error| error.to_string(), |id| id.to_string());
    let output = ProducerRecord::to(RESULTS).value(value);
    Ok(vec![ProducerRecord { key: record.key.clone(), ..output }])
}

fn results(broker: &Broker) -> Vec<usize> {
    let values = values(broker, RESULTS, Isolation::ReadCommitted);
    let mut ids: Vec<_> = values.iter().map(|id| id.parse().unwrap()).collect();
    ids.sort_unstable();
    ids
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_key_exceeds_its_limits_the_order_is_kept_and_each_job_is_executed(
        calls in prop::collection::vec(
            (prop::option::of(0_u8..5), 0_u8..4, 0_u64..40, 0_u32..3), 1..80,
        ),
        most in 1_usize..4,
        per_second in prop::option::of(20_u32..200),
        burst in 1_u32..4,
        executing in 1_usize..8,
        in_flight in 1_usize..60,
    ) {
        let (broker, hosts) = (broker(3), Arc::new(Hosts::default()));
        let mut keys = BTreeMap::new();
        for (id, (key, host, takes_ms, failures)) in calls.iter().enumerate() {
            let key = key.map(|key| key.to_string());
            produce(&broker, key.as_deref(), None, &Call {
                failures: *failures, ..call(id, &host.to_string(), Some(*takes_ms))
            });
            keys.insert(id, key);
        }
        let mut key_limits = KeyLimits::new().executing_jobs(Some(most)).burst_attempts(burst);
        if let Some(attempts) = per_second {
            key_limits = key_limits.rate(attempts, Duration::from_secs(1));
        }
        let limits = limits().executing_records(executing).in_flight_records(in_flight);
        let topology = topology(&hosts, key_limits, limits);
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(support::run_to_the_end(&topology, &broker));
        prop_assert!(results(&broker).into_iter().eq(0..calls.len()));
        let most_executing = *hosts.most_executing.lock().unwrap();
        prop_assert!(most_executing <= most.min(executing), "{most_executing} of one host");

        let (mut order, mut begins) = (BTreeMap::new(), BTreeMap::<_, Vec<Instant>>::new());
        for (id, host, at) in hosts.begun.lock().unwrap().iter() {
            if let Some(key) = &keys[id] {
                let last = order.insert(key, id);
                prop_assert!(last <= Some(id), "key {key}: {id} after {last:?}");
            }
            let begins = begins.entry(host.clone()).or_default();
            begins.push(*at);
            for (index, first) in begins.iter().enumerate() {
                let interval = key_limits.attempt_interval.as_nanos();
                let Some(in_time) = (*at - *first).as_nanos().checked_div(interval) else { break };
                let begun = begins.len() - index;
                prop_assert!(begun <= in_time as usize + burst as usize, "{begun} begin at once");
            }
        }
    }
}

/// The limits of a host in the tests below.
const TWO: KeyLimits = KeyLimits::new().executing_jobs(Some(2));

/// Runs until so many have a result, and ends without the others.
async fn until_results(topology: &Topology, broker: &Broker, results: usize) {
    let source = broker.consumer(GROUP, [JOBS]).build();
    let all =
        broker.until(|broker| values(broker, RESULTS, Isolation::ReadCommitted).len() >= results);
    let producer = broker.producer();
    let run = topology.run(&source, &producer, all);
    let ended = timeout(Duration::from_secs(3_600), run).await;
    assert!(ended.is_ok(), "{} results", values(broker, RESULTS, Isolation::ReadCommitted).len());
}

#[tokio::test(start_paused = true)]
async fn a_host_that_hangs_and_floods_its_partition_leaves_what_the_others_need() {
    let (broker, hosts) = (broker(3), Arc::new(Hosts::default()));
    (0..5_000).for_each(|id| produce(&broker, None, Some(0), &call(id, "hangs", None)));
    for id in 5_000..7_000 {
        let partition = 1 + id as i32 % 2;
        produce(&broker, None, Some(partition), &call(id, &(id % 50).to_string(), Some(10)));
    }
    let taken_in = Arc::new(Mutex::new(0));
    let seen = taken_in.clone();
    let observer = Arc::new(move |event: &Event<'_>| {
        if let Event::Fetched(record) = event {
            *seen.lock().unwrap() += usize::from(record.partition.partition == 0);
        }
    });
    let limits = limits().in_flight_records(100).executing_records(40).shutdown_timeout(LIMIT);
    let topology = topology(&hosts, TWO, limits).with_observer(observer);
    until_results(&topology, &broker, 2_000).await;
    let taken_in = *taken_in.lock().unwrap();
    assert!(taken_in <= 100 / 2 + 2, "{taken_in} of the host that hangs");
    assert!(results(&broker).into_iter().eq(5_000..7_000));
}

const LIMIT: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn hosts_that_hang_take_no_more_than_their_share_however_many_they_are() {
    let (broker, hosts) = (broker(6), Arc::new(Hosts::default()));
    for id in 0..4_000 {
        let host = id % 10;
        produce(&broker, None, Some(host as i32 % 5), &call(id, &format!("hangs-{host}"), None));
    }
    (4_000..5_000).for_each(|id| {
        produce(&broker, None, Some(5), &call(id, &(id % 50).to_string(), Some(10)));
    });
    let limits = limits().in_flight_records(110).executing_records(40).shutdown_timeout(LIMIT);
    until_results(&topology(&hosts, TWO, limits), &broker, 1_000).await;
    assert!(results(&broker).into_iter().eq(4_000..5_000));
}

/// Large jobs may be few: their bytes count, while they execute, too.
#[tokio::test(start_paused = true)]
async fn large_jobs_of_hosts_that_hang_leave_bytes_for_the_others() {
    const LARGE: usize = 60_000;
    for executing in [1, 2, 8] {
        let (broker, hosts) = (broker(3), Arc::new(Hosts::default()));
        for id in 0..100 {
            let host = format!("{:LARGE$}", id % 2);
            produce(&broker, None, Some(id as i32 % 2), &call(id, &host, None));
        }
        for id in 100..1_100 {
            produce(&broker, None, Some(2), &call(id, &(2 + id % 50).to_string(), Some(10)));
        }
        let limits = limits().in_flight_bytes(7 * LARGE).shutdown_timeout(LIMIT);
        let most = KeyLimits::new().executing_jobs(Some(executing));
        until_results(&topology(&hosts, most, limits), &broker, 1_000).await;
        assert!(results(&broker).into_iter().eq(100..1_100), "{executing} of a host at once");
    }
}

/// Of a thousand hosts, ten hang until their attempts' time limit; the others are as far as without.
#[tokio::test(start_paused = true)]
async fn the_others_are_as_quick_beside_hosts_that_hang() {
    let mut took = Vec::new();
    for hang in [0, 10] {
        let (broker, hosts) = (broker(6), Arc::new(Hosts::default()));
        for id in 0..5_000 {
            let takes = if id % 1_000 < hang { 1_000_000 } else { 20 };
            produce(&broker, None, None, &call(id, &(id % 1_000).to_string(), Some(takes)));
        }
        let limits = limits().executing_records(64).shutdown_timeout(LIMIT);
        let began = Instant::now();
        until_results(&topology(&hosts, TWO, limits), &broker, 5_000 - 5 * hang).await;
        took.push(began.elapsed() - LIMIT * u32::from(hang > 0));
    }
    // 20 of the 64 places hang.
    assert!(took[1].as_secs_f64() < took[0].as_secs_f64() * 64.0 / 44.0 * 1.1, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn keys_take_turns_where_places_are_few() {
    let (broker, hosts) = (broker(1), Arc::new(Hosts::default()));
    (0..100).for_each(|id| produce(&broker, None, None, &call(id, "many", Some(10))));
    (100..110).for_each(|id| produce(&broker, None, None, &call(id, "few", Some(10))));
    let limits = limits().executing_records(4);
    let few = KeyLimits::new().executing_jobs(Some(3));
    support::run_to_the_end(&topology(&hosts, few, limits), &broker).await;
    let begun = hosts.begun.lock().unwrap();
    let last = begun.iter().rposition(|(id, ..)| *id >= 100).unwrap();
    assert!(last < 50, "the last of the few begins after {last} others");
}

#[tokio::test(start_paused = true)]
async fn a_stop_finishes_what_waits_for_its_key_within_the_time_and_repeats_nothing() {
    let (broker, hosts) = (broker(1), Arc::new(Hosts::default()));
    (0..20).for_each(|id| produce(&broker, None, None, &call(id, "one", Some(1_000))));
    let topology = topology(
        &hosts,
        KeyLimits::new().executing_jobs(Some(1)),
        limits().shutdown_timeout(LIMIT * 8),
    );
    let source = broker.consumer(GROUP, [JOBS]).build();
    let stop = sleep(Duration::from_millis(2_500));
    let drained = topology.run(&source, &broker.producer(), stop).await.unwrap();
    assert_eq!(results(&broker).len() + drained.unfinished, 20);
    assert!((9..=10).contains(&drained.unfinished), "{}", drained.unfinished);
    support::run_to_the_end(&topology, &broker).await;
    assert!(results(&broker).into_iter().eq(0..20));
}
