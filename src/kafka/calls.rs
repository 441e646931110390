//! Blocking calls of a client, one after another on a thread of their own.

use std::sync::mpsc::{Sender, channel};
use std::thread::{Builder, JoinHandle};

use tokio::sync::oneshot;

type Call = Box<dyn FnOnce() + Send>;

/// A thread that makes calls. Dropped, it makes those that were asked for and ends; nobody waits
/// for it, since a call on a broker that is away can't be interrupted.
#[derive(Debug)]
pub(crate) struct Calls {
    calls: Sender<Call>,
    _thread: JoinHandle<()>,
}

impl Calls {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(crate) fn start(name: &str) -> std::io::Result<Self> {
        let (calls, made) = channel::<Call>();
        let run = move || made.into_iter().for_each(|call| call());
        let thread = Builder::new().name(name.to_owned()).spawn(run)?;
        Ok(Self { calls, _thread: thread })
    }

    /// Makes a call, and awaits its end. Cancelled, the call is made all the same. `None` if a
    /// call has panicked.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        self.tell(move || {
            // Whoever asked may have gone.
            let _ = answer.send(call());
        });
        answered.await.ok()
    }

    /// Has a call made, and does not wait for it.
    pub(crate) fn tell(&self, call: impl FnOnce() + Send + 'static) {
        // The thread has gone only if a call has panicked; `call` says so.
        let _ = self.calls.send(Box::new(call));
    }
}
