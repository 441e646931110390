//! The connections that are being opened, for whichever send is the next to get one.
//!
//! An opening belongs to the pool, not to the send for which it was begun. That send may get a
//! connection that comes free, or be cancelled; the opening goes on, and its connection goes to the
//! next send, or waits idle.
//!
//! The library starts no task, so the sends that wait poll the openings. A wake-up goes to one of
//! them, the one that has waited longest; if that send leaves before it has polled, the wake-up goes
//! to the next. Without any such send the openings stand still until one comes.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::conversation::Conversation;
use super::fault::ServerFault;
use super::gauge::Gauge;
use super::open::Opener;

/// Connections that are being opened.
pub(super) struct Openings {
    opener: Arc<Opener>,
    under_way: Mutex<FuturesUnordered<BoxFuture<'static, Ended>>>,
    /// How many are under way, so that no lock is taken where there are none.
    count: AtomicUsize,
    progress: Arc<Progress>,
}

/// An opening that has ended.
pub(super) struct Ended {
    pub(super) opened: Result<Conversation, ServerFault>,
    pub(super) took: Duration,
}

/// Hands a wake-up to one of those that poll the openings.
#[derive(Default)]
struct Progress(Notify);

impl Openings {
    pub(super) fn new(opener: Arc<Opener>) -> Self {
        let (under_way, count, progress) = Default::default();
        Self { opener, under_way, count, progress }
    }

    /// Begins to open a connection.
    pub(super) fn begin(&self) {
        let opener = Arc::clone(&self.opener);
        self.under_way().push(Box::pin(async move {
            let start = Instant::now();
            let opened = opener.open_beside_others(Gauge::has_waiting).await;
            Ended { opened: opened.map(|opened| opened.conversation), took: start.elapsed() }
        }));
        self.count.fetch_add(1, Relaxed);
        self.progress.0.notify_one();
    }

    /// Goes on with the openings, and takes one that has ended.
    pub(super) fn poll(&self) -> Option<Ended> {
        if self.count.load(Relaxed) == 0 {
            return None;
        }
        let waker = Waker::from(Arc::clone(&self.progress));
        let polled = self.under_way().poll_next_unpin(&mut Context::from_waker(&waker));
        let Poll::Ready(Some(ended)) = polled else { return None };
        self.count.fetch_sub(1, Relaxed);
        Some(ended)
    }

    /// Completes when [`Self::poll`] is due, for one of the callers that wait here.
    pub(super) async fn progressed(&self) {
        self.progress.0.notified().await;
    }

    /// Closes all connections that are being opened, and says how many openings there were.
    pub(super) fn abandon(&self) -> usize {
        let abandoned = std::mem::take(&mut *self.under_way());
        self.count.fetch_sub(abandoned.len(), Relaxed);
        abandoned.len()
    }

    fn under_way(&self) -> MutexGuard<'_, FuturesUnordered<BoxFuture<'static, Ended>>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Progress {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.notify_one();
    }
}
