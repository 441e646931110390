//! The clerk at the desk: stores orders, and sees to it that each is published by one web app.
//!
//! ```text
//!  stored ──▶ held by this web app ──▶ published
//!                │  it has died, or stands still
//!                └──▶ free ──▶ held by another one
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jobstream::record::Timestamp;
use jobstream_service::traces::{Scope, Traces};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::desk::{DeskError, MAX_DRAWS, MAX_WAITING, Placed, Request};
use super::publish::Publication;
use super::random::Random;
use super::{SERVICE, Surroundings};
use crate::clock::WallClock;
use crate::order::Order;
use crate::order_id::OrderId;
use crate::orders::{Added, Hold, Orders, OrdersError, PUBLISHED_WITHIN, StoredOrder};
use crate::status::Status;

/// How often the clerk looks after the orders in the time for which one is held.
const LOOKS_WHILE_HELD: u32 = 3;

/// The work of the desk.
pub(super) struct Clerk {
    requests: mpsc::Receiver<Request>,
    publications: mpsc::Sender<Publication>,
    orders: Arc<dyn Orders>,
    random: Random,
    now: WallClock,
    settled_after: Duration,
    traces: Option<Traces>,
    /// What this web app is called among those that share the store.
    holder: u64,
    /// Orders that are to be published by this web app, and were not when it looked.
    held: Vec<OrderId>,
    /// Orders that were taken over, and wait for room among the publications.
    left_over: VecDeque<Publication>,
}

impl Clerk {
    pub(super) fn new(
        requests: mpsc::Receiver<Request>,
        publications: mpsc::Sender<Publication>,
        orders: Arc<dyn Orders>,
        surroundings: &Surroundings,
    ) -> Self {
        let Surroundings { random, now, settled_after, traces, .. } = surroundings;
        Self {
            requests,
            publications,
            orders,
            random: random.clone(),
            now: now.clone(),
            settled_after: *settled_after,
            traces: traces.clone(),
            holder: u64::from_be_bytes(random.bytes()),
            held: Vec::new(),
            left_over: VecDeque::new(),
        }
    }

    /// Takes orders until nobody can place one. Those that another process has stored and not
    /// published are published once it is settled that nobody does it.
    pub(super) async fn run(mut self) {
        let publications = self.publications.clone();
        let settled_at = Instant::now() + self.settled_after;
        let mut looks_at = Instant::now() + self.settled_after / LOOKS_WHILE_HELD;
        loop {
            tokio::select! {
                biased;
                request = self.requests.recv() => match request {
                    Some(Request { order, scope, placed }) => {
                        // The request that waited may have been dropped.
                        let _ = placed.send(self.place(order, &scope).await);
                    }
                    None => return,
                },
                () = sleep_until(looks_at) => {
                    if let Err(error) = self.look(settled_at).await {
                        warn!(service = SERVICE, %error, "unpublished orders can't be looked after");
                    }
                    looks_at = Instant::now() + self.settled_after / LOOKS_WHILE_HELD;
                },
                Ok(permit) = publications.reserve(), if !self.left_over.is_empty() => {
                    if let Some(next) = self.left_over.pop_front() {
                        permit.send(next);
                    }
                }
            }
        }
    }

    async fn place(&mut self, order: Order, scope: &Scope) -> Result<Placed, DeskError> {
        let permit = self.publications.try_reserve().map_err(|_| DeskError::Full)?;
        let timestamp = (self.now)();
        for _ in 0..MAX_DRAWS {
            let id = OrderId::from_bits(u32::from_be_bytes(self.random.bytes()));
            if self.orders.add(id, &order, timestamp).await? == Added::Stored {
                let publication = Publication::order(id, order, timestamp);
                let publication = publication.traced(self.traces.as_ref(), scope);
                let (publication, acknowledged) = publication.awaited();
                permit.send(publication);
                self.held.push(id);
                return Ok(Placed { id, acknowledged });
            }
        }
        Err(DeskError::NoFreeId)
    }

    /// Goes on holding what is not published yet. Then, from `settled_at` on, takes over what is
    /// settled and what nobody else holds.
    async fn look(&mut self, settled_at: Instant) -> Result<(), OrdersError> {
        let now = (self.now)();
        let settled_after = i64::try_from(self.settled_after.as_millis()).unwrap_or(i64::MAX);
        let hold = Hold { holder: self.holder, from: now, until: now + settled_after };
        self.held = self.orders.hold(&self.held, hold).await?;
        if self.left_over.is_empty() && Instant::now() >= settled_at {
            self.take_over(now - settled_after, hold).await?;
        }
        Ok(())
    }

    /// What was stored before `settled` and is not published: what its customer has cancelled
    /// meanwhile stays so, and what is too old has failed.
    async fn take_over(&mut self, settled: Timestamp, hold: Hold) -> Result<(), OrdersError> {
        let oldest = hold.from - PUBLISHED_WITHIN.as_millis() as i64;
        let mut wanted = BTreeMap::new();
        for stored in self.orders.unpublished(settled).await? {
            if stored.ordered_at < oldest {
                self.orders.progress(stored.id, Status::FAILED, hold.from).await?;
            } else if !stored.track.progress.status.is_final() && !self.held.contains(&stored.id) {
                wanted.insert(stored.id, stored);
            }
        }
        let ids: Vec<_> = wanted.keys().copied().take(MAX_WAITING).collect();
        let taken = self.orders.hold(&ids, hold).await?;
        let publications = taken.iter().filter_map(|id| wanted.remove(id));
        let publication = |it: StoredOrder| {
            let publication = Publication::order(it.id, it.order, it.ordered_at);
            publication.traced(self.traces.as_ref(), &Scope::default())
        };
        self.left_over.extend(publications.map(publication));
        self.held.extend(taken);
        Ok(())
    }
}
