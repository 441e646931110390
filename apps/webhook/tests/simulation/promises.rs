//! The promises hold for webhooks, whatever comes.

use std::collections::BTreeMap;

use jobstream::sinks::Ambiguous;
use jobstream_service::Topics;
use jobstream_testkit::simulation::{Delivery, Schedule, Search};

use crate::effects::{header, results};
use crate::outside::Posting;
use crate::receiver::Receiver;
use crate::search::{passes, schedules, search, search_with_ledger};

const POSTINGS: [Posting; 2] = [Posting::Single, Posting::Batches];

/// As many schedules that post each job by itself as in batches.
fn keep_their_promises(search: impl Fn(Posting) -> Search<Receiver>) {
    let schedules = schedules(40);
    for posting in POSTINGS {
        let report = passes(search(posting).schedules(schedules).run());
        assert_eq!((report.schedules, report.jobs), (schedules, 40 * schedules));
    }
}

#[test]
fn requests_and_results_keep_their_promises_at_least_once() {
    keep_their_promises(|posting| search(Delivery::AtLeastOnce, posting, 40));
}

#[test]
fn requests_and_results_keep_their_promises_exactly_once() {
    keep_their_promises(|posting| search(Delivery::ExactlyOnce, posting, 40));
}

#[test]
fn a_ledger_that_resends_bounds_the_deliveries_of_a_job() {
    keep_their_promises(|posting| search_with_ledger(Ambiguous::Resend, posting, 40));
}

#[test]
fn a_ledger_that_parks_delivers_nothing_twice() {
    keep_their_promises(|posting| search_with_ledger(Ambiguous::Park, posting, 40));
}

#[test]
fn with_a_ledger_a_crash_at_every_poll_of_every_member_breaks_nothing() {
    let all = [Ambiguous::Resend, Ambiguous::Park].map(|it| POSTINGS.map(|posting| (it, posting)));
    for (ambiguous, posting) in all.into_iter().flatten() {
        let report = passes(search_with_ledger(ambiguous, posting, 6).every_crash());
        assert_eq!(report.crash_schedules, report.schedules);
        assert!(report.schedules > 50, "found {} polls", report.schedules);
    }
}

#[test]
fn without_faults_every_record_meets_its_fate_once() {
    for posting in POSTINGS {
        let search = search(Delivery::ExactlyOnce, posting, 32);
        let played = search.play_schedule(0, &Schedule::default());
        let history = played.unwrap_or_else(|broken| panic!("{broken}"));
        let mut outcomes = BTreeMap::new();
        for result in results(&history) {
            *outcomes.entry(header(result, "job-outcome")).or_insert(0) += 1;
        }
        let expected = [("accepted", 18), ("ambiguous", 2), ("exhausted", 2), ("rejected", 4)];
        assert_eq!(outcomes, expected.map(|(name, count)| (name.to_owned(), count)).into());
        assert_eq!(history.outputs[&Topics::default().dead_letters].len(), 2);
    }
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let search = search(Delivery::ExactlyOnce, Posting::Batches, 40);
    let play = |seed| search.play_schedule(seed, &Schedule::default()).unwrap().to_string();
    assert_eq!(play(3), play(3));
    assert_ne!(play(3), play(4));
}
