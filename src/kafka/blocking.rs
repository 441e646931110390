//! A client whose calls block, and the thread that makes them.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::Builder;
use std::time::Duration;

use rdkafka::error::{KafkaError, KafkaResult};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{ConfigError, ErrorKind};

/// The wait before a call that failed for now is made again.
const RETRY_DELAY: Duration = Duration::from_millis(50);

type Call<T> = Box<dyn FnOnce(&T) + Send>;

/// Owns a client, with a thread that makes its calls one after another. After the drop, the thread
/// makes the calls that were asked for, then ends the client. The drop does not wait for that,
/// since a call to a broker that is away can't be interrupted.
///
/// # Invariant
/// The client ends on the thread: fields are dropped in their order, and the thread keeps the
/// client until no handle that could ask for a call is left.
pub(crate) struct Blocking<T> {
    client: Arc<T>,
    calls: Sender<Call<T>>,
}

impl<T: Send + Sync + 'static> Blocking<T> {
    /// Starts the thread.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(crate) fn start(name: &str, client: T) -> Result<Self, ConfigError> {
        let client = Arc::new(client);
        let (calls, asked) = channel::<Call<T>>();
        let kept = client.clone();
        let run = move || asked.into_iter().for_each(|call| call(&kept));
        let thread = Builder::new().name(name.to_owned()).spawn(run);
        thread.map_err(|error| ConfigError::Refused(error.to_string()))?;
        Ok(Self { client, calls })
    }

    /// Makes a call, and awaits its end. Cancelled, the call is made all the same. `None` if a
    /// call has panicked.
    pub(crate) async fn call<R: Send + 'static>(
        &self,
        call: impl FnOnce(&T) -> R + Send + 'static,
    ) -> Option<R> {
        let (answer, answered) = oneshot::channel();
        self.ask(move |client| {
            // The caller may have been cancelled.
            let _ = answer.send(call(client));
        });
        answered.await.ok()
    }

    /// Asks for a call, and does not wait for it.
    pub(crate) fn ask(&self, call: impl FnOnce(&T) + Send + 'static) {
        // The thread has gone only if a call has panicked; `call` says so.
        let _ = self.calls.send(Box::new(call));
    }
}

impl<T> Deref for Blocking<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.client
    }
}

impl<T> fmt::Debug for Blocking<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Blocking").finish_non_exhaustive()
    }
}

/// Repeats a call while it fails with a passing error, for at most this long.
#[expect(clippy::disallowed_methods, reason = "the thread is there to block")]
pub(super) fn persist<R>(
    limit: Duration,
    passes: impl Fn(&KafkaError) -> bool,
    mut call: impl FnMut() -> KafkaResult<R>,
) -> KafkaResult<R> {
    let since = Instant::now();
    loop {
        match call() {
            Err(error) if passes(&error) && since.elapsed() < limit => {
                std::thread::sleep(RETRY_DELAY);
            }
            done => return done,
        }
    }
}

/// Asks brokers until they answer or refuse, for at most this long.
pub(super) fn ask<R>(limit: Duration, question: impl FnMut() -> KafkaResult<R>) -> KafkaResult<R> {
    persist(limit, |error| ErrorKind::of(error.rdkafka_error_code()).passes(), question)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reports the thread on which it ends.
    struct Client(Sender<String>);

    impl Drop for Client {
        fn drop(&mut self) {
            let thread = std::thread::current();
            self.0.send(thread.name().unwrap_or_default().to_owned()).unwrap();
        }
    }

    #[tokio::test]
    async fn a_client_ends_on_the_thread_of_its_calls_after_those_that_were_asked_for() {
        let (reports, reported) = channel();
        let client = Blocking::start("calls", Client(reports)).unwrap();
        assert_eq!(client.call(|_| 7).await, Some(7));
        client.ask(|client| client.0.send("asked".to_owned()).unwrap());
        drop(client);
        assert_eq!(reported.iter().collect::<Vec<_>>(), ["asked", "calls"]);
    }
}
