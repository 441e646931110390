//! The promises hold for webhooks, whatever comes.

use std::collections::BTreeMap;

use jobstream::sinks::Ambiguous;
use jobstream_service::Topics;
use jobstream_testkit::simulation::{Delivery, Schedule};

use crate::effects::{header, results};
use crate::search::{passes, schedules, search, search_with_ledger};

#[test]
fn requests_and_results_keep_their_promises_at_least_once() {
    let schedules = schedules(40);
    let report = passes(search(Delivery::AtLeastOnce, 40).schedules(schedules).run());
    assert_eq!((report.schedules, report.jobs), (schedules, 40 * schedules));
}

#[test]
fn requests_and_results_keep_their_promises_exactly_once() {
    let schedules = schedules(40);
    let report = passes(search(Delivery::ExactlyOnce, 40).schedules(schedules).run());
    assert_eq!((report.schedules, report.jobs), (schedules, 40 * schedules));
}

#[test]
fn a_ledger_that_resends_bounds_the_deliveries_of_a_job() {
    let schedules = schedules(40);
    let report = passes(search_with_ledger(Ambiguous::Resend, 40).schedules(schedules).run());
    assert_eq!((report.schedules, report.jobs), (schedules, 40 * schedules));
}

#[test]
fn a_ledger_that_parks_delivers_nothing_twice() {
    let schedules = schedules(40);
    let report = passes(search_with_ledger(Ambiguous::Park, 40).schedules(schedules).run());
    assert_eq!((report.schedules, report.jobs), (schedules, 40 * schedules));
}

#[test]
fn with_a_ledger_a_crash_at_every_poll_of_every_member_breaks_nothing() {
    for ambiguous in [Ambiguous::Resend, Ambiguous::Park] {
        let report = passes(search_with_ledger(ambiguous, 6).every_crash());
        assert_eq!(report.crash_schedules, report.schedules);
        assert!(report.schedules > 50, "found {} polls", report.schedules);
    }
}

#[test]
fn without_faults_every_record_meets_its_fate_once() {
    let played = search(Delivery::ExactlyOnce, 32).play_schedule(0, &Schedule::default());
    let history = played.unwrap_or_else(|broken| panic!("{broken}"));
    let mut outcomes = BTreeMap::new();
    for result in results(&history) {
        *outcomes.entry(header(result, "job-outcome")).or_insert(0) += 1;
    }
    let expected = [("accepted", 18), ("ambiguous", 2), ("exhausted", 2), ("rejected", 4)];
    assert_eq!(outcomes, expected.map(|(name, count)| (name.to_owned(), count)).into());
    assert_eq!(history.outputs[&Topics::default().dead_letters].len(), 2);
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let search = search(Delivery::ExactlyOnce, 40);
    let play = |seed| search.play_schedule(seed, &Schedule::default()).unwrap().to_string();
    assert_eq!(play(3), play(3));
    assert_ne!(play(3), play(4));
}
