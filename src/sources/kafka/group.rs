//! The member's side of a rebalance: take partitions on, and give them up once they are released.
//!
//! An answer belongs to the rebalance that asked for it and is not given when a newer one has come: it
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

/// Where the member is with the latest rebalance.
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
    /// The committed positions are asked for.
    Assign,
    /// These are still worked on.
    Unassign(BTreeSet<TopicPartition>),
}

impl Rebalancing {
    /// Hears what the group wants.
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

    /// These are worked on no more.
    pub(super) fn release(&mut self, is_released: impl Fn(&TopicPartition) -> bool) {
        if let Some(Open { answer: Answer::Unassign(waits_for), .. }) = &mut self.open {
            waits_for.retain(|partition| !is_released(partition));
        }
    }

    /// Leaves the topics, and gives up whatever is assigned or asked back. Rebalances that come
    /// meanwhile are answered by the context.
    ///
    /// That comes before the close because librdkafka ends no membership while it waits for the
    /// answer to an assignment, and because it drops, without a reply, what it is asked while the
    /// membership ends: an answer to a rebalance that came at that moment would block for ever.
    pub(super) fn give_up(
        &mut self,
        client: &Client,
        signal: &Signal,
        until: Instant,
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
        client.unsubscribe();
        if !asked_back.is_empty() {
            unassign(client, &list(&asked_back))?;
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

    /// Answers what can be answered.
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
                    // Passing, such as a coordinator that moves: asked again in the next turn.
                    let reason = "the committed positions could not be read";
                    client.context().told.error(&error, reason);
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
            client.context().told.error(&error, "a rebalance could not be answered");
        }
    }
}
