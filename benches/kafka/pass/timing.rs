//! From the first job to the last acknowledgement and commit.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::figure::Figure;
use crate::process::{cpu_seconds, peak_kib};

#[derive(Debug, Default)]
pub(super) struct Timing {
    first: OnceLock<(Instant, f64)>,
    last: Mutex<Option<Duration>>,
}

impl Timing {
    /// A job has come.
    pub(super) fn begin(&self) {
        self.first.get_or_init(|| (Instant::now(), cpu_seconds(std::process::id())));
    }

    /// Something was acknowledged or committed.
    pub(super) fn mark(&self) {
        let elapsed = self.first.get().map(|(began, _)| began.elapsed());
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = elapsed;
    }

    pub(super) fn figure(&self, records: usize) -> Figure {
        let (_, cpu) = self.first.get().expect("a job has come");
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = std::process::id();
        Figure {
            records,
            seconds: last.expect("something was acknowledged").as_secs_f64(),
            cpu_seconds: cpu_seconds(pid) - cpu,
            peak_kib: peak_kib(pid),
        }
    }
}
