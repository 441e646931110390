//! A million jobs, and a crash at every effect often enough to be sure.

use std::ops::Range;

use jobstream::sinks::Ambiguous;
use jobstream_testkit::simulation::{Broken, Delivery, Report, Search, on_every_core};
use jobstream_testkit::smtp::SmtpServer;

use crate::search::{first_seed, passes, schedules, search, search_with_ledger};

const JOBS: u64 = 50;
/// Schedules of each search, where nothing else is said.
const SCHEDULES: u64 = 7_000;
/// What a run has at least.
const JOBS_MIN: u64 = 1_000_000;
const CRASH_SCHEDULES_MIN: u64 = 20_000;
/// How often each effect is crashed at least, before it and after it.
const CRASHES_MIN: u64 = 100;

type NewSearch = fn() -> Search<SmtpServer>;

/// Each with its name.
const SEARCHES: [(&str, NewSearch); 4] = [
    ("at least once", || search(Delivery::AtLeastOnce, JOBS)),
    ("exactly once", || search(Delivery::ExactlyOnce, JOBS)),
    ("with a ledger that resends", || search_with_ledger(Ambiguous::Resend, JOBS)),
    ("with a ledger that parks", || search_with_ledger(Ambiguous::Park, JOBS)),
];

/// One search after another; a search of hours shows what it finds at once, and ends with the others
/// all the same.
fn searched(seeds: &Range<u64>) -> Result<Report, Box<Broken>> {
    let count = seeds.end - seeds.start;
    let searched = SEARCHES.map(|(name, search)| {
        let searched = search().seed(seeds.start).schedules(count).run();
        match &searched {
            Ok(report) => println!("{name}, from seed {} on: {report}", seeds.start),
            Err(broken) => println!("{name}: {broken}"),
        }
        searched
    });
    searched.into_iter().sum()
}

#[test]
#[ignore = "needs a minute or two on every core, with --release"]
fn a_million_jobs_are_neither_lost_nor_sent_twice_with_crashes_at_every_effect() {
    let seeds = first_seed()..first_seed() + schedules(SCHEDULES);
    let report = passes(on_every_core(seeds, |seeds| searched(&seeds)));
    assert!(report.jobs >= JOBS_MIN, "{report}");
    assert!(report.crash_schedules >= CRASH_SCHEDULES_MIN, "{report}");
    let known = search_with_ledger(Ambiguous::Park, JOBS).known_effects();
    for effect in known.into_iter().chain(["execute"]) {
        let crashes = report.least_crashes(effect);
        assert!(crashes >= CRASHES_MIN, "{effect}: found {crashes} crashes\n{report}");
    }
}
