//! Order per key: of the jobs with one key, one at a time is under way; the others wait in line.
//!
//! A hash stands for the key. Two keys with the same hash only wait for each other, and no key is
//! kept in memory.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use super::super::stages::KeyHash;

/// The lanes in use. Each has a head, which is the job under way, and a line of jobs behind it.
pub(super) struct Lanes<J> {
    // Iterating over the lanes has the same order in every run.
    lanes: HashMap<KeyHash, Lane<J>, BuildHasherDefault<Hashed>>,
}

struct Lane<J> {
    head: J,
    line: Line<J>,
}

/// Most lanes have no line, so a missing one takes no more room than a pointer.
type Line<J> = Option<Box<VecDeque<J>>>;

/// The hasher of keys that are hashes already: it passes them on.
#[derive(Default)]
pub(super) struct Hashed(KeyHash);

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

impl<J: Copy> Lanes<J> {
    pub(super) fn new() -> Self {
        Self { lanes: HashMap::default() }
    }

    /// Makes the job the head of a lane that is free, or puts it in line and returns the head.
    pub(super) fn enter(&mut self, key: KeyHash, job: J) -> Option<J> {
        match self.lanes.entry(key) {
            Entry::Vacant(lane) => {
                lane.insert(Lane { head: job, line: None });
                None
            }
            Entry::Occupied(lane) => {
                let Lane { head, line } = lane.into_mut();
                line.get_or_insert_default().push_back(job);
                Some(*head)
            }
        }
    }

    /// The jobs in line, in order.
    pub(super) fn in_line(&self, key: KeyHash) -> impl Iterator<Item = J> + '_ {
        self.lanes
            .get(&key)
            .and_then(|lane| lane.line.as_ref())
            .into_iter()
            .flat_map(|line| line.iter().copied())
    }

    /// Makes the next in line the head and returns it, or frees the lane.
    pub(super) fn leave(&mut self, key: KeyHash) -> Option<J> {
        let Entry::Occupied(mut lane) = self.lanes.entry(key) else { return None };
        let next = lane.get_mut().line.as_mut().and_then(|line| line.pop_front());
        match next {
            Some(next) => lane.get_mut().head = next,
            None => drop(lane.remove()),
        }
        next
    }

    /// Takes the jobs for which `condition` holds out of one line.
    pub(super) fn take_out_behind(
        &mut self,
        key: KeyHash,
        condition: impl FnMut(J) -> bool,
    ) -> Vec<J> {
        let lane = self.lanes.get_mut(&key);
        lane.map_or_else(Vec::new, |lane| lane.take_out_of_line(condition))
    }

    /// Takes the jobs for which `condition` holds out of all lines.
    pub(super) fn take_out(&mut self, mut condition: impl FnMut(J) -> bool) -> Vec<J> {
        self.lanes.values_mut().flat_map(|lane| lane.take_out_of_line(&mut condition)).collect()
    }
}

impl<J: Copy> Lane<J> {
    fn take_out_of_line(&mut self, mut condition: impl FnMut(J) -> bool) -> Vec<J> {
        let Some(line) = &mut self.line else { return Vec::new() };
        let mut taken = Vec::new();
        line.retain(|job| {
            let is_taken = condition(*job);
            taken.extend(is_taken.then_some(*job));
            !is_taken
        });
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_hands_itself_on_in_order_and_is_freed_at_the_end() {
        let mut lanes = Lanes::new();
        assert_eq!(lanes.enter(1, 'a'), None);
        assert_eq!(lanes.enter(1, 'b'), Some('a'));
        assert_eq!(lanes.enter(1, 'c'), Some('a'));
        assert_eq!(lanes.enter(2, 'x'), None);
        assert!(lanes.in_line(1).eq(['b', 'c']) && lanes.in_line(2).next().is_none());
        assert_eq!(lanes.take_out(|job| job == 'b'), ['b']);
        assert!(lanes.take_out_behind(2, |_| true).is_empty());
        assert_eq!(lanes.enter(1, 'z'), Some('a'));
        assert_eq!(lanes.take_out_behind(1, |job| job == 'z'), ['z']);
        assert_eq!(lanes.leave(1), Some('c'));
        assert_eq!(lanes.enter(1, 'd'), Some('c'));
        assert_eq!(lanes.leave(1), Some('d'));
        assert_eq!(lanes.leave(1), None);
        assert_eq!(lanes.enter(1, 'e'), None);
    }
}
