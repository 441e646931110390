//! What was said, for assertions.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::misfortune::Moment;

/// A command and the code of its reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The number of the connection, from 1.
    pub connection: u64,
    /// Where in the conversation; an unknown command is at [`Moment::Any`].
    pub moment: Moment,
    /// The command line without its CRLF; empty for the greeting, `.` for the final dot. Of AUTH
    /// only the first line.
    pub command: String,
    /// The code of the reply; `None` where a misfortune kept it back.
    pub reply: Option<u16>,
    /// Whether it was said under TLS.
    pub tls: bool,
}

/// The exchanges of all connections in the order in which they were answered: the last ones, up to
/// a limit.
#[derive(Clone, Debug)]
pub(super) struct Conversation {
    limit: usize,
    exchanges: Arc<Mutex<VecDeque<Exchange>>>,
}

impl Conversation {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, exchanges: Arc::default() }
    }

    /// `exchange` is only made where something is kept.
    pub(super) fn note(&self, exchange: impl FnOnce() -> Exchange) {
        if self.limit == 0 {
            return;
        }
        let mut exchanges = self.lock();
        if exchanges.len() == self.limit {
            exchanges.pop_front();
        }
        exchanges.push_back(exchange());
    }

    pub(super) fn exchanges(&self) -> Vec<Exchange> {
        self.lock().iter().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Exchange>> {
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
