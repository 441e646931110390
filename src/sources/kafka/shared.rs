//! The buffer behind its lock, with the wake-ups of both sides.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::buffer::{Buffer, Chunk, Command};
use super::signal::Signal;

#[derive(Debug, Default)]
pub(super) struct Shared {
    buffer: Mutex<Buffer>,
    /// Tells the stream to look here before it yields what it has taken.
    dirty: AtomicBool,
    pub(super) signal: Arc<Signal>,
    /// How often the stream was polled.
    polls: AtomicU64,
}

impl Shared {
    /// Looks at the buffer, or changes what the stream need not know at once.
    pub(super) fn with<T>(&self, f: impl FnOnce(&mut Buffer) -> T) -> T {
        f(&mut self.buffer.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes what the stream must know before it yields another record.
    pub(super) fn change<T>(&self, f: impl FnOnce(&mut Buffer) -> T) -> T {
        let (out, waker) = self.with(|buffer| {
            let out = f(buffer);
            self.dirty.store(true, Ordering::Release);
            (out, buffer.take_waker())
        });
        if let Some(waker) = waker {
            waker.wake();
        }
        out
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.dirty.load(Ordering::Acquire)
    }

    pub(super) fn clear_dirty(&self) -> bool {
        self.dirty.swap(false, Ordering::AcqRel)
    }

    /// How often the stream was polled.
    pub(super) fn polls(&self) -> u64 {
        self.polls.load(Ordering::Relaxed)
    }

    /// The stream counts its polls itself: it alone writes them.
    pub(super) fn count_poll(&self, polls: u64) {
        self.polls.store(polls, Ordering::Relaxed);
    }

    /// Adds what was fetched. It changes nothing that the stream has taken already.
    pub(super) fn push(&self, chunks: Vec<Chunk>) {
        let waker = self.with(|buffer| {
            buffer.push(chunks);
            buffer.take_waker()
        });
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Asks the poller for something; a poller that has ended drops it.
    pub(super) fn ask(&self, command: Command) {
        self.with(|buffer| {
            if buffer.ended.is_none() {
                buffer.commands.push_back(command);
            }
        });
        self.signal.raise();
    }
}
