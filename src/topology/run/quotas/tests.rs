//! Keys take turns, and none exceeds its limits.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::super::capacity::Load;
use super::*;

/// All jobs that may begin.
fn begin(quotas: &mut Quotas<char>, now: Instant) -> String {
    std::iter::from_fn(|| quotas.next(now, |_| 1)).collect()
}

fn add(quotas: &mut Quotas<char>, key: KeyHash, jobs: &str) {
    for job in jobs.chars() {
        quotas.enter(key, 1);
        quotas.wait(key, job, false);
    }
}

#[test]
fn keys_take_turns_and_what_is_due_goes_first() {
    let (mut quotas, now) = (Quotas::new(KeyLimits::new()), Instant::now());
    add(&mut quotas, 1, "abcd");
    add(&mut quotas, 2, "xy");
    add(&mut quotas, 3, "z");
    assert_eq!(begin(&mut quotas, now), "axzbycd");
    quotas.ended(1, 1);
    add(&mut quotas, 1, "e");
    quotas.wait(1, 'a', true);
    assert_eq!(begin(&mut quotas, now), "ae");
    assert_eq!(quotas.held_of(1).waiting.jobs, 0);
    assert_eq!(quotas.held().executing, Load { jobs: 8, bytes: 8 });
}

#[test]
fn a_key_at_its_limit_lets_the_others_begin_and_goes_on_when_a_job_ends() {
    let limits = KeyLimits::new().executing_jobs(Some(2));
    let (mut quotas, now) = (Quotas::new(limits), Instant::now());
    add(&mut quotas, 1, "abcd");
    add(&mut quotas, 2, "x");
    assert_eq!(begin(&mut quotas, now), "axb");
    assert_eq!(quotas.held_of(1).waiting, Load { jobs: 2, bytes: 2 });
    assert_eq!(quotas.take_out(|job| job == 'c'), ['c']);
    quotas.leave(1, 1);
    quotas.ended(1, 1);
    quotas.leave(1, 1);
    assert_eq!(begin(&mut quotas, now), "d");
}

#[test]
fn what_is_known_of_keys_without_jobs_is_forgotten_with_time_and_has_a_limit() {
    let limits = KeyLimits::new().rate(1, Duration::from_secs(1));
    let (mut quotas, now) = (Quotas::new(limits), Instant::now());
    for key in 0..KNOWN_RATES_MAX as u64 + 10 {
        add(&mut quotas, key, "a");
        assert_eq!(begin(&mut quotas, now), "a");
        quotas.ended(key, 1);
        quotas.leave(key, 1);
    }
    assert_eq!(quotas.quotas.len(), KNOWN_RATES_MAX);
    assert_eq!(begin(&mut quotas, now + Duration::from_secs(1)), "");
    assert!(quotas.quotas.is_empty() && quotas.idle.is_empty());
}

/// Begins all that may begin, and holds each key against its limits.
fn check(
    quotas: &mut Quotas<u64>,
    (limits, now): (KeyLimits, Instant),
    executing: &mut Vec<u64>,
    begins: &mut BTreeMap<u64, Vec<Instant>>,
) {
    while let Some(key) = quotas.next(now, |_| 1) {
        executing.push(key);
        let begins = begins.entry(key).or_default();
        begins.push(now);
        for (index, first) in begins.iter().enumerate() {
            let in_time = (now - *first).as_nanos() / limits.attempt_interval.as_nanos();
            let most = in_time as usize + limits.burst_attempts as usize;
            assert!(begins.len() - index <= most, "a key begins too often");
        }
        let of_key = executing.iter().filter(|other| **other == key).count();
        assert!(of_key <= limits.executing_max(), "{of_key} of one key execute");
    }
}

proptest! {
    /// A job is its key here.
    #[test]
    fn no_key_exceeds_its_limits_and_each_job_begins_in_the_end(
        steps in prop::collection::vec((0_u64..4, 0_u8..4, 0_u64..30), 1..120),
        most in 1_usize..4,
        burst in 1_u32..4,
    ) {
        let interval = Duration::from_millis(10);
        let limits = KeyLimits::new().executing_jobs(Some(most)).rate(1, interval);
        let limits = limits.burst_attempts(burst);
        let (mut quotas, mut now) = (Quotas::new(limits), Instant::now());
        let (mut executing, mut begins) = (Vec::new(), BTreeMap::new());
        let mut jobs = 0;
        for (key, step, wait_ms) in steps {
            now += Duration::from_millis(wait_ms);
            match (step, executing.pop()) {
                (0, Some(key)) => {
                    quotas.ended(key, 1);
                    quotas.wait(key, key, true);
                    jobs += 1;
                }
                (1 | 2, Some(key)) => {
                    quotas.ended(key, 1);
                    quotas.leave(key, 1);
                }
                (_, other) => {
                    executing.extend(other);
                    quotas.enter(key, 1);
                    quotas.wait(key, key, false);
                    jobs += 1;
                }
            }
            check(&mut quotas, (limits, now), &mut executing, &mut begins);
        }
        while !executing.is_empty() || quotas.wakes_at().is_some() {
            for key in executing.drain(..) {
                quotas.ended(key, 1);
                quotas.leave(key, 1);
            }
            now = quotas.wakes_at().unwrap_or(now).max(now);
            check(&mut quotas, (limits, now), &mut executing, &mut begins);
        }
        prop_assert_eq!(begins.values().map(Vec::len).sum::<usize>(), jobs);
        now += interval * (burst + 1);
        check(&mut quotas, (limits, now), &mut executing, &mut begins);
        prop_assert!(quotas.quotas.is_empty() && quotas.idle.is_empty());
        prop_assert!(quotas.turns.is_empty() && quotas.later.is_empty());
    }
}
