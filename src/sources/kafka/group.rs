//! The member's side of a rebalance: takes partitions on, and gives them up once they are released.
//!
//! An answer belongs to one rebalance. It is not given once a newer rebalance has come, since it
//! would take the newer assignment away.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::KafkaResult;
use tokio::time::Instant;

use super::buffer::{Shared, Signal};
use super::client::{Client, Rebalance, assign, list, unassign};
use super::flow::Flow;
use super::partitions::Partitions;
use super::poller::CLOSE_POLL;
use crate::record::TopicPartition;

/// The progress of the latest rebalance.
#[derive(Debug, Default)]
pub(super) struct Rebalancing {
    open: Option<Open>,
}

/// A rebalance that has not been answered.
#[derive(Debug)]
struct Open {
    partitions: Vec<TopicPartition>,
    answer: Answer,
}

#[derive(Debug)]
enum Answer {
    /// Assign, once the committed positions have been read.
    Assign,
    /// Unassign, once these partitions have been released.
    Unassign(BTreeSet<TopicPartition>),
}

impl Rebalancing {
    /// Takes the requests of the group.
    pub(super) fn hear(&mut self, client: &Client, shared: &Shared) {
        for rebalance in client.context().take_rebalances() {
            let (partitions, answer) = match rebalance {
                Rebalance::Assign(partitions) => (partitions, Answer::Assign),
                Rebalance::Revoke(partitions) => {
                    let revoked = shared.change(|buffer| buffer.revoke(&partitions));
                    (partitions, Answer::Unassign(revoked))
                }
                Rebalance::Lost(partitions) => {
                    shared.change(|buffer| buffer.lose(&partitions));
                    (partitions, Answer::Unassign(BTreeSet::new()))
                }
            };
            self.open = Some(Open { partitions, answer });
        }
    }

    /// Whether a rebalance has not been answered.
    pub(super) const fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Notes released partitions.
    pub(super) fn release(&mut self, is_released: impl Fn(&TopicPartition) -> bool) {
        if let Some(Open { answer: Answer::Unassign(waits_for), .. }) = &mut self.open {
            waits_for.retain(|partition| !is_released(partition));
        }
    }

    /// Unsubscribes, and gives up every partition that is assigned or asked back. The context
    /// answers rebalances that come meanwhile. A static member does not unsubscribe, since librdkafka
    /// would leave the group for it: it answers what is open, and its partitions wait in the group for
    /// its next process (KIP-345).
    ///
    /// This must happen before the close. librdkafka does not end a membership while it waits for
    /// the answer to an assignment; and while a membership ends, it drops requests without a reply,
    /// so that an answer to a rebalance that comes at that moment would block for ever.
    pub(super) fn give_up(
        &mut self,
        client: &Client,
        signal: &Signal,
        until: Instant,
        is_static: bool,
    ) -> KafkaResult<()> {
        let reported = client.context().take_rebalances().pop();
        let open = self.open.take();
        let asked_back = match (reported, open) {
            (Some(Rebalance::Revoke(partitions) | Rebalance::Lost(partitions)), _)
            | (None, Some(Open { answer: Answer::Unassign(_), partitions, .. })) => partitions,
            (Some(Rebalance::Assign(_)), _) | (None, Some(_)) => {
                assign(client, &TopicPartitionList::new())?;
                Vec::new()
            }
            (None, None) => Vec::new(),
        };
        if !is_static {
            client.unsubscribe();
        }
        if !asked_back.is_empty() {
            unassign(client, &list(&asked_back))?;
        }
        if is_static {
            return Ok(());
        }
        while Instant::now() < until {
            let is_idle = client.poll(Duration::ZERO).is_none() && !client.context().was_called();
            if is_idle && client.assignment()?.count() == 0 {
                break;
            }
            if is_idle {
                signal.wait(CLOSE_POLL);
            }
        }
        Ok(())
    }

    /// Answers the rebalance if it can be answered.
    pub(super) fn answer(
        &mut self,
        client: &Arc<Client>,
        partitions: &mut Partitions,
        flow: &mut Flow,
    ) {
        let is_ready = |open: &mut Open| match &open.answer {
            Answer::Assign => true,
            Answer::Unassign(waits_for) => waits_for.is_empty(),
        };
        let Some(open) = self.open.take_if(is_ready) else { return };
        let answered = match open.answer {
            Answer::Assign => match partitions.assign(client, &open.partitions) {
                Ok(offsets) => {
                    let assigned = assign(client, &offsets);
                    flow.assigned(client, &open.partitions);
                    assigned
                }
                Err(error) => {
                    // A passing error, such as a coordinator that moves; the next turn tries again.
                    let reason = "the committed positions could not be read";
                    client.context().observer.error(&error, reason);
                    self.open = Some(open);
                    return;
                }
            },
            Answer::Unassign(_) => {
                partitions.remove(&open.partitions);
                unassign(client, &list(&open.partitions))
            }
        };
        if let Err(error) = answered {
            client.context().observer.error(&error, "a rebalance could not be answered");
        }
    }
}
