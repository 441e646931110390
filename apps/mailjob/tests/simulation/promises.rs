//! The promises hold for mails, whatever comes.

use std::collections::BTreeMap;

use jobstream_testkit::simulation::{Delivery, Schedule};
use mailjob::topology::Topics;

use crate::effects::{header, results};
use crate::search::{passes, schedules, search};

#[test]
fn mails_and_results_keep_their_promises_at_least_once() {
    let schedules = schedules(60);
    let report = passes(search(Delivery::AtLeastOnce, 50).schedules(schedules).run());
    assert_eq!((report.schedules, report.jobs), (schedules, 50 * schedules));
}

#[test]
fn mails_and_results_keep_their_promises_exactly_once() {
    let schedules = schedules(60);
    let report = passes(search(Delivery::ExactlyOnce, 50).schedules(schedules).run());
    assert_eq!((report.schedules, report.jobs), (schedules, 50 * schedules));
}

#[test]
fn a_crash_at_every_poll_of_every_member_breaks_nothing() {
    let report = passes(search(Delivery::ExactlyOnce, 6).every_crash());
    assert_eq!(report.crash_schedules, report.schedules);
    assert!(report.schedules > 50, "found {} polls", report.schedules);
}

#[test]
fn without_faults_every_record_meets_its_fate_once() {
    let played = search(Delivery::ExactlyOnce, 32).play_schedule(0, &Schedule::default());
    let history = played.unwrap_or_else(|broken| panic!("{broken}"));
    let mut outcomes = BTreeMap::new();
    for result in results(&history) {
        *outcomes.entry(header(result, "job-outcome")).or_insert(0) += 1;
    }
    let expected = [("accepted", 18), ("exhausted", 2), ("rejected", 6)];
    assert_eq!(outcomes, expected.map(|(name, count)| (name.to_owned(), count)).into());
    assert_eq!(history.outputs[&Topics::default().dead_letters].len(), 2);
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let search = search(Delivery::ExactlyOnce, 50);
    let play = |seed| search.play_schedule(seed, &Schedule::default()).unwrap().to_string();
    // With a login, without; with TLS.
    for seed in [3, 5, 6] {
        assert_eq!(play(seed), play(seed));
        assert_ne!(play(seed), play(seed + 1));
    }
}
