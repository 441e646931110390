//! The thread on which the database is called and watched.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::Duration;

use tokio::sync::{broadcast, oneshot};
use tracing::warn;

use super::database::Database;
use crate::order_id::OrderId;
use crate::orders::OrdersError;

/// How often the thread looks for changes of other processes.
const WATCH_INTERVAL: Duration = Duration::from_millis(200);

// `Orders::changes` promises a second.
const _: () = assert!(WATCH_INTERVAL.as_millis() <= 500);

type Call = Box<dyn FnOnce(&mut Database) + Send>;

/// Has calls made, one after another. Dropped, those that were asked for are still made, and the
/// thread ends.
#[derive(Debug)]
pub(super) struct Calls {
    calls: Sender<Call>,
}

impl Calls {
    /// Starts the thread, which sends every order that changes to `changes`.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(super) fn start(
        database: Database,
        changes: broadcast::Sender<OrderId>,
    ) -> Result<Self, OrdersError> {
        let (calls, made) = channel();
        let run = move || run(database, &made, &changes);
        let thread = Builder::new().name("orders".to_owned()).spawn(run);
        thread.map_err(|error| OrdersError::Thread(error.to_string()))?;
        Ok(Self { calls })
    }

    /// Makes a call, and awaits its end. Cancelled, the call is made all the same.
    ///
    /// # Errors
    /// Those of the call.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Database) -> Result<T, OrdersError> + Send + 'static,
    ) -> Result<T, OrdersError> {
        let (answer, answered) = oneshot::channel();
        let call: Call = Box::new(move |database| {
            // The caller may have been dropped.
            let _ = answer.send(call(database));
        });
        let has_ended = || OrdersError::Thread("it has ended".to_owned());
        self.calls.send(call).map_err(|_| has_ended())?;
        answered.await.map_err(|_| has_ended())?
    }
}

fn run(mut database: Database, calls: &Receiver<Call>, changes: &broadcast::Sender<OrderId>) {
    loop {
        match calls.recv_timeout(WATCH_INTERVAL) {
            Ok(call) => call(&mut database),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        match database.news() {
            // Nobody may be listening.
            Ok(news) => news.into_iter().for_each(|id| drop(changes.send(id))),
            // What was not read is read the next time.
            Err(error) => warn!(%error, "changes of orders can't be read"),
        }
    }
}
