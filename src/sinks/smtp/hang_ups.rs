//! Whose fault it is that the server hangs up in the midst of a mail.
//!
//! A server that goes away answers 421, or closes the connection in the midst of a mail; one that has
//! forgotten the login, or wants another, answers 530 or 535; one that is broken says nothing, or no
//! SMTP. A server that dislikes a recipient may do all of these. Only other mails distinguish the two: if the server
//! has taken one since the job's last attempt, it is not away.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The most jobs of which it is known that the server has hung up on them.
const JOBS_MAX: usize = 16_384;

/// A server that has taken a mail so lately is not away.
const LATELY: Duration = Duration::from_secs(5);

/// Distinguishes a server that goes away from one that hangs up on a certain job. Both answer 421,
/// 530 or 535, or nothing that makes sense, or close the connection, after MAIL or a later command.
///
/// The job is the cause if the server has taken another mail since that job's last attempt. The
/// first hang-up on a job has no known cause while the server takes mails, however many jobs it
/// happens to at once: one more attempt shows it. A server that has taken no mail [`LATELY`] is
/// away.
#[derive(Debug, Default)]
pub(super) struct HangUps(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The mails that the server has taken.
    taken: u64,
    /// When it took the last one.
    taken_at: Option<Instant>,
    /// How many it had taken at the last attempt of each job on which it has hung up.
    jobs: BTreeMap<String, u64>,
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The server's: it has taken no mail since this job's last attempt, or none lately.
    Server,
    /// Not known yet: the server takes mails, and never hung up on this job before.
    Unknown,
    /// The job's.
    Job,
}

impl HangUps {
    /// The server has hung up on a job, which is known by its `Message-ID`.
    pub(super) fn judge(&self, job: &str) -> Fault {
        let mut state = self.state();
        let taken = state.taken;
        let takes = state.taken_at.is_some_and(|at| at.elapsed() < LATELY);
        let known = state.jobs.get(job).copied();
        if known.is_none() && state.jobs.len() >= JOBS_MAX {
            state.jobs.pop_first();
        }
        state.jobs.insert(job.to_owned(), taken);
        match known {
            Some(at_its_last) if at_its_last < taken => Fault::Job,
            None if takes => Fault::Unknown,
            _ => Fault::Server,
        }
    }

    /// The server has taken the mail of a job.
    pub(super) fn taken(&self, job: &str) {
        let mut state = self.state();
        state.taken += 1;
        state.taken_at = Some(Instant::now());
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
    use tokio::time::advance;

    use super::{Fault, HangUps, JOBS_MAX, LATELY};

    #[tokio::test(start_paused = true)]
    async fn the_first_time_is_never_the_jobs_and_later_ones_are_if_another_mail_was_taken() {
        let hang_ups = HangUps::default();
        assert_eq!(hang_ups.judge("a"), Fault::Server, "nothing was ever taken");
        assert_eq!(hang_ups.judge("a"), Fault::Server);
        hang_ups.taken("other");
        assert_eq!(hang_ups.judge("b"), Fault::Unknown);
        assert_eq!(hang_ups.judge("a"), Fault::Job);
        assert_eq!(hang_ups.judge("a"), Fault::Server, "none was taken since");
        hang_ups.taken("other");
        hang_ups.tried("a");
        assert_eq!(hang_ups.judge("a"), Fault::Server, "its last attempt came after that mail");
    }

    #[tokio::test(start_paused = true)]
    async fn many_jobs_beside_each_other_are_no_server_that_is_away() {
        let hang_ups = HangUps::default();
        hang_ups.taken("other");
        for number in 0..200 {
            assert_eq!(hang_ups.judge(&format!("job {number}")), Fault::Unknown);
        }
        advance(LATELY).await;
        assert_eq!(hang_ups.judge("one more"), Fault::Server);
        hang_ups.taken("other");
        assert_eq!(hang_ups.judge("another"), Fault::Unknown);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_ended_begins_anew() {
        let hang_ups = HangUps::default();
        for end in [HangUps::taken, HangUps::forget] {
            hang_ups.judge("a");
            hang_ups.taken("other");
            end(&hang_ups, "a");
            assert_eq!(hang_ups.judge("a"), Fault::Unknown);
        }
    }

    #[tokio::test]
    async fn no_more_jobs_are_remembered_than_the_limit_says() {
        let hang_ups = HangUps::default();
        for number in 0..2 * JOBS_MAX {
            hang_ups.judge(&number.to_string());
        }
        assert_eq!(hang_ups.state().jobs.len(), JOBS_MAX);
    }
}
