//! Which jobs a ledger may be in doubt about.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jobstream::record::TopicPartition;
use jobstream::sinks::JobErrorKind;
use jobstream_testkit::simulation::{History, Occurrence, Place, What, Who, Zombies};
use jobstream_testkit::smtp::SmtpServer;

use crate::effects::{header, results};
use crate::jobs::number;
use crate::outside::in_doubt_max;

/// A job is parked only if an attempt ended ambiguously or was cut off, or a member was while it may
/// have had an intent: not while it waited after an attempt that certainly sent nothing, since that
/// is recorded before the wait; and not where a drain has cut off all that was left of a partition,
/// since each intent is withdrawn before, unless its final dot was being written.
pub(crate) fn what_is_parked_was_in_doubt(history: &History, _: &SmtpServer) -> Result<(), String> {
    let mut doubts = Doubts::default();
    let group = &history.groups[0];
    history.of(group).for_each(|(who, entry)| doubts.follow(who, entry));
    let is_of = |place: &Place, job| history.input(place).and_then(number) == Some(job);
    for result in results(history) {
        let job = number(result).unwrap();
        let is_parked = header(result, "job-outcome") == "ambiguous";
        if is_parked && !doubts.in_doubt.iter().any(|place| is_of(place, job)) {
            return Err(format!("job {job} is parked, and it was never in doubt"));
        }
    }
    Ok(())
}

/// A member has no more jobs in doubt than it may: executions under way, whose intents are durable,
/// and those that have ended since its last batch, whose outcomes can't be durable yet.
pub(crate) fn no_more_in_doubt_than_may_be(
    history: &History,
    _: &SmtpServer,
) -> Result<(), String> {
    let limit = in_doubt_max(history.seed);
    let mut open: BTreeMap<Who, BTreeMap<&Place, Attempt>> = BTreeMap::new();
    for (who, entry) in history.of(&history.groups[0]) {
        let open = open.entry(who).or_default();
        match &entry.what {
            What::Began(place) => drop(open.insert(place, Attempt::UnderWay)),
            What::Cancelled(place) | What::Executed(place, Some(JobErrorKind::Ambiguous)) => {
                open.remove(place);
            }
            What::Withdrawn(place) => drop(open.insert(place, Attempt::Ended)),
            What::Executed(place, _) => drop(open.insert(place, Attempt::Ended)),
            What::Published(_) => open.retain(|_, attempt| *attempt == Attempt::UnderWay),
            What::Lost(partition) | What::Released(partition) | What::Assigned(partition, _) => {
                open.retain(|place, _| place.partition != *partition);
            }
            What::CutOff(..) => open.retain(|_, attempt| *attempt == Attempt::UnderWay),
            _ => {}
        }
        if open.len() > limit {
            return Err(format!(
                "step {}: {who} has {} jobs in doubt, expected {limit} at most",
                entry.step,
                open.len()
            ));
        }
    }
    Ok(())
}

/// An attempt whose intent is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    UnderWay,
    Ended,
}

/// The jobs that members hold, and those that were in doubt.
#[derive(Default)]
struct Doubts<'a> {
    /// Until when each is known not to have been sent.
    held: BTreeMap<(Who, &'a Place), Duration>,
    in_doubt: BTreeSet<&'a Place>,
    /// How many of those that are held were cut off by a drain.
    cut_off: BTreeMap<(Who, &'a TopicPartition), usize>,
    zombies: Zombies,
}

impl<'a> Doubts<'a> {
    fn follow(&mut self, who: Who, entry: &'a Occurrence) {
        self.zombies.follow(who, entry);
        match &entry.what {
            What::SessionEnded => self.left(who, entry.at, |_| true),
            // None of its intents is taken any more.
            _ if self.zombies.contains(who) => {}
            What::Fetched(place) | What::Began(place) => {
                self.held.insert((who, place), Duration::ZERO);
            }
            What::Waits(place, delay) => {
                self.held.insert((who, place), entry.at + *delay);
            }
            What::Finished(place, _) => {
                self.held.remove(&(who, place));
            }
            What::Cancelled(place) | What::Executed(place, Some(JobErrorKind::Ambiguous)) => {
                self.in_doubt.insert(place);
            }
            What::CutOff(partition, records) => {
                *self.cut_off.entry((who, partition)).or_default() += records;
            }
            What::Stopped { .. } => {
                self.drained(who, |_| true);
                self.left(who, entry.at, |_| true);
            }
            What::Released(partition) => {
                self.drained(who, |of| of == partition);
                self.left(who, entry.at, |of| of == partition);
            }
            What::Crashed | What::Broke(_) => self.left(who, entry.at, |_| true),
            What::Lost(partition) | What::Assigned(partition, _) => {
                self.left(who, entry.at, |of| of == partition);
            }
            _ => {}
        }
    }

    /// Drains have come to their end: nothing is in doubt of a partition of which all that is held was
    /// cut off.
    fn drained(&mut self, who: Who, is_of: impl Fn(&TopicPartition) -> bool) {
        for ((of, partition), records) in &self.cut_off {
            let is_it =
                |(holder, place): &(Who, &Place)| holder == of && place.partition == **partition;
            if *of == who
                && is_of(partition)
                && self.held.keys().filter(|held| is_it(held)).count() == *records
            {
                self.held.retain(|held, _| !is_it(held));
            }
        }
    }

    /// Whatever a member holds is left as it is.
    fn left(&mut self, who: Who, at: Duration, is_of: impl Fn(&TopicPartition) -> bool) {
        let gone = |(of, place): &(Who, &Place)| *of == who && is_of(&place.partition);
        let in_doubt =
            self.held.iter().filter(|(held, safe_until)| gone(held) && at >= **safe_until);
        self.in_doubt.extend(in_doubt.map(|((_, place), _)| *place));
        self.held.retain(|held, _| !gone(held));
        self.cut_off.retain(|(of, partition), _| *of != who || !is_of(partition));
    }
}
