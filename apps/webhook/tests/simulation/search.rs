//! The search over the webhook topology.

use std::time::Duration;

use jobstream::sinks::Ambiguous;
use jobstream::topology::{Limits, Topology};
use jobstream_service::Topics;
use jobstream_testkit::simulation::{Broken, Delivery, Member, Report, Search};

use crate::invariants::{
    no_second_delivery, requests_are_accounted_for, requests_are_bounded, requests_are_repeatable,
    results_are_true,
};
use crate::jobs::{identity, jobs};
use crate::outside::{ATTEMPTS, Posting, executor, executor_with_ledger, receiver};
use crate::receiver::{Act, Receiver};
use crate::stream::POST;

/// The topic of the ledger.
const LEDGER: &str = "topic-job-run-ledger-webhook";

/// Schedules with so many jobs each, and every misfortune that there is.
pub(crate) fn search(delivery: Delivery, posting: Posting, count: u64) -> Search<Receiver> {
    search_of(move |member| executor(member, posting), posting, delivery, count)
}

/// The same with a ledger.
pub(crate) fn search_with_ledger(
    ambiguous: Ambiguous,
    posting: Posting,
    count: u64,
) -> Search<Receiver> {
    let executor = move |member: &_| executor_with_ledger(member, posting, ambiguous);
    let seconds = Duration::from_secs;
    // Drains that time out at times, since a receiver that stalls takes longer.
    let limits = Limits::new().drain_timeout(seconds(1)).shutdown_timeout(seconds(2));
    let search =
        search_of(executor, posting, Delivery::ExactlyOnce, count).state(LEDGER).limits(limits);
    match ambiguous {
        Ambiguous::Resend => search.invariant("requests are bounded", requests_are_bounded),
        Ambiguous::Park => search.invariant("no second delivery", no_second_delivery),
    }
}

fn search_of(
    executor: impl Fn(&Member<Receiver>) -> Topology + 'static,
    posting: Posting,
    delivery: Delivery,
    count: u64,
) -> Search<Receiver> {
    let topics = Topics::default();
    let search = Search::within(receiver, executor)
        .workload(topics.jobs, 3, move |seed| jobs(seed, count, posting == Posting::Single))
        .outputs(topics.results, 2)
        .outputs(topics.dead_letters, 1)
        .identified_by(identity)
        .delivery(delivery)
        .members(3)
        .attempts_max(ATTEMPTS)
        .effects([POST])
        .invariant("requests are accounted for", requests_are_accounted_for)
        .invariant("results are true", results_are_true)
        .invariant("requests are repeatable", requests_are_repeatable)
        .seed(number("SIMULATION_SEED").unwrap_or(0));
    with_misfortunes(search)
}

/// What the receiver can do beside what is usual, to strike once, at the next request.
fn with_misfortunes(mut search: Search<Receiver>) -> Search<Receiver> {
    let second = Duration::from_secs(1);
    for (name, act) in [
        ("closes before it reads", Act::CloseBefore),
        ("closes without an answer", Act::CloseAfter),
        ("does not answer", Act::Stall),
        ("400", Act::answer(400)),
        ("408", Act::answer(408)),
        ("429", Act::answer(429)),
        ("429 for two seconds", Act::with(429, "Retry-After: 2\r\n")),
        ("500", Act::answer(500)),
        ("502", Act::answer(502)),
        ("503", Act::answer(503)),
        ("503 for a second", Act::with(503, "Retry-After: 1\r\n")),
        ("an answer after two seconds", Act::answer(200).after(2 * second)),
        ("an answer that is too late", Act::answer(200).after(5 * second)),
    ] {
        search = search.misfortune(name, move |receiver: &Receiver| receiver.once(act.clone()));
    }
    search
        .misfortune("answers nobody for a while", |receiver: &Receiver| {
            (0..8).for_each(|_| receiver.once(Act::CloseBefore));
        })
        .healed_by(Receiver::heal)
}

/// Schedules in a test; `SIMULATION_SCHEDULES` sets another number.
pub(crate) fn schedules(default: u64) -> u64 {
    number("SIMULATION_SCHEDULES").unwrap_or(default)
}

fn number(variable: &str) -> Option<u64> {
    let set = std::env::var(variable).ok()?;
    Some(set.parse().unwrap_or_else(|_| panic!("{variable}: found {set:?}, expected a number")))
}

pub(crate) fn passes(searched: Result<Report, Box<Broken>>) -> Report {
    let report = searched.unwrap_or_else(|broken| panic!("{broken}"));
    println!("{report}");
    report
}
