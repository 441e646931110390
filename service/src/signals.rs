//! SIGTERM and SIGINT.

use std::io;
use std::pin::pin;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::exit::{EXIT_ABORTED, EXIT_FAILURE};

/// The signals that ask the process to end, from now on.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// What signals have ended, or that there are none.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// The system gives no signals.
    #[error("signals can't be heard: {0}")]
    Unheard(io::Error),
    /// A second signal came before the end.
    #[error("ended at once by a second signal: what was in flight will be done again")]
    Aborted,
}

impl SignalError {
    /// The exit code that says it.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Unheard(_) => EXIT_FAILURE,
            Self::Aborted => EXIT_ABORTED,
        }
    }
}

impl Signals {
    /// Hears them from now on; before, they end the process.
    ///
    /// # Errors
    /// If the system gives no signals.
    pub fn new() -> Result<Self, SignalError> {
        let hear = |kind| signal(kind).map_err(SignalError::Unheard);
        Ok(Self {
            terminate: hear(SignalKind::terminate())?,
            interrupt: hear(SignalKind::interrupt())?,
        })
    }

    /// Completes with the next one. Cancelled, it loses none.
    pub async fn next(&mut self) {
        tokio::select! {
            biased;
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Completes when `run` has ended. The first signal calls `stop`, which asks it to end; the
    /// second one drops it.
    ///
    /// # Errors
    /// What `run` ends with, or [`SignalError::Aborted`].
    pub async fn stop_at_next<E: From<SignalError>>(
        &mut self,
        run: impl Future<Output = Result<(), E>>,
        stop: impl FnOnce(),
    ) -> Result<(), E> {
        let mut run = pin!(run);
        tokio::select! {
            biased;
            ended = &mut run => return ended,
            () = self.next() => stop(),
        }
        tokio::select! {
            biased;
            ended = run => ended,
            () = self.next() => Err(SignalError::Aborted.into()),
        }
    }
}
