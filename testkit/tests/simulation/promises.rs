//! The promises hold, whatever comes.

use jobstream_testkit::simulation::{Broken, Delivery, Report, Schedule};

use crate::workers::{schedules, search};

pub(crate) fn passes(searched: Result<Report, Box<Broken>>) -> Report {
    let report = searched.unwrap_or_else(|broken| panic!("{broken}"));
    println!("{report}");
    report
}

#[test]
fn at_least_once_keeps_its_promises_under_any_schedule() {
    let schedules = schedules(200);
    let report = passes(search(Delivery::AtLeastOnce, 30).schedules(schedules).run());
    assert_eq!(report.schedules, schedules);
}

#[test]
fn exactly_once_keeps_its_promises_under_any_schedule() {
    let schedules = schedules(200);
    let report = passes(search(Delivery::ExactlyOnce, 30).schedules(schedules).run());
    assert_eq!(report.schedules, schedules);
}

#[test]
fn a_crash_at_every_poll_of_every_member_breaks_nothing() {
    for delivery in [Delivery::AtLeastOnce, Delivery::ExactlyOnce] {
        let report = passes(search(delivery, 8).every_crash());
        assert_eq!(report.crash_schedules, report.schedules);
        assert!(report.schedules > 40, "found {} polls", report.schedules);
    }
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let search = search(Delivery::ExactlyOnce, 30);
    let play = |seed| search.play_schedule(seed, &Schedule::default()).unwrap().to_string();
    assert_eq!(play(3), play(3));
    assert_ne!(play(3), play(4));
}
