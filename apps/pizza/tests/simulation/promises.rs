//! The promises hold for orders, whatever comes.

use std::ops::Range;

use jobstream_testkit::simulation::{Schedule, on_every_core};
use pizza::topics;

use crate::search::{first_seed, passes, schedules, search};

#[test]
fn every_order_is_delivered_once_under_any_schedule() {
    let schedules = schedules(60);
    let report = passes(search(10, 2).schedules(schedules).run());
    assert_eq!((report.schedules, report.jobs), (schedules, 13 * schedules));
}

#[test]
#[ignore = "needs a minute on every core, with --release"]
fn a_long_search_finds_no_order_lost_or_baked_twice_with_crashes_at_every_effect() {
    let seeds = first_seed()..first_seed() + schedules(3_000);
    let of = |seeds: Range<u64>| {
        let count = seeds.end - seeds.start;
        search(10, 2).seed(seeds.start).schedules(count).run()
    };
    let report = passes(on_every_core(seeds, of));
    for effect in search(10, 2).known_effects() {
        let crashes = report.least_crashes(effect);
        assert!(crashes >= 100, "{effect}: found {crashes} crashes\n{report}");
    }
}

#[test]
fn a_crash_at_every_poll_of_every_service_breaks_nothing() {
    let report = passes(search(3, 1).every_crash());
    assert_eq!(report.crash_schedules, report.schedules);
    assert!(report.schedules > 100, "found {} polls", report.schedules);
}

#[test]
fn without_faults_every_order_goes_its_way() {
    let played = search(10, 2).play_schedule(0, &Schedule::default());
    let history = played.unwrap_or_else(|broken| panic!("{broken}"));
    assert_eq!(history.groups[0].inputs.len(), 13);
    let counts = [topics::ASSEMBLED, topics::BAKED].map(|topic| history.outputs[topic].len());
    assert_eq!(counts, [10, 10]);
    assert!(history.outputs[topics::STATUS].len() >= 30);
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let search = search(10, 2);
    let play = |seed| search.play_schedule(seed, &Schedule::default()).unwrap().to_string();
    assert_eq!(play(3), play(3));
    assert_ne!(play(3), play(4));
}
