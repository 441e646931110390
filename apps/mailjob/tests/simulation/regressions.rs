//! What has gone wrong in the field with others' consumers, as fixed schedules. Each test asserts
//! that the situation has come up, and the search's invariants judge what came of it.

use jobstream::record::TopicPartition;
use jobstream_testkit::broker::{Operation, When};
use jobstream_testkit::simulation::{Delivery, Fault, History, Planned, Schedule, Trigger, What};

use crate::search::search;

const JOBS: u64 = 40;

fn play(delivery: Delivery, faults: impl IntoIterator<Item = Planned>) -> History {
    let schedule = Schedule::new(faults);
    let played = search(delivery, JOBS).play_schedule(0, &schedule);
    played.unwrap_or_else(|broken| panic!("{broken}"))
}

fn when(member: usize, effect: &'static str, nth: u64, when: When) -> Trigger {
    Trigger::Effect { member, effect, nth, when }
}

fn count(history: &History, is_it: impl Fn(&What) -> bool) -> usize {
    history.entries.iter().filter(|entry| is_it(&entry.what)).count()
}

/// Whether a member was asked for a partition while an execution of it was under way, and gave it up
/// after that had ended.
fn drained_an_execution(history: &History) -> bool {
    let revocations = history.entries.iter().enumerate().filter_map(|(index, entry)| {
        let What::Revoked(partition) = &entry.what else { return None };
        Some((&history.entries[index..], entry.who, partition))
    });
    let mut drained = revocations.filter(|(rest, who, partition)| {
        let mut rest = rest.iter().filter(|entry| entry.who == *who).map(|entry| &entry.what);
        let of_it = |what: &What| {
            matches!(what, What::Executed(place, _) if place.partition == **partition)
        };
        rest.by_ref().take_while(|what| !is_release(what, partition)).any(of_it)
            && rest.any(|what| is_release(what, partition))
    });
    drained.next().is_some()
}

fn is_release(what: &What, partition: &TopicPartition) -> bool {
    matches!(what, What::Released(released) if released == partition)
}

/// A consumer that gives its partition up, or is fenced, before what is in flight is committed
/// posts it twice.
#[test]
fn a_partition_that_moves_away_during_executions_is_drained_first() {
    for delivery in [Delivery::AtLeastOnce, Delivery::ExactlyOnce] {
        let moves = (0..3).map(|partition| {
            let away = Fault::Move { partition, to: 1 };
            when(0, "smtp text", 2, When::Before).then(away)
        });
        let history = play(delivery, moves);
        assert!(drained_an_execution(&history), "nothing was drained:\n{history}");
    }
}

/// A consumer that defers the unassignment until its drain has ended, and is assigned the partition
/// anew meanwhile, unassigns the new one and stands still.
#[test]
fn a_release_that_a_newer_assignment_overtakes_strands_nobody() {
    let away = Fault::Move { partition: 2, to: 1 };
    let back = Fault::Move { partition: 2, to: 0 };
    let hang = Fault::Hang { member: Some(0), operation: Operation::Release, steps: 60 };
    let history = play(
        Delivery::AtLeastOnce,
        [
            when(0, "execute", 3, When::Before).then(hang),
            when(0, "execute", 3, When::Before).then(away),
            when(0, "release", 1, When::Before).then(Fault::Expire { member: 0, unaware_steps: 0 }),
            when(0, "join", 2, When::After).then(back),
        ],
    );
    let again = count(&history, |what| {
        matches!(what, What::Assigned(partition, generation)
            if partition.partition == 2 && *generation > 1)
    });
    assert!(again > 0, "the partition did not come back:\n{history}");
}

/// A consumer that forgets what is finished above its frontier at every rebalance repeats it, or
/// never commits at all.
#[test]
fn frequent_rebalances_forget_no_finished_record() {
    for delivery in [Delivery::AtLeastOnce, Delivery::ExactlyOnce] {
        let moves = (0..60).map(|turn| {
            let (partition, to) = ((turn % 3) as i32, (turn / 3 % 3) as usize);
            Trigger::Step(30 + turn * 12).then(Fault::Move { partition, to })
        });
        let history = play(delivery, moves);
        let released = count(&history, |what| matches!(what, What::Released(_)));
        assert!(released >= 10, "found {released} hand-overs, expected 10 at least");
    }
}

