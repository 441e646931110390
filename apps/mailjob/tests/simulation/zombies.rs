//! What a zombie does between waking and learning that it has lost its partitions.

use std::collections::{BTreeMap, BTreeSet};

use jobstream::record::TopicPartition;
use jobstream::sinks::Ambiguous;
use jobstream_testkit::broker::When;
use jobstream_testkit::simulation::{
    Delivery, Fault, History, Place, Schedule, Trigger, What, Who, Zombies,
};

use crate::search::{search, search_with_unfenced_ledger};

/// The executions that a zombie has begun.
fn of_zombies(history: &History) -> Vec<&Place> {
    let (mut zombies, mut begun) = (Zombies::default(), Vec::new());
    for (who, entry) in history.of(&history.groups[0]) {
        zombies.follow(who, entry);
        match &entry.what {
            What::Began(place) if zombies.contains(who) => begun.push(place),
            _ => {}
        }
    }
    begun
}

/// Of these, the ones of records that another member had taken in and handed over before.
fn of_handed_over_records(history: &History) -> usize {
    let mut zombies = Zombies::default();
    let mut taken_in: BTreeMap<(Who, &TopicPartition), BTreeSet<i64>> = BTreeMap::new();
    let mut handed_over = BTreeSet::new();
    let mut repeated = 0;
    for (who, entry) in history.of(&history.groups[0]) {
        zombies.follow(who, entry);
        match &entry.what {
            What::Fetched(place) => {
                taken_in.entry((who, &place.partition)).or_default().insert(place.offset);
            }
            What::Released(partition) => {
                let offsets = taken_in.remove(&(who, partition)).unwrap_or_default();
                handed_over.extend(offsets.into_iter().map(|offset| (partition, offset)));
            }
            What::Stopped { unfinished: 0 } => {
                for ((of, partition), offsets) in &taken_in {
                    let offsets = offsets.iter().filter(|_| *of == who);
                    handed_over.extend(offsets.map(|offset| (*partition, *offset)));
                }
            }
            What::Began(place) if zombies.contains(who) => {
                repeated += usize::from(handed_over.contains(&(&place.partition, place.offset)));
            }
            _ => {}
        }
    }
    repeated
}

/// A member that is stopped by its host, and continued, executes what others have finished and
/// handed over meanwhile, until it learns that it is out of its group: a hand-over between live
/// members repeats nothing all the same.
#[test]
fn a_zombie_that_repeats_what_others_have_handed_over_is_no_live_member() {
    // As it was found, among 60,000 schedules.
    let found = Schedule::new([
        Trigger::Step(446).then(Fault::Pause { member: 2, steps: 56, unaware_steps: 0 }),
        Trigger::Step(339).then(Fault::Pause { member: 2, steps: 106, unaware_steps: 0 }),
        Trigger::Step(190).then(Fault::Stop { member: 0, restart_after_steps: 30 }),
        Trigger::Effect { member: 0, effect: "leave", nth: 1, when: When::After }
            .then(Fault::Crash { member: 0, restart_after_steps: 99 }),
        Trigger::Step(298).then(Fault::Outside("554 at Data")),
    ]);
    let paused = (0..40).flat_map(|seed| (3..12).map(move |turn| (seed, turn * 50)));
    let paused = paused.map(|(seed, steps)| {
        let stop = |member| Fault::Stop { member, restart_after_steps: 20 };
        let pause = Fault::Pause { member: 2, steps, unaware_steps: 150 };
        let stops = [0, 1].map(|member| Trigger::Step(50 + steps).then(stop(member)));
        let schedule = [Trigger::Step(150).then(pause)].into_iter().chain(stops);
        (seed, Schedule::new(schedule))
    });
    let search = search(Delivery::AtLeastOnce, 50);
    let repeated = [(5_058_440, found)].into_iter().chain(paused).map(|(seed, schedule)| {
        let played = search.play_schedule(seed, &schedule);
        of_handed_over_records(&played.unwrap_or_else(|broken| panic!("{broken}")))
    });
    assert!(repeated.sum::<usize>() > 0, "no zombie has repeated anything");
}

#[test]
fn without_exactly_once_a_zombie_writes_into_the_ledger_and_the_search_finds_it() {
    let found = search_with_unfenced_ledger(Ambiguous::Park, 50).seed(0).schedules(500).run();
    let broken = found.expect_err("nobody fences a zombie from the ledger");
    let fenced = ["no second mail", "what is parked was in doubt"];
    assert!(fenced.contains(&broken.invariant), "{broken}");
    let history = broken.history.as_ref().unwrap();
    assert!(!of_zombies(history).is_empty(), "no zombie has executed anything:\n{broken}");
}
