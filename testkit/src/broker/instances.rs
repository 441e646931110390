//! Static members: which member of a group has each `group.instance.id` (KIP-345).

use std::collections::BTreeMap;
use std::sync::Arc;

/// The members of instances, by the names that a group gives its members.
#[derive(Debug)]
pub(crate) struct Instances<M> {
    members: BTreeMap<Arc<str>, M>,
}

/// Why a member does not speak for an instance.
#[cfg(feature = "wire")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotOfInstance {
    /// No member has it.
    Unknown,
    /// Another member has it by now.
    Fenced,
}

impl<M> Instances<M> {
    /// Gives an instance to a member, and returns the member that had it before.
    pub(crate) fn give(&mut self, instance: Arc<str>, member: M) -> Option<M> {
        self.members.insert(instance, member)
    }

    /// The member that has an instance.
    #[cfg(feature = "wire")]
    pub(crate) fn member(&self, instance: &str) -> Option<&M> {
        self.members.get(instance)
    }

    /// Nobody has this instance any more.
    pub(crate) fn take(&mut self, instance: &str) {
        self.members.remove(instance);
    }

    /// Says why the member does not speak for the instance, if so.
    #[cfg(feature = "wire")]
    pub(crate) fn check<N: ?Sized>(&self, instance: &str, member: &N) -> Result<(), NotOfInstance>
    where
        M: PartialEq<N>,
    {
        match self.members.get(instance) {
            None => Err(NotOfInstance::Unknown),
            Some(of) if *of == *member => Ok(()),
            Some(_) => Err(NotOfInstance::Fenced),
        }
    }
}

impl<M> Default for Instances<M> {
    fn default() -> Self {
        Self { members: BTreeMap::new() }
    }
}
