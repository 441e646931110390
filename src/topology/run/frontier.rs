//! The frontier of one partition: which of its delivered records are finished.
//!
//! ```text
//!            frontier                     next
//!               ▼                           ▼
//!  ████████████ ○ █ ○ ▒ █ █ ○ █ ○ ○ ▒ ○ ○ ○
//!  finished         █ finished  ▒ being published  ○ unfinished
//! ```
//!
//! It counts records that were delivered and never does arithmetic with offsets, which have gaps.
//!
//! Transaction markers and compaction make these gaps: a frontier that added one to an offset would
//! wait for records that never come.

use std::collections::VecDeque;
use std::ops::Range;

use crate::position::Position;

/// The delivered records of a partition from its frontier on.
#[derive(Debug)]
pub(super) struct Frontier {
    delivered: VecDeque<(i64, State)>,
    /// One above the last delivered offset.
    next: i64,
    /// What former owners had finished above their frontier.
    inherited: Position,
    /// How many of the delivered records are not finished.
    unfinished: usize,
    /// Of these, the ones that are being published.
    publishing: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unfinished,
    Publishing,
    Finished,
}

/// Whether a delivered record is to be worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    New,
    AlreadyFinished,
}

impl Frontier {
    pub(super) fn new(committed: Option<Position>) -> Self {
        let inherited = committed.unwrap_or(const { Position::at(0) });
        Self {
            delivered: VecDeque::new(),
            next: inherited.frontier(),
            inherited,
            unfinished: 0,
            publishing: 0,
        }
    }

    /// The lowest offset that may be unfinished.
    pub(super) fn offset(&self) -> i64 {
        self.delivered.front().map_or(self.next, |(offset, _)| *offset)
    }

    /// Whether a record waits at the frontier.
    pub(super) fn is_waiting(&self) -> bool {
        !self.delivered.is_empty()
    }

    /// How many delivered records are not finished.
    pub(super) const fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// How many delivered records are in the batch that is being published.
    pub(super) const fn in_batch(&self) -> usize {
        self.publishing
    }

    /// Where the next record is, or above.
    pub(super) const fn next(&self) -> i64 {
        self.next
    }

    /// Whether a commit with a window of so many offsets can say that a record at this offset is
    /// finished. One at the frontier always fits.
    pub(super) fn fits(&self, offset: i64, window: i64) -> bool {
        self.delivered.front().is_none_or(|(first, _)| offset - first < window)
    }

    /// Whether each record that was delivered fits.
    pub(super) fn all_fit(&self, window: i64) -> bool {
        self.delivered.back().is_none_or(|(last, _)| self.fits(*last, window))
    }

    /// Whether a former owner had finished the record at this offset.
    pub(super) fn is_inherited(&self, offset: i64) -> bool {
        self.inherited.is_finished(offset)
    }

    /// How many offsets of a range no former owner had finished.
    pub(super) fn not_inherited(&self, offsets: &Range<i64>) -> u64 {
        let start = offsets.start.max(self.inherited.frontier());
        let above = self.inherited.finished_above();
        let finished = above.filter(|offset| (start..offsets.end).contains(offset)).count() as u64;
        u64::try_from(offsets.end - start).unwrap_or_default().saturating_sub(finished)
    }

    /// Counts a record that was delivered.
    ///
    /// # Invariant
    /// Offsets ascend, from [`next`](Self::next) on.
    pub(super) fn deliver(&mut self, offset: i64) -> Delivered {
        self.next = offset + 1;
        if !self.inherited.is_finished(offset) {
            self.delivered.push_back((offset, State::Unfinished));
            self.unfinished += 1;
            return Delivered::New;
        }
        if self.is_waiting() {
            self.delivered.push_back((offset, State::Finished));
        }
        Delivered::AlreadyFinished
    }

    /// Counts a record into the batch that is being published.
    pub(super) fn publishing(&mut self, offset: i64) {
        self.set(offset, State::Publishing);
    }

    /// Counts a record out of a batch that was not published.
    pub(super) fn not_published(&mut self, offset: i64) {
        self.set(offset, State::Unfinished);
    }

    /// Counts a record as finished; true if the frontier moved.
    pub(super) fn finish(&mut self, offset: i64) -> bool {
        self.set(offset, State::Finished);
        let before = self.delivered.len();
        while self.delivered.front().is_some_and(|(_, state)| *state == State::Finished) {
            self.delivered.pop_front();
        }
        self.delivered.len() < before
    }

    /// The position at which the finished records are finished, as far as they fit into the window.
    pub(super) fn position(&self, window: i64) -> Position {
        self.position_where(window, |state| state == State::Finished)
    }

    /// The position at which the records that are being published are finished too.
    pub(super) fn position_once_published(&self, window: i64) -> Position {
        self.position_where(window, |state| state != State::Unfinished)
    }

