//! An actor: a future that the scheduler polls, and whether it is ready.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use futures::future::{BoxFuture, FutureExt};

/// Wakes the scheduler when any actor becomes ready.
#[derive(Debug, Default)]
pub(super) struct Bell(Mutex<Option<Waker>>);

impl Bell {
    pub(super) fn listen(&self, waker: &Waker) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker.clone());
    }

    fn ring(&self) {
        if let Some(waker) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
    }
}

/// Whether a future is ready to be polled.
#[derive(Debug)]
struct Flag {
    ready: AtomicBool,
    bell: Arc<Bell>,
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.store(true, Ordering::Release);
        self.bell.ring();
    }
}

/// A future that is polled when the scheduler picks it, with a waker of its own.
pub(super) struct Actor<T> {
    future: BoxFuture<'static, T>,
    flag: Arc<Flag>,
}

impl<T> Actor<T> {
    pub(super) fn new(future: BoxFuture<'static, T>, bell: &Arc<Bell>) -> Self {
        let flag = Arc::new(Flag { ready: AtomicBool::new(true), bell: bell.clone() });
        Self { future, flag }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.flag.ready.load(Ordering::Acquire)
    }

    pub(super) fn poll(&mut self) -> Poll<T> {
        self.flag.ready.store(false, Ordering::Release);
        let waker = Waker::from(self.flag.clone());
        self.future.poll_unpin(&mut Context::from_waker(&waker))
    }
}
