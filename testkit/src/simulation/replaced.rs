//! Processes of static members that another process with their instance has replaced, and that have
//! not ended yet.

use std::task::Poll;

use super::history::Who;
use super::slot::{Due, Ended, Living};
use crate::broker::Broker;

/// All of them, in the order in which they were replaced.
#[derive(Default)]
pub(super) struct Replaced {
    lives: Vec<(Who, Living)>,
}

impl Replaced {
    pub(super) fn push(&mut self, who: Who, living: Living) {
        self.lives.push((who, living));
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.lives.is_empty()
    }

    /// The indices of those that can be polled.
    pub(super) fn ready(&self) -> impl Iterator<Item = usize> {
        let ready = self.lives.iter().enumerate().filter(|(_, (_, living))| living.can_go_on());
        ready.map(|(index, _)| index)
    }

    pub(super) fn who(&self, index: usize) -> Who {
        self.lives[index].0
    }

    /// Polls one of them; how it has ended, if it has.
    pub(super) fn poll(&mut self, index: usize) -> Option<Ended> {
        let Some(Poll::Ready(ended)) = self.lives[index].1.poll() else { return None };
        self.lives.remove(index);
        Some(ended)
    }

    /// Wakes those that are paused and notifies those that are unaware of their loss, where that is
    /// due; returns the ones that were woken.
    pub(super) fn go_on(&mut self, broker: &Broker, step: u64) -> Vec<Who> {
        let mut woken = Vec::new();
        for (who, living) in &mut self.lives {
            let Due { wakes, learns, .. } = living.due(step);
            if wakes {
                living.wake();
                broker.wake(living.id());
                woken.push(*who);
            }
            if learns {
                living.set_unaware(None);
                broker.reveal_loss(living.id());
            }
        }
        woken
    }

    /// Asks all of them to stop; returns the ones that had not been asked before.
    pub(super) fn ask_to_stop(&self) -> Vec<Who> {
        let asked = self.lives.iter().filter(|(_, living)| living.ask_to_stop());
        asked.map(|(who, _)| *who).collect()
    }
}
