//! Zombies: members whose session has ended, and who do not know it yet.

use std::collections::BTreeMap;

use super::history::{Entry, What, Who};
use super::world::effect_of;
use crate::broker::{Moment, Operation};

/// Who is a zombie, while a history is followed.
///
/// A member is one from the end of its session until it joins its group again. It has learnt of the
/// end a little before that, and executes nothing in between.
#[derive(Clone, Debug, Default)]
pub struct Zombies {
    /// After how many entries its session ended.
    since: BTreeMap<Who, usize>,
    followed: usize,
}

impl Zombies {
    /// Goes on by the next entry of a member. Entries are followed in order.
    pub fn follow(&mut self, who: Who, entry: &Entry) {
        self.followed += 1;
        match &entry.what {
            What::SessionEnded => drop(self.since.insert(who, self.followed)),
            What::Effect(effect, Moment::After) if *effect == effect_of(Operation::Join) => {
                self.since.remove(&who);
            }
            _ => {}
        }
    }

    /// How many entries were followed.
    pub const fn followed(&self) -> usize {
        self.followed
    }

    /// After how many entries this member became a zombie, if it is one.
    pub fn since(&self, who: Who) -> Option<usize> {
        self.since.get(&who).copied()
    }

    /// Whether this member is one.
    pub fn contains(&self, who: Who) -> bool {
        self.since.contains_key(&who)
    }
}
