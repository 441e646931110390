//! The search over the mail topology.

use std::time::Duration;

use jobstream::sinks::Ambiguous;
use jobstream::topology::{Limits, Topology};
use jobstream_testkit::simulation::{Broken, Delivery, Member, Report, Search, SmtpStream};
use jobstream_testkit::smtp::SmtpServer;
use mailjob::topology::Topics;

use crate::doubt::{no_more_in_doubt_than_may_be, what_is_parked_was_in_doubt};
use crate::invariants::{
    hang_ups_count_as_they_should, mails_are_accounted_for, mails_are_bounded,
    mails_are_repeatable, mails_go_where_they_should, no_job_fails_for_its_connection,
    no_second_mail, results_are_true,
};
use crate::jobs::{identity, jobs};
use crate::misfortunes::with_misfortunes;
use crate::outside::{ATTEMPTS, executor, executor_with_ledger, server};

/// The topic of the ledger.
const LEDGER: &str = "topic-job-run-ledger";

/// Schedules with so many jobs each, and every misfortune that there is.
pub(crate) fn search(delivery: Delivery, count: u64) -> Search<SmtpServer> {
    search_of(executor, delivery, count)
        .invariant("hang-ups count as they should", hang_ups_count_as_they_should)
}

/// The same with a ledger.
pub(crate) fn search_with_ledger(ambiguous: Ambiguous, count: u64) -> Search<SmtpServer> {
    let executor = move |member: &Member<SmtpServer>| executor_with_ledger(member, ambiguous);
    search_with_ledger_of(executor, Delivery::ExactlyOnce, ambiguous, count)
}

/// The same with a ledger that nobody is fenced from: its promises do not hold.
pub(crate) fn search_with_unfenced_ledger(ambiguous: Ambiguous, count: u64) -> Search<SmtpServer> {
    let executor = move |member: &Member<SmtpServer>| {
        executor_with_ledger(member, ambiguous).with_unfenced_state()
    };
    search_with_ledger_of(executor, Delivery::AtLeastOnce, ambiguous, count)
}

fn search_with_ledger_of(
    executor: impl Fn(&Member<SmtpServer>) -> Topology + 'static,
    delivery: Delivery,
    ambiguous: Ambiguous,
    count: u64,
) -> Search<SmtpServer> {
    let search = search_of(executor, delivery, count)
        .state(LEDGER)
        .limits(short_drains())
        .invariant("no more is in doubt than may be", no_more_in_doubt_than_may_be);
    match ambiguous {
        Ambiguous::Resend => search.invariant("mails are bounded", mails_are_bounded),
        Ambiguous::Park => search
            .invariant("no second mail", no_second_mail)
            .invariant("what is parked was in doubt", what_is_parked_was_in_doubt),
    }
}

/// Drains that time out at times, since a server that stalls takes longer.
fn short_drains() -> Limits {
    let seconds = Duration::from_secs;
    Limits::new().drain_timeout(seconds(1)).shutdown_timeout(seconds(2))
}

fn search_of(
    executor: impl Fn(&Member<SmtpServer>) -> Topology + 'static,
    delivery: Delivery,
    count: u64,
) -> Search<SmtpServer> {
    let topics = Topics::default();
    let search = Search::within(server, executor)
        .workload(topics.jobs, 3, move |seed| jobs(seed, count))
        .outputs(topics.results, 2)
        .outputs(topics.dead_letters, 1)
        .identified_by(identity)
        .delivery(delivery)
        .members(3)
        .attempts_max(ATTEMPTS)
        .effects(SmtpStream::effects())
        .invariant("mails go where they should", mails_go_where_they_should)
        .invariant("mails are accounted for", mails_are_accounted_for)
        .invariant("results are true", results_are_true)
        .invariant("mails are repeatable", mails_are_repeatable)
        .invariant("no job fails for its connection", no_job_fails_for_its_connection)
        .seed(first_seed());
    with_misfortunes(search)
}

/// Schedules in a test; `SIMULATION_SCHEDULES` sets another number.
pub(crate) fn schedules(default: u64) -> u64 {
    number("SIMULATION_SCHEDULES").unwrap_or(default)
}

/// The seed of the first schedule; `SIMULATION_SEED` sets it.
pub(crate) fn first_seed() -> u64 {
    number("SIMULATION_SEED").unwrap_or(0)
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
