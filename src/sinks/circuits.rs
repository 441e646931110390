//! A circuit for each receiver: one that is away, or has asked for a pause, is left alone for a while,
//! and holds up nobody else.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::JobError;

/// Attempts in a row that a receiver does not answer until its circuit opens.
const SILENT_MAX: u32 = 5;
/// How long it is open at first; twice as long after each further attempt without an answer.
const OPEN_FIRST: Duration = Duration::from_secs(1);
/// The longest time between two attempts while a receiver is away.
const OPEN_MAX: Duration = Duration::from_secs(60);
/// The longest pause of all jobs of a receiver; the job whose answer has asked for it waits as it says.
const PAUSE_MAX: Duration = Duration::from_secs(300);
/// So long jobs wait without a limit of theirs; then each wait counts, so that the jobs of a receiver
/// that stays away end, and make room.
const PATIENCE: Duration = Duration::from_secs(600);
/// Receivers that are remembered, at most.
const RECEIVERS_MAX: usize = 10_000;

/// A circuit for each receiver, for a job sink that has many of them: hosts that it posts to, say.
///
/// After 5 attempts in a row without an answer a receiver is left alone for a second, then one attempt at
/// a time finds out whether it is back, each after twice the time, at most a minute. A receiver that asks
/// for a pause is left alone for as long, at most 5 minutes. Jobs of other receivers notice nothing; how
/// many of one are under way at once is a [limit of a key](crate::topology::KeyLimits).
///
/// What is known is kept in memory, of at most 10,000 receivers that are not well.
#[derive(Debug, Default)]
pub struct Circuits {
    /// Those that have failed, or have asked for a pause.
    receivers: Mutex<BTreeMap<String, Circuit>>,
}

#[derive(Debug)]
struct Circuit {
    /// Attempts without an answer, in a row.
    silent: u32,
    opens_at: Instant,
    paused_until: Instant,
    /// Since when it has not been well.
    since: Instant,
}

/// An attempt that was let through. Dropped, its receiver has not answered.
#[derive(Debug)]
#[must_use = "dropped, its receiver has not answered"]
pub struct Trial<'a> {
    circuits: &'a Circuits,
    receiver: &'a str,
    has_ended: bool,
}

impl Circuits {
    /// All receivers are well.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets an attempt through.
    ///
    /// # Errors
    /// If the receiver is to be left alone: unavailable, and [not before](JobError::not_before) another
    /// attempt makes sense. If it has not been well for 10 minutes the error is transient, so that the
    /// waits count, and the jobs of a receiver that stays away end.
    pub fn admit<'a>(&'a self, receiver: &'a str) -> Result<Trial<'a>, JobError> {
        let now = Instant::now();
        if let Some(circuit) = self.receivers().get_mut(receiver) {
            let (opens_at, is_away) = match circuit.opens_at.max(circuit.paused_until) {
                at if at == circuit.paused_until => (at, false),
                at => (at, true),
            };
            if now < opens_at {
                return Err(refused(opens_at - now, is_away, now - circuit.since > PATIENCE));
            }
            // One at a time finds out whether it is back.
            if circuit.silent >= SILENT_MAX {
                circuit.opens_at = now + open_for(circuit.silent);
            }
        }
        Ok(Trial { circuits: self, receiver, has_ended: false })
    }

    fn receivers(&self) -> MutexGuard<'_, BTreeMap<String, Circuit>> {
        self.receivers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what is known of a receiver that is not well.
    fn note(&self, receiver: &str, change: impl FnOnce(&mut Circuit, Instant)) {
        let now = Instant::now();
        let mut receivers = self.receivers();
        if !receivers.contains_key(receiver) && receivers.len() >= RECEIVERS_MAX {
            receivers.retain(|_, circuit| now < circuit.opens_at.max(circuit.paused_until));
            if receivers.len() >= RECEIVERS_MAX {
                return;
            }
        }
        let new = || Circuit { silent: 0, opens_at: now, paused_until: now, since: now };
        change(receivers.entry(receiver.to_owned()).or_insert_with(new), now);
    }
}

impl Trial<'_> {
    /// The receiver has answered, or could not be asked for a reason that is not its own.
    pub fn answered(mut self) {
        self.has_ended = true;
        let mut receivers = self.circuits.receivers();
        let Some(circuit) = receivers.get_mut(self.receiver) else { return };
        let now = Instant::now();
        (circuit.silent, circuit.opens_at, circuit.since) = (0, now, now);
        if circuit.paused_until <= now {
            receivers.remove(self.receiver);
        }
    }

    /// The receiver has answered that it wants nothing for a while.
    pub fn asked_for(mut self, pause: Duration) {
        self.has_ended = true;
        self.circuits.note(self.receiver, |circuit, now| {
            (circuit.silent, circuit.opens_at) = (0, now);
            circuit.paused_until = circuit.paused_until.max(now + pause.min(PAUSE_MAX));
        });
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        self.circuits.note(self.receiver, |circuit, now| {
            circuit.silent += 1;
            if circuit.silent >= SILENT_MAX {
                circuit.opens_at = now + open_for(circuit.silent);
            }
        });
    }
}

fn open_for(silent: u32) -> Duration {
    let doublings = silent.saturating_sub(SILENT_MAX).min(31);
    OPEN_FIRST.saturating_mul(1 << doublings).min(OPEN_MAX)
}

fn refused(wait: Duration, is_away: bool, counts: bool) -> JobError {
    let reason = match is_away {
        true => "the receiver has not answered lately",
        false => "the receiver has asked for a pause",
    };
    match counts {
        true => JobError::transient(reason),
        false => JobError::unavailable(reason),
    }
    .not_before(wait)
}
