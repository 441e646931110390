//! The count of connections, and how many are served at once.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// How many connections there are and were.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// Open now. A connection is open from the moment at which the server takes it up until it
    /// notices that the client has closed it, or closes it itself. One that waits to be served is
    /// not taken up.
    pub open: u64,
    /// The most that were ever open at once.
    pub peak: u64,
    /// All that there ever were: the number of the last one.
    pub total: u64,
}

/// The counter behind [`Connections`], with those who wait to be served.
#[derive(Clone, Debug)]
pub(super) struct ConnectionCount {
    shared: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    counts: Connections,
    served_limit: u64,
    /// Those that wait, in the order in which they came.
    waiting: VecDeque<oneshot::Sender<OpenConnection>>,
}

/// One open connection, until it is dropped.
#[derive(Debug)]
pub(super) struct OpenConnection {
    count: ConnectionCount,
    pub(super) number: u64,
    /// How many are open, this one included.
    pub(super) open: u64,
}

impl ConnectionCount {
    pub(super) fn new(served_limit: u64) -> Self {
        let (counts, waiting) = Default::default();
        Self { shared: Arc::new(Mutex::new(State { counts, served_limit, waiting })) }
    }

    /// Completes when there is a place for one more.
    pub(super) async fn open(&self) -> OpenConnection {
        let place = {
            let mut state = self.lock();
            let (sender, place) = oneshot::channel();
            state.waiting.push_back(sender);
            place
        };
        self.take_up();
        place.await.unwrap_or_else(|_| unreachable!("who still waits is not forgotten"))
    }

    pub(super) fn get(&self) -> Connections {
        self.lock().counts
    }

    pub(super) fn set_served_limit(&self, served_limit: u64) {
        self.lock().served_limit = served_limit;
        self.take_up();
    }

    /// Gives the places that are free to those that have waited longest.
    fn take_up(&self) {
        loop {
            let mut state = self.lock();
            while state.waiting.pop_front_if(|it| it.is_closed()).is_some() {}
            if state.counts.open >= state.served_limit {
                return;
            }
            let Some(next) = state.waiting.pop_front() else { return };
            state.counts.total += 1;
            state.counts.open += 1;
            state.counts.peak = state.counts.peak.max(state.counts.open);
            let Connections { total: number, open, .. } = state.counts;
            drop(state);
            // If that one has gone just now, its place is free again.
            drop(next.send(OpenConnection { count: self.clone(), number, open }));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.count.lock().counts.open -= 1;
        self.count.take_up();
    }
}
