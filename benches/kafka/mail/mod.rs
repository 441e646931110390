//! Kafka to SMTP to Kafka: `mailjob run`, as it ships and logs, beside the client that one would write
//! in Rust today, and beside the strongest peer known, all to Postfix's `smtp-sink` with 100 connections.
//!
//! A run is measured from the first results that are seen to the last one, so that neither the start
//! nor the group's first assignment counts.

pub(crate) mod client;
mod golang;
pub(crate) mod ledger;
pub(crate) mod restore;
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
/// The contender that ships, and franz-go with go-mail.
const OURS: &str = "mailjob";
const GO: &str = "franz-go";
/// The rival whose positions are not exact.
const CLIENT: &str = "client";
/// How often the results are counted.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What one run may take.
const RUN_LIMIT: Duration = Duration::from_secs(120);
/// At least so much of the rival's jobs a second.
const SPEED_BAR: f64 = 6.0;
/// At most so much of the rival's CPU time a job.
const CPU_BAR: f64 = 0.3;

/// What we are after beside franz-go: a goal, which ends no bench with a failure.
const GO_SPEED: f64 = 5.0;
const GO_CPU: f64 = 0.2;

/// How many jobs in a run, for each; the rivals are slower.
pub(crate) struct Plan {
    jobs: usize,
    client_jobs: usize,
    go_jobs: usize,
    rounds: usize,
}

impl Plan {
    pub(crate) const SHORT: Self =
        Self { jobs: 20_000, client_jobs: 4_000, go_jobs: 10_000, rounds: 1 };
    pub(crate) const FULL: Self =
        Self { jobs: 100_000, client_jobs: 15_000, go_jobs: 50_000, rounds: 5 };
}

/// Measures in turns, prints, and says how many bars were missed.
pub(crate) async fn measure(broker: &Broker, plan: &Plan) -> usize {
    println!("Kafka to SMTP to Kafka, {CONNECTIONS} connections");
    println!(
        "{:>12} {:>9} {:>11} {:>9} {:>11}",
        "", "jobs/s", "CPU us/job", "broker's", "smtp-sink's"
    );
    let service = service::build();
    let go = golang::build(&service::folder());
    let bootstrap = &broker.bootstrap;
    topics::fill(bootstrap, "mail-jobs", plan.jobs, jobs::mail_job).await;
    topics::fill(bootstrap, "mail-jobs-few", plan.client_jobs, jobs::mail_job).await;
    if go.is_some() {
        topics::fill(bootstrap, "mail-jobs-some", plan.go_jobs, jobs::mail_job).await;
    }
    let (mut pairs, mut pairs_with_go) = (Vec::new(), Vec::new());
    for round in 0..plan.rounds {
        let client = role(broker, CLIENT, "mail-jobs-few", plan.client_jobs, round);
        let start = |role: &Role| Running::start(&mut role.command());
        let rival = run(broker, client, start, by_results).await;
        let ours = role(broker, OURS, "mail-jobs", plan.jobs, round);
        let settings = [("MAIL_CONNECTIONS", CONNECTIONS.to_string())];
        let start = |role: &Role| service::start(&service, role, &settings);
        let ours = run(broker, ours, start, by_results).await;
        pairs.push((ours, rival));
        if let Some(go) = &go {
            let peer = role(broker, GO, "mail-jobs-some", plan.go_jobs, round);
            let peer = run(broker, peer, |role| golang::start(go, role), by_results).await;
            pairs_with_go.push((ours, peer));
        }
    }
    service::forget_logs();
    if !pairs_with_go.is_empty() {
        report_of_go(&Comparison::of(&pairs_with_go));
    }
    report(&Comparison::of(&pairs))
}

fn role(broker: &Broker, name: &str, input: &str, records: usize, round: usize) -> Role {
    Role {
        name: name.into(),
        bootstrap: broker.bootstrap.clone(),
        input: input.into(),
        output: format!("mail-results-{name}-{round}"),
        records,
        is_exactly_once: false,
        mail_port: 0,
    }
}

fn report_of_go(comparison: &Comparison) {
    let Comparison { speed, cpu, ours, rival, .. } = comparison;
    println!(
        "mailjob {:.0} jobs/s, {:.1} us a job; franz-go with go-mail {:.0} jobs/s, {:.1} us a job: \
         {speed:.2} x its jobs/s (goal {GO_SPEED}), {cpu:.2} x its CPU a job (goal {GO_CPU})",
        ours[0], ours[1], rival[0], rival[1],
    );
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
