//! The thread that listens to a producer's client while no task awaits reports.
//!
//! A task that awaits reports takes them itself: what it has sent was allocated on its thread, and
//! is freed with the report. Freed on another thread, every record costs both of them the lock of the
//! allocator. Logs, errors, statistics and the reports of cancelled batches come at any time, and
//! are heard here.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How long the thread listens before it looks whether a task awaits reports.
const LISTEN: Duration = Duration::from_millis(100);
/// How long no task has awaited reports before the thread listens: there are gaps between batches.
const STILL: Duration = Duration::from_millis(10);

/// The thread. Its end is awaited by the drop, for about [`LISTEN`] at most.
#[derive(Debug)]
pub(super) struct Listener {
    watches: Arc<Watches>,
    thread: Option<JoinHandle<()>>,
}

/// Who listens.
#[derive(Debug, Default)]
struct Watches {
    state: Mutex<State>,
    /// Notified when the first task awaits reports, the last has them, or the thread is to end.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Tasks that await reports.
    tasks: usize,
    has_ended: bool,
}

impl Listener {
    /// Starts the thread; `listen` listens for so long.
    ///
    /// # Errors
    /// If the system has no thread left.
    pub(super) fn start(listen: impl Fn(Duration) + Send + 'static) -> io::Result<Self> {
        let watches = Arc::new(Watches::default());
        let watched = watches.clone();
        let run = move || {
            while watched.wait_until_still() {
                listen(LISTEN);
            }
        };
        let thread = Builder::new().name("kafka-reports".to_owned()).spawn(run)?;
        Ok(Self { watches, thread: Some(thread) })
    }

    /// Says that a task awaits reports, and takes them, until the answer is dropped.
    pub(super) fn watch(&self) -> Watch<'_> {
        self.watches.change(|state| state.tasks += 1);
        Watch(&self.watches)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.watches.change(|state| state.has_ended = true);
        // A callback's panic has been told where it happened.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A task that awaits reports.
pub(super) struct Watch<'a>(&'a Watches);

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.0.change(|state| state.tasks -= 1);
    }
}

impl Watches {
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let was_still = state.is_still();
        change(&mut state);
        if was_still != state.is_still() {
            self.changed.notify_all();
        }
    }

    /// Blocks until no task has awaited reports for [`STILL`]; false once the thread is to end.
    fn wait_until_still(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let waited =
                self.changed.wait_while(state, |state| state.tasks > 0 && !state.has_ended);
            state = waited.unwrap_or_else(PoisonError::into_inner);
            if state.has_ended {
                return false;
            }
            let waited = self.changed.wait_timeout_while(state, STILL, |state| state.is_still());
            let (after, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            if waited.timed_out() {
                return true;
            }
            state = after;
        }
    }
}

impl State {
    const fn is_still(&self) -> bool {
        self.tasks == 0 && !self.has_ended
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn the_thread_listens_unless_a_task_awaits_reports() {
        let (listens, listened) = channel();
        let times = Arc::new(AtomicUsize::new(0));
        let count = times.clone();
        let listen = move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            listens.send(()).unwrap();
        };
        let listener = Listener::start(listen).unwrap();
        listened.recv().unwrap();
        let (one, other) = (listener.watch(), listener.watch());
        let before = times.load(Ordering::Relaxed);
        let pass = || while listened.recv_timeout(STILL * 5).is_ok() {};
        pass();
        drop(one);
        pass();
        // One may have begun before.
        assert!(times.load(Ordering::Relaxed) <= before + 1);
        drop(other);
        listened.recv().unwrap();
        drop(listener);
        pass();
        assert!(listened.recv().is_err(), "the thread has ended");
    }
}
