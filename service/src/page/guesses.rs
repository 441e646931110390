//! Wrong tokens: how many a client may give.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::web::{Client, Quota};

/// Wrong tokens of one client in a minute, at most.
const MAX_IN_A_MINUTE: u32 = 10;

/// How many wrong ones are remembered, so that each counts once: a browser that was left open goes
/// on asking with its cookie after the token has changed.
const REMEMBERED: usize = 64;

/// The wrong tokens of each client.
pub(super) struct Guesses {
    quota: Quota<Client>,
    /// The passes of the last ones.
    wrong: Mutex<VecDeque<String>>,
}

impl Guesses {
    pub(super) const fn new() -> Self {
        Self { quota: Quota::new(MAX_IN_A_MINUTE), wrong: Mutex::new(VecDeque::new()) }
    }

    /// How long a client must wait before it may give a token again; nothing if it may now.
    pub(super) fn wait(&self, client: Client) -> Option<Duration> {
        self.quota.wait(&client)
    }

    /// Counts a wrong one, by its pass.
    pub(super) fn count(&self, client: Client, pass: &str) {
        let mut wrong = self.wrong.lock().unwrap_or_else(PoisonError::into_inner);
        if wrong.iter().any(|known| known == pass) {
            return;
        }
        wrong.truncate(REMEMBERED - 1);
        wrong.push_front(pass.to_owned());
        self.quota.count(client);
    }
}

impl fmt::Debug for Guesses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guesses")
    }
}
