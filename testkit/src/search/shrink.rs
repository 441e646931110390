//! Makes a schedule smaller by playing it again.

use std::io;
use std::time::Duration;

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use tokio::time::Instant;

use super::fault::Planned;
use super::promise::Verdict;
use super::schedule::Schedule;

/// Plays that a schedule is made smaller with, at most, and for how long.
const PLAYS_MAX: usize = 200;
const SHRINKING_MAX: Duration = Duration::from_secs(5 * 60);

/// Where schedules are played: the program, or what pretends to be one.
#[async_trait]
pub(super) trait Theatre: Sync {
    /// A play's findings.
    type Play: Send;

    async fn play(&self, schedule: &Schedule) -> io::Result<Self::Play>;

    fn verdict(play: &Self::Play) -> &Verdict;
}

/// How often a schedule must break its promise to be kept: in so many plays of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plays {
    /// In how many, at least.
    pub broken: usize,
    /// Of how many.
    pub of: usize,
}

/// The smallest schedule that was found.
#[derive(Debug)]
pub(super) struct Shrunk<P> {
    pub(super) schedule: Schedule,
    /// In how many of its last plays it has broken the promise.
    pub(super) broken: usize,
    pub(super) of: usize,
    /// A play that has shown it.
    pub(super) play: P,
}

/// Of several plays, how many have the verdict, and the last of these.
struct Repeated<P> {
    broken: usize,
    of: usize,
    play: Option<P>,
}

pub(super) struct Shrinking<'a, T: Theatre> {
    pub(super) theatre: &'a T,
    pub(super) plays: Plays,
    /// How many plays at once.
    pub(super) parallel: usize,
    left: usize,
    ends: Instant,
}

impl<'a, T: Theatre> Shrinking<'a, T> {
    pub(super) fn new(theatre: &'a T, plays: Plays, parallel: usize) -> Self {
        let ends = Instant::now() + SHRINKING_MAX;
        Self { theatre, plays, parallel, left: PLAYS_MAX, ends }
    }

    /// Tries smaller schedules until none of them breaks the promise as often as asked for. A schedule
    /// that does not break it so often itself stays as it is.
    pub(super) async fn shrink(
        &mut self,
        schedule: Schedule,
        play: T::Play,
    ) -> io::Result<Shrunk<T::Play>> {
        let Some(name) = T::verdict(&play).name() else {
            return Ok(Shrunk { schedule, broken: 0, of: 1, play });
        };
        let mut best = Shrunk { schedule, broken: 0, of: 0, play };
        let mut tried = Vec::new();
        while let Some(smaller) = self.smaller(&best.schedule, name, &mut tried).await? {
            best = smaller;
        }
        if best.of == 0 {
            // The play in which it was found counts, too.
            let again = self.repeat(&best.schedule, name, false).await?;
            (best.broken, best.of) = (again.broken + 1, again.of + 1);
        }
        Ok(best)
    }

    /// Whether a schedule breaks the promise as often as asked for.
    pub(super) async fn shows(&mut self, schedule: &Schedule, name: &str) -> io::Result<bool> {
        let again = self.repeat(schedule, name, true).await?;
        Ok(again.broken >= self.plays.broken)
    }

    /// The first smaller schedule that breaks the promise often enough.
    async fn smaller(
        &mut self,
        schedule: &Schedule,
        name: &str,
        tried: &mut Vec<Schedule>,
    ) -> io::Result<Option<Shrunk<T::Play>>> {
        for candidate in candidates(schedule) {
            if tried.contains(&candidate) {
                continue;
            }
            if self.left < self.plays.of || self.ends <= Instant::now() {
                return Ok(None);
            }
            tried.push(candidate.clone());
            let again = self.repeat(&candidate, name, true).await?;
            if again.broken >= self.plays.broken
                && let Some(play) = again.play
            {
                let (schedule, broken, of) = (candidate, again.broken, again.of);
                return Ok(Some(Shrunk { schedule, broken, of, play }));
            }
        }
        Ok(None)
    }

    /// Plays a schedule as often as asked for; not on if it can't break the promise often enough any
    /// more, where that is all that matters.
    async fn repeat(
        &mut self,
        schedule: &Schedule,
        name: &str,
        stops_early: bool,
    ) -> io::Result<Repeated<T::Play>> {
        let Plays { broken: wanted, of } = self.plays;
        let plays = (0..of).map(|_| self.theatre.play(schedule));
        let mut plays = stream::iter(plays).buffer_unordered(self.parallel);
        let mut repeated = Repeated { broken: 0, of: 0, play: None };
        while let Some(play) = plays.next().await {
            let play = play?;
            repeated.of += 1;
            self.left = self.left.saturating_sub(1);
            if T::verdict(&play).name() == Some(name) {
                repeated.broken += 1;
                repeated.play = Some(play);
            }
            if stops_early && repeated.broken + (of - repeated.of) < wanted {
                break;
            }
        }
        Ok(repeated)
    }
}

