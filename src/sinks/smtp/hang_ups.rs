//! Whose fault it is that the server hangs up in the midst of a mail.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most jobs of which it is known that the server has hung up on them.
const JOBS_MAX: usize = 16_384;

/// Tells a server that goes away from one that hangs up on a certain job: by 421, or by closing the
/// connection, in answer to what was said from MAIL on.
///
/// It is the job if the server has taken another mail since that job's last attempt. The first time
/// is nobody's: one more attempt shows it.
#[derive(Debug, Default)]
pub(super) struct HangUps(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The mails that the server has taken.
    taken: u64,
    /// How many it had taken when it hung up last, on whichever job.
    taken_before_last: u64,
    /// How many it had taken at the last attempt of each job on which it has hung up.
    jobs: BTreeMap<String, u64>,
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The server's: it has taken no mail since it hung up last.
    Server,
    /// Not known yet: the server has taken mails meanwhile, and never hung up on this job before.
    Unknown,
    /// The job's.
    Job,
}

impl HangUps {
    /// The server has hung up on a job, which is known by its `Message-ID`.
    pub(super) fn judge(&self, job: &str) -> Fault {
        let mut state = self.state();
        let taken = state.taken;
        let was_taken_before = std::mem::replace(&mut state.taken_before_last, taken);
        let known = state.jobs.get(job).copied();
        if known.is_none() && state.jobs.len() >= JOBS_MAX {
            state.jobs.pop_first();
        }
        state.jobs.insert(job.to_owned(), taken);
        match known {
            Some(at_its_last) if at_its_last < taken => Fault::Job,
            None if was_taken_before < taken => Fault::Unknown,
            _ => Fault::Server,
        }
    }

    /// The server has taken the mail of a job.
    pub(super) fn taken(&self, job: &str) {
        let mut state = self.state();
        state.taken += 1;
        state.jobs.remove(job);
    }

    /// Another attempt of a job has ended, and one may follow.
    pub(super) fn tried(&self, job: &str) {
        let mut state = self.state();
        let taken = state.taken;
        if let Some(at_its_last) = state.jobs.get_mut(job) {
            *at_its_last = taken;
        }
    }

    /// No attempt of a job follows.
    pub(super) fn forget(&self, job: &str) {
        self.state().jobs.remove(job);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, HangUps, JOBS_MAX};

    #[test]
    fn the_first_time_is_never_the_jobs_and_later_ones_are_if_another_mail_was_taken() {
        let hang_ups = HangUps::default();
        assert_eq!(hang_ups.judge("a"), Fault::Server, "nothing was ever taken");
        assert_eq!(hang_ups.judge("a"), Fault::Server);
        hang_ups.taken("other");
        assert_eq!(hang_ups.judge("b"), Fault::Unknown);
        assert_eq!(hang_ups.judge("a"), Fault::Job);
        assert_eq!(hang_ups.judge("a"), Fault::Server, "none was taken since");
        assert_eq!(hang_ups.judge("c"), Fault::Server, "the second in a row");
        hang_ups.taken("other");
        hang_ups.tried("a");
        assert_eq!(hang_ups.judge("a"), Fault::Server, "its last attempt came after that mail");
    }

    #[test]
    fn who_has_ended_begins_anew() {
        let hang_ups = HangUps::default();
        for end in [HangUps::taken, HangUps::forget] {
            hang_ups.judge("a");
            hang_ups.taken("other");
            end(&hang_ups, "a");
            assert_eq!(hang_ups.judge("a"), Fault::Unknown);
        }
    }

    #[test]
    fn no_more_jobs_are_remembered_than_the_limit_says() {
        let hang_ups = HangUps::default();
        for number in 0..2 * JOBS_MAX {
            hang_ups.judge(&number.to_string());
        }
        assert_eq!(hang_ups.state().jobs.len(), JOBS_MAX);
    }
}