/// A commit of an older assignment that fails must not keep those of the newer one from being made.
#[test]
fn positions_of_an_older_assignment_hold_up_no_newer_ones() {
    for delivery in [Delivery::AtLeastOnce, Delivery::ExactlyOnce] {
        let hang = Fault::Hang { member: Some(0), operation: Operation::Commit, steps: 40 };
        let history = play(
            delivery,
            [
                when(0, "execute", 2, When::After).then(hang),
                when(0, "commit", 1, When::Before)
                    .then(Fault::Expire { member: 0, unaware_steps: 0 }),
                when(0, "commit", 3, When::Before)
                    .then(Fault::Expire { member: 0, unaware_steps: 0 }),
            ],
        );
        let refused =
            count(&history, |what| matches!(what, What::CommitFailed(_) | What::PublishFailed(_)));
        assert!(refused > 0, "no commit was refused:\n{history}");
    }
}

/// A consumer that goes on at the offset that it had reached, or that takes what was finished in the
/// topic before for finished, misses the first jobs of the new one.
#[test]
fn a_topic_that_is_created_again_is_worked_on_from_its_start() {
    for (delivery, jobs) in
        [Delivery::AtLeastOnce, Delivery::ExactlyOnce].into_iter().flat_map(|d| [(d, 0), (d, 20)])
    {
        let recreated = when(0, "execute", 5, When::After).then(Fault::Recreate { jobs });
        let history = play(delivery, [recreated]);
        let of_the_new_life =
            count(&history, |what| matches!(what, What::Finished(place, _) if place.life == 1));
        assert!(of_the_new_life >= JOBS as usize / 4, "found {of_the_new_life}:\n{history}");
    }
}

/// A consumer that waits at the offset that it had reached misses what comes where the log has lost its
/// end.
#[test]
fn a_log_that_has_lost_its_end_is_worked_on_again() {
    for delivery in [Delivery::AtLeastOnce, Delivery::ExactlyOnce] {
        let lost = (0..3).map(|partition| {
            let lost = Fault::LoseEnd { partition, offsets: 4 };
            when(0, "execute", 5, When::After).then(lost)
        });
        let history = play(delivery, lost);
        let anew = count(&history, |what| matches!(what, What::Reset(..)));
        let of_new_lives =
            count(&history, |what| matches!(what, What::Finished(place, _) if place.life > 0));
        assert!(anew > 0 && of_new_lives > 0, "found {anew}, {of_new_lives}:\n{history}");
    }
}

/// A pool that takes a connection back while an answer is outstanding gives the next mail an answer
/// that is not its own: a refused mail counts as sent.
#[test]
fn a_connection_whose_answer_is_outstanding_carries_no_other_mail() {
    for at in ["smtp text", "smtp MAIL"] {
        let cut_off = (1..8).filter(|nth| {
            let history = play(
                Delivery::AtLeastOnce,
                [
                    Trigger::Step(0).then(Fault::Outside("Delay(2s) at Dot")),
                    when(0, at, *nth, When::After)
                        .then(Fault::Expire { member: 0, unaware_steps: 0 }),
                ],
            );
            let dropped = count(&history, |what| matches!(what, What::Cancelled(_)));
            let struck = count(&history, |what| matches!(what, What::Fault(Fault::Expire { .. })));
            assert!(dropped > 0 || struck == 0, "no send was cut off, {at} {nth}:\n{history}");
            dropped > 0
        });
        // Where two writes end within one poll, nothing strikes at the first of them.
        let cut_off = cut_off.count();
        assert!(cut_off >= 5, "{at}: found {cut_off} schedules that cut off a send, expected 5");
    }
}
