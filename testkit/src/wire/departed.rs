//! What a client that has died leaves at the broker: its memberships and its open transactions.

use std::collections::BTreeSet;
use std::sync::Arc;

use tokio::time::Instant;

use super::listener::Listener;

/// What the clients of one listener had at a moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Departed {
    members: Vec<(Arc<str>, String)>,
    /// Transactional ids with the producer, and its epoch, whose transaction is open.
    transactions: Vec<(Arc<str>, (i64, i16))>,
}

impl Departed {
    /// Whether nothing of a client is there.
    pub(crate) const fn is_empty(&self) -> bool {
        self.members.is_empty() && self.transactions.is_empty()
    }
}

impl Listener {
    /// What the clients of this listener have now. `members` and `transactions` are the ids that they
    /// have named in requests.
    pub(crate) fn departed(
        &self,
        members: &BTreeSet<String>,
        transactions: &BTreeSet<String>,
    ) -> Departed {
        let mark = format!("-{:08x}-0000-4000-8000-", self.cluster().salt());
        let is_its = |id: &str| members.contains(id) || id.contains(&mark);
        self.cluster().broker().with(|state| {
            let wire = &state.wire;
            let classic = wire.groups.iter().flat_map(|(name, group)| {
                group.ids().filter(|id| is_its(id)).map(|id| (name.clone(), id.to_owned()))
            });
            let consumer = wire.consumer_groups.iter().flat_map(|(name, group)| {
                let ids = group.members().keys().filter(|id| is_its(id));
                ids.map(|id| (name.clone(), id.clone()))
            });
            let open = state.transactions.described().filter(|(name, described)| {
                described.state == "Ongoing" && transactions.contains(&***name)
            });
            let transactions = open.map(|(name, described)| (name.clone(), described.producer));
            Departed {
                members: classic.chain(consumer).collect(),
                transactions: transactions.collect(),
            }
        })
    }

    /// Ends those memberships that are still there, as when their sessions had timed out.
    pub(crate) fn expel_departed(&self, departed: &Departed) {
        self.cluster().broker().change(|state| {
            for (group, member) in &departed.members {
                state.expel(group, Some(member), Instant::now());
            }
        });
    }

    /// Ends the memberships in classic groups of which nothing has come since then, as when their
    /// sessions had timed out. Says whether there were any.
    pub(crate) fn expel_silent(&self, since: Instant) -> bool {
        self.cluster().broker().change(|state| {
            let groups = state.wire.groups.iter();
            let silent = groups.flat_map(|(name, group)| {
                group.silent(since).map(|id| (name.clone(), id.to_owned()))
            });
            let silent: Vec<_> = silent.collect();
            silent.iter().for_each(|(group, id)| state.expel(group, Some(id), Instant::now()));
            !silent.is_empty()
        })
    }

    /// Ends those transactions that are still open, as when they had timed out.
    pub(crate) fn abort_departed(&self, departed: &Departed) {
        self.cluster().broker().change(|state| {
            for (id, producer) in &departed.transactions {
                let is_same = state.transactions.described().any(|(name, described)| {
                    name == id && described.state == "Ongoing" && described.producer == *producer
                });
                if is_same {
                    state.fence_producer(id);
                }
            }
        });
    }
}
