//! Where orders are taken: stored under an id of their own, then published, whether or not the
//! customer still waits.

use std::future::Future;
use std::sync::Arc;

use futures::future;
use jobstream::sinks::Sink;
use jobstream_service::traces::{Scope, Traces};
use tokio::sync::{mpsc, oneshot};

use super::clerk::Clerk;
use super::publish::{self, Publication};
use super::{Surroundings, WebError};
use crate::clock::WallClock;
use crate::order::Order;
use crate::order_id::OrderId;
use crate::orders::{Orders, OrdersError};

/// How many orders wait to be stored, and how many records to be published, at most.
pub(super) const MAX_WAITING: usize = 1024;

/// How often an id is drawn for one order, at most.
pub(super) const MAX_DRAWS: usize = 100;

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

/// An order that is to be stored, and where the answer goes.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) order: Order,
    /// Whose order it is, in a trace.
    pub(super) scope: Scope,
    pub(super) placed: oneshot::Sender<Result<Placed, DeskError>>,
}

impl Desk {
    /// Opens a desk. Its work is to be awaited beside the requests that use it: it ends after the
    /// last clone of the desk is dropped and everything is published, or when the sink is broken.
    pub(super) fn open(
        orders: Arc<dyn Orders>,
        sink: Arc<dyn Sink>,
        surroundings: &Surroundings,
    ) -> (Self, impl Future<Output = Result<(), WebError>> + use<>) {
        let (requests, requested) = mpsc::channel(MAX_WAITING);
        let (publications, due) = mpsc::channel(MAX_WAITING);
        let now = Arc::clone(&surroundings.now);
        let clerk = Clerk::new(requested, publications.clone(), orders.clone(), surroundings);
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
