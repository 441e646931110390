//! The thread that listens to a producer's client while no task awaits reports.
//!
//! A task that awaits reports takes them itself: its records were allocated on its thread, and are
//! freed with their reports. If another thread freed them, every record would cost both threads the
//! allocator's lock. Logs, errors, statistics and the reports of cancelled batches come at any
//! time; this thread takes them.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// How long the thread listens before it checks whether a task awaits reports.
const LISTEN: Duration = Duration::from_millis(100);
/// How long no task may have awaited reports before the thread listens. It bridges the gaps between
/// batches.
const STILL: Duration = Duration::from_millis(10);

/// The thread. Its drop waits for its end, for about [`LISTEN`] at most.
#[derive(Debug)]
pub(super) struct Listener {
    watches: Arc<Watches>,
    thread: Option<JoinHandle<()>>,
}

/// Whether tasks or the thread listen.
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
    /// Starts the thread; `listen` listens for the duration that it gets.
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

    /// Registers a task that awaits and takes reports, until the returned value is dropped.
    pub(super) fn watch(&self) -> Watch<'_> {
        self.watches.change(|state| state.tasks += 1);
        Watch(&self.watches)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.watches.change(|state| state.has_ended = true);
        // The panic of a callback has been reported where it happened.
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
