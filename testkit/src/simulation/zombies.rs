//! Zombies: members that do not know yet that their session has ended.

use std::collections::BTreeMap;

use super::history::{Occurrence, What, Who};
use super::world::effect_of;
use crate::broker::{Operation, When};

/// The zombies at the current point of a history.
///
/// A member is a zombie from the end of its session until it joins its group again. It learns of
/// the end shortly before that, and executes nothing in between.
#[derive(Clone, Debug, Default)]
pub struct Zombies {
    /// For each zombie, after how many entries its session ended.
    since: BTreeMap<Who, usize>,
    followed: usize,
}

impl Zombies {
    /// Takes the next entry of a member. Entries must come in order.
    pub fn follow(&mut self, who: Who, entry: &Occurrence) {
        self.followed += 1;
        match &entry.what {
            What::SessionEnded => drop(self.since.insert(who, self.followed)),
            What::Effect(effect, When::After) if *effect == effect_of(Operation::Join) => {
                self.since.remove(&who);
            }
            _ => {}
        }
    }

    /// How many entries were taken.
    pub const fn followed(&self) -> usize {
        self.followed
    }

    /// After how many entries this member became a zombie, if it is one.
    pub fn since(&self, who: Who) -> Option<usize> {
        self.since.get(&who).copied()
    }

    /// Whether this member is a zombie.
    pub fn contains(&self, who: Who) -> bool {
        self.since.contains_key(&who)
    }
}
