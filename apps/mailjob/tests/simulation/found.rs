//! What long searches have found: the smallest schedules that have broken a promise once, each with its
//! seed.

use jobstream::sinks::Ambiguous;
use jobstream_testkit::broker::When;
use jobstream_testkit::simulation::{
    Delivery, Fault, ForeignOffset, Planned, Schedule, Search, Trigger,
};
use jobstream_testkit::smtp::SmtpServer;

use crate::search::{search, search_with_ledger};

const JOBS: u64 = 50;

fn at(member: usize, effect: &'static str, nth: u64, when: When) -> Trigger {
    Trigger::Effect { member, effect, nth, when }
}

fn holds(search: &Search<SmtpServer>, seed: u64, faults: impl IntoIterator<Item = Planned>) {
    let played = search.play_schedule(seed, &Schedule::new(faults));
    played.unwrap_or_else(|broken| panic!("{broken}"));
}

/// A replaced member ends with its transaction open: what stands behind it comes to light when that has
/// timed out, and is not lost.
#[test]
fn a_transaction_that_a_replaced_member_leaves_open_hides_nothing_for_ever() {
    let search = search(Delivery::ExactlyOnce, JOBS);
    let replaced = Fault::Replace { member: 2, unaware_steps: 55 };
    holds(
        &search,
        61_020_631,
        [
            at(2, "smtp RCPT", 1, When::Before).then(replaced),
            at(0, "fetch", 1, When::Before).then(Fault::Move { partition: 2, to: 0 }),
            at(2, "smtp RCPT", 1, When::After).then(Fault::Recreate { jobs: 1 }),
        ],
    );
}

/// A job that was in doubt, was resent and is refused then: between the ledger's word of that and the
/// job's result the process dies, and the job is executed a third time. Its resends still count.
#[test]
fn a_refusal_forgets_no_resend_before_the_result_is_durable() {
    let search = search_with_ledger(Ambiguous::Resend, JOBS);
    holds(
        &search,
        61_223_839,
        [
            Trigger::Step(341).then(Fault::Crash { member: 1, restart_after_steps: 1 }),
            at(1, "publish", 3, When::After)
                .then(Fault::Crash { member: 1, restart_after_steps: 94 }),
            at(1, "commit", 4, When::Before).then(Fault::Outside("554 at Data")),
        ],
    );
}

/// A member that was out of its group decides by a ledger that another one goes on writing; it is fenced,
/// and gets the partition back later. What it had decided counts no more.
#[test]
fn what_a_fenced_member_has_decided_by_its_ledger_does_not_outlive_the_assignment() {
    let search = search_with_ledger(Ambiguous::Park, JOBS);
    let (offset, metadata) = (ForeignOffset::BeyondTheEnd, Some("consumer-7@host"));
    let back = ForeignOffset::Back(3);
    holds(
        &search,
        61_140_524,
        [
            Trigger::Step(213).then(Fault::ForeignCommit {
                partition: 2,
                offset: back,
                metadata: None,
            }),
            at(0, "release", 1, When::After).then(Fault::Pause {
                member: 2,
                steps: 116,
                unaware_steps: 27,
            }),
            at(0, "publish", 1, When::After).then(Fault::ForeignCommit {
                partition: 2,
                offset,
                metadata,
            }),
        ],
    );
    holds(
        &search,
        61_023_954,
        [
            at(2, "restore", 3, When::Before).then(Fault::Pause {
                member: 0,
                steps: 102,
                unaware_steps: 34,
            }),
            Trigger::Step(121).then(Fault::Away { steps: 15 }),
            at(0, "join", 1, When::After)
                .then(Fault::Crash { member: 0, restart_after_steps: 124 }),
            at(2, "end", 8, When::Before)
                .then(Fault::Crash { member: 2, restart_after_steps: 106 }),
            Trigger::Step(663).then(Fault::Pause { member: 2, steps: 67, unaware_steps: 182 }),
        ],
    );
}

/// A log loses its end just before another program commits: what is left of it is worked on again, by that
/// commit, before anybody has seen the offsets go back.
#[test]
fn a_commit_of_another_program_after_a_lost_end_reopens_what_was_finished() {
    let search = search_with_ledger(Ambiguous::Resend, JOBS);
    let back = ForeignOffset::Back(6);
    holds(
        &search,
        61_076_537,
        [
            at(0, "publish", 3, When::Before).then(Fault::LoseEnd { partition: 1, offsets: 6 }),
            at(0, "smtp RCPT", 1, When::After)
                .then(Fault::Stop { member: 0, restart_after_steps: 35 }),
            Trigger::Step(555).then(Fault::ForeignCommit {
                partition: 1,
                offset: back,
                metadata: None,
            }),
        ],
    );
}