    fn position_where(&self, window: i64, is_finished: impl Fn(State) -> bool) -> Position {
        let mut rest = self.delivered.iter().skip_while(|(_, state)| is_finished(*state));
        let mut position = Position::at(rest.next().map_or(self.next, |(offset, _)| *offset));
        let above = rest.filter(|(_, state)| is_finished(*state)).map(|(offset, _)| *offset);
        let inherited = self.inherited.finished_above().filter(|offset| *offset >= self.next);
        let end = position.frontier().saturating_add(window);
        for offset in above.chain(inherited).take_while(|offset| *offset < end) {
            position.finish(offset);
        }
        position
    }

    fn set(&mut self, offset: i64, state: State) {
        let index = self.index_of(offset).expect("a record is finished after it was delivered");
        let was = std::mem::replace(&mut self.delivered[index].1, state);
        self.unfinished -= usize::from(was != State::Finished && state == State::Finished);
        self.publishing += usize::from(state == State::Publishing);
        self.publishing -= usize::from(was == State::Publishing);
    }

    fn index_of(&self, offset: i64) -> Option<usize> {
        // Where there is no gap, the record is as far in as its offset says.
        let guess = usize::try_from(offset - self.delivered.front()?.0).ok()?;
        if self.delivered.get(guess).is_some_and(|(found, _)| *found == offset) {
            return Some(guess);
        }
        self.delivered.binary_search_by_key(&offset, |(offset, _)| *offset).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const WINDOW: i64 = Position::WINDOW_OFFSETS;

    #[test]
    fn the_frontier_stops_before_the_first_unfinished_record() {
        let mut frontier = Frontier::new(None);
        for offset in [3, 4, 7, 9] {
            frontier.deliver(offset);
        }
        assert!(!frontier.finish(7));
        assert_eq!(frontier.offset(), 3);
        assert!(frontier.finish(3));
        assert_eq!(frontier.offset(), 4);
        assert!(frontier.finish(4));
        assert_eq!(frontier.offset(), 9);
        assert!(frontier.finish(9));
        assert_eq!(frontier.offset(), 10);
    }

    #[test]
    fn records_being_published_count_only_in_the_batchs_own_position() {
        let mut frontier = Frontier::new(None);
        for offset in 0..3 {
            frontier.deliver(offset);
        }
        frontier.publishing(0);
        frontier.finish(2);
        assert_eq!(frontier.position(WINDOW).frontier(), 0);
        assert_eq!(frontier.position_once_published(WINDOW).frontier(), 1);
        frontier.not_published(0);
        assert_eq!(frontier.position_once_published(WINDOW).frontier(), 0);
    }

    #[test]
    fn a_set_that_was_inherited_is_handed_on_before_it_is_delivered_again() {
        let mut committed = Position::at(10);
        committed.finish(15);
        let mut frontier = Frontier::new(Some(committed));
        assert_eq!(frontier.deliver(10), Delivered::New);
        frontier.finish(10);
        let position = frontier.position(WINDOW);
        assert_eq!(position.frontier(), 11);
        assert_eq!(position.finished_above().collect::<Vec<_>>(), [15]);
    }

    #[test]
    fn a_position_ends_where_the_window_does() {
        let mut committed = Position::at(10);
        committed.finish(40);
        let mut frontier = Frontier::new(Some(committed));
        for offset in [10, 12, 20, 30] {
            frontier.deliver(offset);
        }
        for offset in [12, 20, 30] {
            frontier.finish(offset);
        }
        let above = |window| frontier.position(window).finished_above().collect::<Vec<_>>();
        assert_eq!(above(WINDOW), [12, 20, 30, 40]);
        assert_eq!(above(11), [12, 20]);
        assert_eq!(above(10), [12]);
        assert_eq!(above(0), [0; 0]);
        assert!(frontier.fits(20, 11) && !frontier.fits(20, 10) && !frontier.all_fit(11));
        frontier.finish(10);
        assert!(frontier.fits(90, 0), "what is at the frontier fits into any window");
    }

    proptest! {
        #[test]
        fn any_order_of_finishing_keeps_the_position_true(
            gaps in prop::collection::vec(1_i64..5, 1..60),
            order in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
            hand_over in 0_usize..60,
        ) {
            let offsets: Vec<i64> =
                gaps.iter().scan(0, |offset, gap| { *offset += gap; Some(*offset) }).collect();
            let mut frontier = Frontier::new(None);
            let mut finished = BTreeSet::new();
            for offset in &offsets {
                frontier.deliver(*offset);
            }
            for (step, index) in order.iter().enumerate() {
                let offset = offsets[index.index(offsets.len())];
                if step == hand_over {
                    let committed = frontier.position(WINDOW);
                    let metadata = committed.metadata(None, Position::METADATA_MAX_BYTES);
                    let read = Position::from_commit(committed.frontier(), &metadata);
                    frontier = Frontier::new(read.ok().map(|commit| commit.position));
                    for offset in offsets.iter().filter(|o| **o >= committed.frontier()) {
                        let expected = finished.contains(offset);
                        let delivered = frontier.deliver(*offset);
                        prop_assert_eq!(delivered == Delivered::AlreadyFinished, expected);
                    }
                }
                if finished.insert(offset) {
                    frontier.finish(offset);
                }
                let position = frontier.position(WINDOW);
                for offset in &offsets {
                    prop_assert_eq!(position.is_finished(*offset), finished.contains(offset));
                }
            }
        }
    }
}
