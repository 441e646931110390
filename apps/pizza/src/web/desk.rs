//! Where orders are taken: stored under an id of their own, then published, whether or not whoever
//! ordered still waits.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures::future;
use jobstream::record::Timestamp;
use jobstream::sinks::Sink;
use jobstream_service::traces::{Scope, Traces};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::publish::{self, Publication};
use super::random::Random;
use super::{SERVICE, Surroundings, WebError};
use crate::clock::WallClock;
use crate::order::Order;
use crate::order_id::OrderId;
use crate::orders::{Added, Orders, OrdersError, StoredOrder};

/// How many orders wait to be stored, and how many records to be published, at most.
const MAX_WAITING: usize = 1024;

/// How often an id is drawn for one order, at most.
const MAX_DRAWS: usize = 100;

/// Takes orders and cancellations; clones share it. When the last one is dropped, its work ends.
#[derive(Clone, Debug)]
pub(super) struct Desk {
    requests: mpsc::Sender<Request>,
    publications: mpsc::Sender<Publication>,
    now: Now,
    traces: Option<Traces>,
}

/// An order that is stored.
#[derive(Debug)]
pub(super) struct Placed {
    /// Its id.
    pub(super) id: OrderId,
    /// Completes when the broker has acknowledged it, with an error if it never will.
    pub(super) acknowledged: oneshot::Receiver<()>,
}

/// An order that was not stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum DeskError {
    #[error("too many orders are waiting to be published")]
    Full,
    #[error("no free id was found in {MAX_DRAWS} draws")]
    NoFreeId,
    #[error(transparent)]
    Orders(#[from] OrdersError),
    #[error("the desk is closed")]
    Closed,
}

/// The wall clock.
#[derive(Clone)]
struct Now(WallClock);

impl std::fmt::Debug for Now {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Now")
    }
}

#[derive(Debug)]
struct Request {
    order: Order,
    /// Whose order it is, in a trace.
    scope: Scope,
    placed: oneshot::Sender<Result<Placed, DeskError>>,
}

impl Desk {
    /// Opens a desk. Its work is to be awaited beside whoever uses it: it ends after the last
    /// clone of the desk is dropped and everything is published, or when the sink is broken.
    pub(super) fn open(
        orders: Arc<dyn Orders>,
        sink: Arc<dyn Sink>,
        surroundings: &Surroundings,
    ) -> (Self, impl Future<Output = Result<(), WebError>> + use<>) {
        let (requests, requested) = mpsc::channel(MAX_WAITING);
        let (publications, due) = mpsc::channel(MAX_WAITING);
        let now = Arc::clone(&surroundings.now);
        let clerk = Clerk {
            requests: requested,
            publications: publications.clone(),
            orders: Arc::clone(&orders),
            random: surroundings.random.clone(),
            now: Arc::clone(&now),
            settled_after: surroundings.settled_after,
            traces: surroundings.traces.clone(),
        };
        let traces = surroundings.traces.clone();
        let desk = Self { requests, publications, now: Now(Arc::clone(&now)), traces };
        let published = publish::run(due, orders, sink, now);
        let work = async {
            let taken = async {
                clerk.run().await;
                Ok(())
            };
            future::try_join(taken, published).await?;
            Ok(())
        };
        (desk, work)
    }

    /// Stores an order, and has it published. Cancelled, both happen all the same.
    ///
    /// # Errors
    /// See [`DeskError`]; nothing is stored then.
    pub(super) async fn place(&self, order: Order) -> Result<Placed, DeskError> {
        let (placed, answer) = oneshot::channel();
        let request = Request { order, scope: Scope::current(), placed };
        self.requests.try_send(request).map_err(|_| DeskError::Full)?;
        answer.await.unwrap_or(Err(DeskError::Closed))
    }

    /// Has a cancellation published; what is returned completes with the acknowledgement.
    ///
    /// # Errors
    /// See [`DeskError`].
    pub(super) fn cancel(&self, id: OrderId) -> Result<oneshot::Receiver<()>, DeskError> {
        let publication = Publication::cancellation(id, (self.now.0)());
        let publication = publication.traced(self.traces.as_ref(), &Scope::current());
        let (publication, acknowledged) = publication.awaited();
        self.publications.try_send(publication).map_err(|_| DeskError::Full)?;
        Ok(acknowledged)
    }
}

/// Who works at the desk.
struct Clerk {
    requests: mpsc::Receiver<Request>,
    publications: mpsc::Sender<Publication>,
    orders: Arc<dyn Orders>,
    random: Random,
    now: WallClock,
    settled_after: Duration,
    traces: Option<Traces>,
}

impl Clerk {
    /// Takes orders until nobody can place one. Those that a former process has stored and not
    /// published are published once it is settled that no service has them.
    async fn run(mut self) {
        let opened_at = (self.now)();
        let mut settled = Some(Instant::now() + self.settled_after);
        let mut left_over = VecDeque::new();
        loop {
            let is_settled = sleep_until(settled.unwrap_or_else(Instant::now));
            tokio::select! {
                biased;
                request = self.requests.recv() => match request {
                    Some(Request { order, scope, placed }) => {
                        // Whoever asked may have gone.
                        let _ = placed.send(self.place(order, &scope).await);
                    }
                    None => return,
                },
                () = is_settled, if settled.is_some() => match self.left_over(opened_at).await {
                    Ok(publications) => (left_over, settled) = (publications, None),
                    Err(error) => {
                        warn!(service = SERVICE, %error, "unpublished orders can't be read");
                        settled = Some(Instant::now() + self.settled_after);
                    }
                },
                Ok(permit) = self.publications.reserve(), if !left_over.is_empty() => {
                    if let Some(next) = left_over.pop_front() {
                        permit.send(next);
                    }
                }
            }
        }
    }

    async fn place(&self, order: Order, scope: &Scope) -> Result<Placed, DeskError> {
        let permit = self.publications.try_reserve().map_err(|_| DeskError::Full)?;
        let timestamp = (self.now)();
        for _ in 0..MAX_DRAWS {
            let id = OrderId::from_bits(u32::from_be_bytes(self.random.bytes()));
            if self.orders.add(id, &order, timestamp).await? == Added::Stored {
                let publication = Publication::order(id, order, timestamp);
                let publication = publication.traced(self.traces.as_ref(), scope);
                let (publication, acknowledged) = publication.awaited();
                permit.send(publication);
                return Ok(Placed { id, acknowledged });
            }
        }
        Err(DeskError::NoFreeId)
    }

    /// What was stored before this process and is not published; what its customer has cancelled
    /// meanwhile stays so.
    async fn left_over(&self, opened_at: Timestamp) -> Result<VecDeque<Publication>, OrdersError> {
        let stored = self.orders.unpublished(opened_at).await?;
        let wanted = stored.into_iter().filter(|stored| !stored.track.progress.status.is_final());
        let publication = |it: StoredOrder| {
            let publication = Publication::order(it.id, it.order, it.ordered_at);
            publication.traced(self.traces.as_ref(), &Scope::default())
        };
        Ok(wanted.map(publication).collect())
    }
}
