//! Kafka to Kafka: the shipping mail topology with a job sink that answers at once, beside a raw
//! consume-and-produce loop on the same librdkafka properties. Its results have the same bytes.
//!
//! A run is measured from the first job to the acknowledgement of the last result and the commit of
//! the last position.

mod properties;
pub(crate) mod raw;
mod timing;
pub(crate) mod topology;

use super::figure::{Comparison, Figure};
use super::kafka_broker::Broker;
use super::process::Role;
use super::{checks, jobs, topics};

const OURS: &str = "topology";
const LOOP: &str = "loop";
const JOB_BYTES: [usize; 2] = [100, 1_024];
/// At least so much of the loop's records a second.
const SPEED_BAR: f64 = 0.85;
/// The peak that no process of the topology may exceed, with the default limits.
const PEAK_LIMIT_KIB: usize = 64 << 10;

/// How many records in a run.
pub(crate) struct Plan {
    records: usize,
    rounds: usize,
}

impl Plan {
    pub(crate) const SHORT: Self = Self { records: 100_000, rounds: 1 };
    pub(crate) const FULL: Self = Self { records: 1_000_000, rounds: 3 };
}

/// Measures in turns, prints, and says how many bars were missed.
pub(crate) async fn measure(broker: &Broker, plan: &Plan) -> usize {
    println!("Kafka to Kafka, {} records a run", plan.records);
    println!(
        "{:>6} {:>14} {:>20} {:>20} {:>7} {:>6} {:>9}",
        "bytes", "", "topology, us CPU", "loop, us CPU", "speed", "CPU", "peak KiB"
    );
    let mut missed = 0;
    for job_bytes in JOB_BYTES {
        let input = format!("jobs-{job_bytes}");
        let job = |number| jobs::job_of(number, job_bytes);
        topics::fill(&broker.bootstrap, &input, plan.records, job).await;
        for is_exactly_once in [false, true] {
            let comparison = compare(broker, plan, &input, is_exactly_once).await;
            missed += report(job_bytes, is_exactly_once, &comparison);
        }
        topics::delete(&broker.bootstrap, &[&input]).await;
    }
    missed
}

async fn compare(broker: &Broker, plan: &Plan, input: &str, is_exactly_once: bool) -> Comparison {
    let role = |name: &str, round: usize| Role {
        name: name.into(),
        bootstrap: broker.bootstrap.clone(),
        input: input.into(),
        output: format!("{input}-{name}-{is_exactly_once}-{round}"),
        records: plan.records,
        is_exactly_once,
        mail_port: 0,
    };
    // Does not count: the broker compiles its code while it runs.
    run(&role(LOOP, plan.rounds)).await;
    let mut pairs = Vec::new();
    for round in 0..plan.rounds {
        let (ours, rival) = (role(OURS, round), role(LOOP, round));
        // The second contender may find the broker busy with what the first has left.
        pairs.push(match round % 2 {
            0 => (run(&ours).await, run(&rival).await),
            _ => {
                let rival = run(&rival).await;
                (run(&ours).await, rival)
            }
        });
    }
    Comparison::of(&pairs)
}

/// One run over a topic of its own.
async fn run(role: &Role) -> Figure {
    topics::create(&role.bootstrap, &role.output).await;
    let figure = role.figure().await;
    checks::assert_one_result_each(&role.bootstrap, &role.output, role.records);
    checks::assert_committed(&role.bootstrap, &role.output, &role.input, role.records);
    topics::delete(&role.bootstrap, &[&role.output]).await;
    figure
}

fn report(job_bytes: usize, is_exactly_once: bool, comparison: &Comparison) -> usize {
    let Comparison { speed, cpu, ours, rival, peak_kib } = comparison;
    let delivery = if is_exactly_once { "exactly-once" } else { "at-least-once" };
    println!(
        "{job_bytes:>6} {delivery:>14} {:>10.0}/s, {:>5.1} {:>12.0}/s, {:>5.1} {speed:>7.2} {cpu:>6.2} \
         {peak_kib:>9}",
        ours[0], ours[1], rival[0], rival[1],
    );
    assert!(*peak_kib < PEAK_LIMIT_KIB, "found a peak of {peak_kib} KiB");
    usize::from(*speed < SPEED_BAR)
}
