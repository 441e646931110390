//! Members that have lost their partitions, or give them up.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join;
use jobstream::sinks::Ambiguous;
use tokio::time::sleep;

use crate::noting::{Post, ROOMY, outcomes, produce, results, topology};
use crate::support::stateful::{broker, moved, pair, run_to_the_end, suspended};
use crate::support::{GROUP, JOBS, Task};

const TASKS: u64 = 20;

/// A member that is paused past its session in the middle of its work, and another one.
async fn paused(policy: Ambiguous) -> (Arc<Post>, Arc<Post>, Vec<String>) {
    let broker = broker(1);
    (0..TASKS).for_each(|id| produce(&broker, &Task::new(id).takes(Duration::from_secs(1))));
    let (zombies, others) = (Post::faithful(), Post::faithful());
    let topology_of_zombie = topology(&zombies, policy);
    let topology_of_other = topology(&others, policy);
    let (zombie, member) = pair(&broker, "zombie");
    let (other, _) = pair(&broker, "other");
    let (after, during) = (Duration::from_millis(3_500), Duration::from_secs(60));
    let sleeps = suspended(&broker, member, after, during);
    let works = async {
        sleep(Duration::from_secs(2)).await;
        topology_of_other.run_worker(&other, broker.caught_up(GROUP, JOBS)).await.unwrap();
    };
    let end = sleep(Duration::from_secs(400));
    let (ended, ((), ())) =
        join(topology_of_zombie.run_worker(&zombie, end), join(works, sleeps)).await;
    ended.unwrap();
    assert!(results(&broker).values().eq(&[1; TASKS as usize]), "{:?}", results(&broker));
    (zombies, others, outcomes(&broker))
}

#[tokio::test(start_paused = true)]
async fn a_zombie_begins_nothing_that_its_successor_does_not_count() {
    let (zombies, others, _) = paused(Ambiguous::Resend).await;
    let (by_zombie, by_other) = (zombies.executions(), others.executions());
    let both = by_zombie.keys().filter(|id| by_other.contains_key(id)).count() as u64;
    assert!(by_zombie.len() >= 6 && by_other.len() >= 10, "both have worked");
    assert!((1..=ROOMY.in_doubt_max as u64).contains(&both), "{both} were executed by both");
    assert!(both <= others.resends() && others.resends() <= ROOMY.in_doubt_max as u64);
}

#[tokio::test(start_paused = true)]
async fn a_zombie_and_its_successor_execute_no_job_twice_with_park() {
    let (zombies, others, outcomes) = paused(Ambiguous::Park).await;
    let by_other = others.executions();
    assert!(zombies.executions().keys().all(|id| !by_other.contains_key(id)));
    let parked = outcomes.iter().filter(|outcome| outcome.ends_with("Ambiguous")).count();
    assert!((1..=ROOMY.in_doubt_max).contains(&parked), "{parked} parked");
}

#[tokio::test(start_paused = true)]
async fn a_stop_withdraws_the_intents_of_what_has_had_no_effect_and_leaves_the_others_open() {
    for acts_late in [true, false] {
        let (broker, post) = (broker(1), Post::faithful());
        post.acts_late.store(acts_late, Ordering::Relaxed);
        (0..TASKS).for_each(|id| produce(&broker, &Task::new(id).takes(Duration::from_secs(100))));
        let topology = topology(&post, Ambiguous::Park);
        let (worker, _) = pair(&broker, "first");
        let stop = sleep(Duration::from_secs(1));
        let drained = topology.run_worker(&worker, stop).await.unwrap();
        assert_eq!(drained.unfinished, TASKS as usize);
        let notes =
            ["Intended", "Withdrawn", "LeftInDoubt"].map(|word| post.notes.with(word).len());
        let limit = ROOMY.in_doubt_max;
        assert_eq!(notes, if acts_late { [limit, limit, 0] } else { [limit, 0, limit] });

        run_to_the_end(&topology, &broker).await;
        let outcomes = outcomes(&broker);
        let parked = outcomes.iter().filter(|outcome| outcome.ends_with("Ambiguous")).count();
        assert_eq!((outcomes.len(), parked), (TASKS as usize, notes[2]));
    }
}

#[tokio::test(start_paused = true)]
async fn partitions_that_move_between_live_members_leave_nothing_open() {
    let (broker, post) = (broker(4), Post::faithful());
    let topology = topology(&post, Ambiguous::Park);
    moved(&topology, &broker, 40, |turn| {
        produce(&broker, &Task::new(turn).takes(Duration::from_millis(300)));
    })
    .await;
    let expected: Vec<_> = (0..40).map(|id| format!("{id} fresh")).collect();
    let mut found = outcomes(&broker);
    found.sort_by_key(|outcome| outcome.split(' ').next().and_then(|id| id.parse::<u64>().ok()));
    assert_eq!(found, expected);
}