/// Smaller schedules, those that are smallest first: without faults, with half of them, without one,
/// earlier, shorter.
fn candidates(schedule: &Schedule) -> Vec<Schedule> {
    let faults = &schedule.faults;
    let with = |faults: Vec<_>| Schedule { faults, ..schedule.clone() };
    let mut candidates = Vec::new();
    if !faults.is_empty() {
        candidates.push(with(Vec::new()));
    }
    if faults.len() > 2 {
        let (first, second) = faults.split_at(faults.len() / 2);
        candidates.extend([with(first.to_vec()), with(second.to_vec())]);
    }
    for place in 0..faults.len() {
        let mut fewer = faults.clone();
        let one = fewer.remove(place);
        if faults.len() > 1 {
            candidates.push(with(fewer));
        }
        let mut changed = |planned| {
            let mut same = faults.clone();
            same[place] = planned;
            if same != *faults {
                candidates.push(with(same));
            }
        };
        for nth in [1, one.nth.div_ceil(2)] {
            if nth < one.nth {
                changed(Planned { nth, ..one });
            }
        }
        changed(Planned { act: one.act.lasting(shorter), ..one });
    }
    // Removals first.
    candidates.sort_by_key(|candidate| candidate.faults.len());
    candidates
}

/// Half the time, as far as that can make a difference.
fn shorter(time: Duration) -> Duration {
    const SHORT: Duration = Duration::from_millis(50);
    if time > SHORT { time / 2 } else { time }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::fault::{Act, Point};
    use super::super::promise::{Broken, ONCE};
    use super::*;

    /// Breaks its promise if one member is killed at the third commit or later, and another fault is
    /// there at all; in some plays of others.
    struct Pretended {
        /// It shows only in each nth play.
        every: usize,
        played: AtomicUsize,
    }

    #[async_trait]
    impl Theatre for Pretended {
        type Play = Verdict;

        async fn play(&self, schedule: &Schedule) -> io::Result<Verdict> {
            let nth = self.played.fetch_add(1, Ordering::Relaxed) + 1;
            let kills = schedule.faults.iter().any(|planned| {
                matches!(planned.act, Act::Kill { .. })
                    && planned.at == Point::Commit
                    && planned.nth >= 3
            });
            let is_broken = kills && schedule.faults.len() > 1 && nth.is_multiple_of(self.every);
            let broken = Broken { part: ONCE, reason: String::new() };
            Ok(if is_broken { Verdict::Broken(broken) } else { Verdict::Kept })
        }

        fn verdict(play: &Verdict) -> &Verdict {
            play
        }
    }

    fn planned(nth: u64, act: Act) -> Planned {
        Planned { member: 0, at: Point::Commit, nth, act }
    }

    fn found() -> Schedule {
        let kill = Act::Kill { applied: true, restart_after: Duration::from_millis(100) };
        let pause = |ms| Act::Pause { applied: false, time: Duration::from_millis(ms) };
        let faults = vec![
            planned(1, pause(800)),
            planned(9, kill),
            planned(2, pause(400)),
            planned(4, pause(8)),
        ];
        Schedule { seed: 7, leaves_at_once: true, faults }
    }

    async fn shrunk(every: usize, plays: Plays) -> Shrunk<Verdict> {
        let theatre = Pretended { every, played: AtomicUsize::new(0) };
        let verdict = Verdict::Broken(Broken { part: ONCE, reason: String::new() });
        Shrinking::new(&theatre, plays, 2).shrink(found(), verdict).await.unwrap()
    }

    #[tokio::test]
    async fn what_does_not_matter_is_left_out() {
        let shrunk = shrunk(1, Plays { broken: 3, of: 3 }).await;
        assert_eq!(shrunk.schedule.faults.len(), 2, "{}", shrunk.schedule);
        assert!(
            shrunk.schedule.faults.iter().any(|planned| planned.nth == 3),
            "{}",
            shrunk.schedule
        );
        assert_eq!((shrunk.broken, shrunk.of), (3, 3));
        assert_eq!(shrunk.schedule.seed, 7);
    }

    #[tokio::test]
    async fn what_breaks_less_often_than_asked_for_stays_as_it_is() {
        let shrunk = shrunk(2, Plays { broken: 3, of: 4 }).await;
        assert_eq!(shrunk.schedule, found());
        assert_eq!((shrunk.broken, shrunk.of), (3, 5));
    }

    #[tokio::test]
    async fn what_breaks_now_and_then_is_shrunk_if_that_is_asked_for() {
        let shrunk = shrunk(2, Plays { broken: 1, of: 4 }).await;
        assert_eq!(shrunk.schedule.faults.len(), 2, "{}", shrunk.schedule);
        assert_eq!((shrunk.broken, shrunk.of), (2, 4));
    }
}
