//! Real Kafka, started by `scripts/kafka`: what ships, beside what one would write by hand.
//!
//! ```text
//! cargo bench --bench kafka            # all of it, some minutes
//! cargo bench --bench kafka -- --short # for CI: prints the ratios, judges none
//! cargo bench --bench kafka -- --bars  # fails if a bar is missed
//! cargo bench --bench kafka -- --mail  # Kafka to SMTP to Kafka only
//! cargo bench --bench kafka -- --ledger # the same exactly-once, with a ledger and without, only
//! cargo bench --bench kafka -- --restore # a start with 1,000,000 entries in the ledger, only
//! cargo bench --bench kafka -- --pass  # Kafka to Kafka only
//! ```
//!
//! Every contender runs in a process of its own, over topics of its own, in turns with its rival, so
//! that CPU time and peak memory (`VmHWM`) are its own. Every run asserts at its end that each job has
//! one result, no more and no fewer, by the keys of what a `read_committed` reader reads, and that the
//! group's positions are at the end of the jobs (but for the rival by SMTP, whose are not exact).

#![allow(clippy::print_stdout, reason = "a bench prints")]

mod checks;
mod figure;
mod jobs;
#[allow(dead_code, reason = "the bench wants a broker of its own only")]
#[path = "../../tests/kafka_broker/mod.rs"]
mod kafka_broker;
mod mail;
mod pass;
mod process;
mod topics;

use kafka_broker::Broker;
use tokio::runtime::Builder;
use tokio::select;
use tokio::signal::unix::{SignalKind, signal};

/// What is measured, and how much of it.
struct Plan {
    mail: Option<mail::Plan>,
    ledger: Option<mail::ledger::Plan>,
    restore: Option<mail::restore::Plan>,
    pass: Option<pass::Plan>,
    /// Whether a missed bar ends the bench with a failure.
    judges: bool,
}

impl Plan {
    fn from_arguments() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let has = |name: &str| arguments.iter().any(|argument| argument == name);
        let all = !["--mail", "--ledger", "--restore", "--pass"].iter().any(|part| has(part));
        let is_short = has("--short");
        let (mail, ledger) = match is_short {
            true => (mail::Plan::SHORT, mail::ledger::Plan::SHORT),
            false => (mail::Plan::FULL, mail::ledger::Plan::FULL),
        };
        let (restore, pass) = match is_short {
            true => (mail::restore::Plan::SHORT, pass::Plan::SHORT),
            false => (mail::restore::Plan::FULL, pass::Plan::FULL),
        };
        Self {
            mail: (all || has("--mail")).then_some(mail),
            ledger: (all || has("--ledger")).then_some(ledger),
            restore: (all || has("--restore")).then_some(restore),
            pass: (all || has("--pass")).then_some(pass),
            judges: has("--bars"),
        }
    }
}

fn main() {
    if let Some(role) = process::Role::of_this_process() {
        return play(&role);
    }
    let plan = Plan::from_arguments();
    let broker = Broker::start_with(&[]);
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    println!("load {}", process::load());
    let missed = runtime.block_on(async {
        select! {
            biased;
            () = interruption() => None,
            missed = measure(&broker, &plan) => Some(missed),
        }
    });
    println!("load {}", process::load());
    drop(broker);
    let missed = missed.expect("the bench was interrupted");
    if plan.judges {
        assert_eq!(missed, 0, "bars were missed");
    }
}

/// Measures what is planned, and says how many bars were missed. Cancelled, it leaves no process.
async fn measure(broker: &Broker, plan: &Plan) -> usize {
    let mut missed = 0;
    if let Some(mail) = &plan.mail {
        missed += mail::measure(broker, mail).await;
    }
    if let Some(ledger) = &plan.ledger {
        missed += mail::ledger::measure(broker, ledger).await;
    }
    if let Some(restore) = &plan.restore {
        mail::restore::measure(broker, restore).await;
    }
    if let Some(pass) = &plan.pass {
        missed += pass::measure(broker, pass).await;
    }
    missed
}

/// Completes when somebody wants the bench to end.
async fn interruption() {
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be heard");
    let mut interrupt = signal(SignalKind::interrupt()).expect("signals can be heard");
    select! {
        biased;
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// What a process does that the bench has started.
fn play(role: &process::Role) {
    match role.name.as_str() {
        "client" => mail::client::run(role),
        "topology" => pass::topology::run(role),
        "loop" => pass::raw::run(role),
        name => panic!("no contender is called {name}"),
    }
}
