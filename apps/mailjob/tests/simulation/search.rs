//! The search over the mail topology.

use jobstream_testkit::simulation::{Broken, Delivery, Report, Search, SmtpStream};
use jobstream_testkit::smtp::SmtpServer;
use mailjob::topology::Topics;

use crate::invariants::{mails_are_accounted_for, mails_are_repeatable, results_are_true};
use crate::jobs::{identity, jobs};
use crate::misfortunes::with_misfortunes;
use crate::outside::{ATTEMPTS, executor, server};

/// Schedules with so many jobs each, and every misfortune that there is.
pub(crate) fn search(delivery: Delivery, count: u64) -> Search<SmtpServer> {
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
        .invariant("mails are accounted for", mails_are_accounted_for)
        .invariant("results are true", results_are_true)
        .invariant("mails are repeatable", mails_are_repeatable)
        .seed(number("SIMULATION_SEED").unwrap_or(0));
    with_misfortunes(search)
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
