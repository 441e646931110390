//! Order per key: of the jobs with one key, one at a time is under way; the others wait in line.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

/// The hash of a key. Two keys with one hash only wait for each other.
pub(super) type KeyHash = u64;

/// The lanes in use: a lane is taken by one job, with the ones that wait for it behind.
pub(super) struct Lanes<W> {
    // Walking over the lanes has the same order in every run.
    lanes: HashMap<KeyHash, Line<W>, BuildHasherDefault<Hashed>>,
}

/// Those that wait; most lanes have none, so that it takes no more room than a pointer.
type Line<W> = Option<Box<VecDeque<W>>>;

/// The hasher of what is a hash already.
#[derive(Default)]
struct Hashed(KeyHash);

impl Hasher for Hashed {
    fn write(&mut self, _: &[u8]) {
        unreachable!("a key's hash is one number");
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

impl<W> Lanes<W> {
    pub(super) fn new() -> Self {
        Self { lanes: HashMap::default() }
    }

    /// Takes the lane and gives the job back, or puts it in line.
    pub(super) fn enter(&mut self, key: KeyHash, work: W) -> Option<W> {
        match self.lanes.entry(key) {
            Entry::Vacant(lane) => {
                lane.insert(None);
                Some(work)
            }
            Entry::Occupied(mut lane) => {
                lane.get_mut().get_or_insert_default().push_back(work);
                None
            }
        }
    }

    /// How many wait in line for this lane.
    pub(super) fn in_line(&self, key: KeyHash) -> usize {
        self.lanes.get(&key).and_then(Option::as_ref).map_or(0, |line| line.len())
    }

    /// Hands the lane to the next in line, which may start now, or frees it.
    pub(super) fn leave(&mut self, key: KeyHash) -> Option<W> {
        let Entry::Occupied(mut lane) = self.lanes.entry(key) else { return None };
        let next = lane.get_mut().as_mut().and_then(|line| line.pop_front());
        if next.is_none() {
            lane.remove();
        }
        next
    }

    /// Takes the jobs for which `condition` holds out of the line of one lane.
    pub(super) fn cancel_behind(
        &mut self,
        key: KeyHash,
        condition: impl Fn(&W) -> bool,
    ) -> VecDeque<W> {
        let Some(Some(line)) = self.lanes.get_mut(&key) else { return VecDeque::new() };
        let (out, stay) = line.drain(..).partition(&condition);
        **line = stay;
        out
    }

    /// Takes the jobs for which `condition` holds out of all lines.
    pub(super) fn cancel(&mut self, condition: impl Fn(&W) -> bool) -> Vec<W> {
        let mut cancelled = Vec::new();
        for line in self.lanes.values_mut().flatten() {
            let (out, stay) = line.drain(..).partition(&condition);
            **line = stay;
            cancelled.extend::<VecDeque<W>>(out);
        }
        cancelled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_hands_itself_on_in_order_and_is_freed_at_the_end() {
        let mut lanes = Lanes::new();
        assert_eq!(lanes.enter(1, 'a'), Some('a'));
        assert_eq!(lanes.enter(1, 'b'), None);
        assert_eq!(lanes.enter(1, 'c'), None);
        assert_eq!(lanes.enter(2, 'x'), Some('x'));
        assert_eq!((lanes.in_line(1), lanes.in_line(2), lanes.in_line(3)), (2, 0, 0));
        assert_eq!(lanes.cancel(|work| *work == 'b'), ['b']);
        assert!(lanes.cancel_behind(2, |_| true).is_empty());
        assert_eq!(lanes.enter(1, 'z'), None);
        assert_eq!(lanes.cancel_behind(1, |work| *work == 'z'), ['z']);
        assert_eq!(lanes.leave(1), Some('c'));
        assert_eq!(lanes.leave(1), None);
        assert_eq!(lanes.enter(1, 'd'), Some('d'));
    }
}
