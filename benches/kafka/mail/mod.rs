//! Kafka to SMTP to Kafka: `mailjob run`, as it ships and logs, beside the client that one would write
//! today, both to Postfix's `smtp-sink` with 100 connections.
//!
//! A run is measured from the first results that are seen to the last one, so that neither the start
//! nor the group's first assignment counts.

pub(crate) mod client;
pub(crate) mod ledger;
mod server;
mod service;

use std::time::Duration;

use rdkafka::consumer::BaseConsumer;
use tokio::time::{Instant, sleep, timeout};

use self::server::Server;
use super::figure::{Comparison, Figure};
use super::kafka_broker::Broker;
use super::process::{Role, Running, cpu_seconds, peak_kib, pid_in};
use super::{checks, jobs, topics};

/// Connections, and jobs in flight of the rival.
pub(crate) const CONNECTIONS: usize = 100;
/// The contender that ships.
const OURS: &str = "mailjob";
/// Its rival, whose positions are not exact.
const CLIENT: &str = "client";
/// How often the results are counted.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What one run may take.
const RUN_LIMIT: Duration = Duration::from_secs(120);
/// At least so much of the rival's jobs a second.
const SPEED_BAR: f64 = 6.0;
/// At most so much of the rival's CPU time a job.
const CPU_BAR: f64 = 0.3;

/// How many jobs in a run, for each; the rival is slower.
pub(crate) struct Plan {
    jobs: usize,
    client_jobs: usize,
    rounds: usize,
}

impl Plan {
    pub(crate) const SHORT: Self = Self { jobs: 20_000, client_jobs: 4_000, rounds: 1 };
    pub(crate) const FULL: Self = Self { jobs: 100_000, client_jobs: 15_000, rounds: 5 };
}

/// Measures in turns, prints, and says how many bars were missed.
pub(crate) async fn measure(broker: &Broker, plan: &Plan) -> usize {
    println!("Kafka to SMTP to Kafka, {CONNECTIONS} connections");
    println!(
        "{:>12} {:>9} {:>11} {:>9} {:>11}",
        "", "jobs/s", "CPU us/job", "broker's", "smtp-sink's"
    );
    let service = service::build();
    let bootstrap = &broker.bootstrap;
    topics::fill(bootstrap, "mail-jobs", plan.jobs, jobs::mail_job).await;
    topics::fill(bootstrap, "mail-jobs-few", plan.client_jobs, jobs::mail_job).await;
    let mut pairs = Vec::new();
    for round in 0..plan.rounds {
        let role = |name: &str, input: &str, records| Role {
            name: name.into(),
            bootstrap: bootstrap.clone(),
            input: input.into(),
            output: format!("mail-results-{name}-{round}"),
            records,
            is_exactly_once: false,
            mail_port: 0,
        };
        let client = role(CLIENT, "mail-jobs-few", plan.client_jobs);
        let start = |role: &Role| Running::start(&mut role.command());
        let rival = run(broker, client, start, by_results).await;
        let role = role(OURS, "mail-jobs", plan.jobs);
        let settings = [("MAIL_CONNECTIONS", CONNECTIONS.to_string())];
        let start = |role: &Role| service::start(&service, role, &settings);
        let ours = run(broker, role, start, by_results).await;
        pairs.push((ours, rival));
    }
    service::forget_logs();
    report(&Comparison::of(&pairs))
}

fn report(comparison: &Comparison) -> usize {
    let Comparison { speed, cpu, ours, rival, peak_kib } = comparison;
    println!(
        "mailjob {:.0} jobs/s, {:.1} us a job, peak {peak_kib} KiB; client {:.0} jobs/s, {:.1} us a \
         job: {speed:.2} x its jobs/s (bar {SPEED_BAR}), {cpu:.2} x its CPU a job (bar {CPU_BAR})",
        ours[0], ours[1], rival[0], rival[1],
    );
    usize::from(*speed < SPEED_BAR) + usize::from(*cpu > CPU_BAR)
}

/// CPU time of everything that takes part.
struct Cpu {
    own: f64,
    broker: f64,
    server: f64,
}

impl Cpu {
    fn now(own: &Running, broker: &Broker, server: &Server) -> Self {
        Self {
            own: cpu_seconds(own.pid()),
            broker: cpu_seconds(pid_in(broker.file("node-0.pid"))),
            server: cpu_seconds(server.pid()),
        }
    }
}

/// How many jobs are done, as a reader sees it.
type Count = fn(&BaseConsumer, &Role) -> usize;

/// By the ends of the results' partitions, where these hold nothing but results.
fn by_results(reader: &BaseConsumer, role: &Role) -> usize {
    checks::results(reader, &role.output)
}

async fn run(
    broker: &Broker,
    mut role: Role,
    start: impl Fn(&Role) -> Running,
    count: Count,
) -> Figure {
    topics::create(&role.bootstrap, &role.output).await;
    let server = Server::start().await;
    role.mail_port = server.port();
    let reader = checks::reader(&role.bootstrap, &role.output);
    let mut contender = start(&role);
    let until = async |contender: &mut Running, results: usize| {
        loop {
            contender.assert_runs();
            let found = count(&reader, &role);
            if found >= results {
                return found;
            }
            sleep(LOOK_EVERY).await;
        }
    };
    let awaited = timeout(RUN_LIMIT, async {
        let first = until(&mut contender, 1).await;
        let (began, cpu) = (Instant::now(), Cpu::now(&contender, broker, &server));
        until(&mut contender, role.records).await;
        (first, began.elapsed(), cpu)
    });
    let (first, took, before) = awaited.await.expect("the run ends");
    let after = Cpu::now(&contender, broker, &server);
    let peak_kib = peak_kib(contender.pid());
    contender.end();
    server.assert_mails(role.records);
    checks::assert_one_result_each(&role.bootstrap, &role.output, role.records);
    if role.name != CLIENT {
        checks::assert_committed(&role.bootstrap, &role.output, &role.input, role.records);
    }
    let figure = Figure {
        records: role.records - first,
        seconds: took.as_secs_f64(),
        cpu_seconds: after.own - before.own,
        peak_kib,
    };
    let micros = |seconds: f64| seconds * 1e6 / figure.records as f64;
    println!(
        "{:>12} {:>9.0} {:>11.1} {:>9.1} {:>11.1}",
        role.name,
        figure.per_second(),
        figure.cpu_micros(),
        micros(after.broker - before.broker),
        micros(after.server - before.server),
    );
    figure
}
