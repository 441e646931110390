//! What the ledger costs: `mailjob run` exactly-once with it, beside the same without it, to `smtp-sink`.

use rdkafka::consumer::BaseConsumer;

use super::{Comparison, run, service};
use crate::kafka_broker::Broker;
use crate::process::Role;
use crate::{checks, jobs, topics};

const WITH: &str = "ledger";
const WITHOUT: &str = "none";

/// Connections, and how many jobs may be in doubt; the bars are parts of what goes without a ledger.
struct Setup {
    connections: usize,
    in_doubt: usize,
    speed_bar: f64,
    /// At most so many times the CPU time a job.
    cpu_bar: f64,
}

const SETUPS: [Setup; 2] = [
    Setup { connections: 8, in_doubt: 256, speed_bar: 0.15, cpu_bar: f64::INFINITY },
    Setup { connections: 100, in_doubt: 1_024, speed_bar: 0.5, cpu_bar: 2.0 },
];

/// How many jobs in a run, and how many runs of each.
pub(crate) struct Plan {
    jobs: usize,
    rounds: usize,
}

impl Plan {
    pub(crate) const SHORT: Self = Self { jobs: 20_000, rounds: 1 };
    pub(crate) const FULL: Self = Self { jobs: 20_000, rounds: 5 };
}

/// Measures in turns, prints, and says how many bars were missed.
pub(crate) async fn measure(broker: &Broker, plan: &Plan) -> usize {
    let service = service::build();
    topics::fill(&broker.bootstrap, "ledger-jobs", plan.jobs, jobs::mail_job).await;
    let mut missed = 0;
    for setup in &SETUPS {
        let Setup { connections, in_doubt, .. } = setup;
        println!(
            "exactly-once with a ledger and without, {connections} connections, {in_doubt} in doubt"
        );
        println!(
            "{:>12} {:>9} {:>11} {:>9} {:>11}",
            "", "jobs/s", "CPU us/job", "broker's", "smtp-sink's"
        );
        let mut pairs = Vec::new();
        for round in 0..plan.rounds {
            let role = |name: &str| Role {
                name: name.into(),
                bootstrap: broker.bootstrap.clone(),
                input: "ledger-jobs".into(),
                output: format!("ledger-results-{name}-{connections}-{round}"),
                records: plan.jobs,
                is_exactly_once: true,
                mail_port: 0,
            };
            let start = |role: &Role| {
                let mut settings = vec![
                    ("MAIL_CONNECTIONS", connections.to_string()),
                    ("JOB_DELIVERY", "exactly-once".to_owned()),
                ];
                if role.name == WITH {
                    settings.extend([
                        ("JOB_LEDGER", "kafka".to_owned()),
                        ("JOB_LEDGER_IN_DOUBT", in_doubt.to_string()),
                        ("TOPIC_JOB_RUN_LEDGER", format!("{}-ledger", role.output)),
                    ]);
                }
                service::start(&service, role, &settings)
            };
            let without = run(broker, role(WITHOUT), start, by_positions).await;
            let with = run(broker, role(WITH), start, by_positions).await;
            pairs.push((with, without));
        }
        missed += report(setup, &Comparison::of(&pairs));
    }
    service::forget_logs();
    missed
}

/// By the positions that the group has committed: in the partitions there are the ends of
/// transactions, too.
fn by_positions(reader: &BaseConsumer, role: &Role) -> usize {
    checks::committed(reader, &role.input)
}

fn report(setup: &Setup, comparison: &Comparison) -> usize {
    let Setup { connections, in_doubt, speed_bar, cpu_bar } = setup;
    let Comparison { speed, cpu, ours, rival, peak_kib } = comparison;
    println!(
        "{connections} connections, {in_doubt} in doubt: with a ledger {:.0} jobs/s, {:.1} us a job, peak \
         {peak_kib} KiB; without {:.0} jobs/s, {:.1} us a job: {speed:.2} x the jobs/s (bar {speed_bar}), \
         {cpu:.2} x the CPU a job (bar {cpu_bar})",
        ours[0], ours[1], rival[0], rival[1],
    );
    usize::from(speed < speed_bar) + usize::from(cpu > cpu_bar)
}
