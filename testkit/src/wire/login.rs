//! Logins: which mechanism a connection has chosen, and how far it is.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::scram::{Exchange, Hash};

/// A user and a password that is accepted.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) user: String,
    pub(super) password: String,
}

/// Without the password.
impl std::fmt::Debug for Account {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Account").field("user", &self.user).finish_non_exhaustive()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    Plain,
    Scram(Hash),
}

impl Mechanism {
    pub(super) const NAMES: [&'static str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "PLAIN" => Some(Self::Plain),
            "SCRAM-SHA-256" => Some(Self::Scram(Hash::Sha256)),
            "SCRAM-SHA-512" => Some(Self::Scram(Hash::Sha512)),
            _ => None,
        }
    }
}

/// The login of one connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Login(Arc<Mutex<Progress>>);

#[derive(Debug, Default)]
enum Progress {
    #[default]
    Nothing,
    Chosen(Mechanism),
    Exchanging(Exchange),
    /// The server's proof is sent; nothing more is to come.
    Done,
}

impl Login {
    pub(super) fn is_done(&self) -> bool {
        matches!(*self.progress(), Progress::Done)
    }

    /// Takes a mechanism, unless one is taken already.
    pub(super) fn choose(&self, mechanism: Mechanism) -> bool {
        let mut progress = self.progress();
        let is_first = matches!(*progress, Progress::Nothing);
        if is_first {
            *progress = Progress::Chosen(mechanism);
        }
        is_first
    }

    /// Takes what the client says, and gives the answer; none if the login has failed, or is out of
    /// turn. `nonce` is new each time.
    pub(super) fn answer(
        &self,
        message: &[u8],
        accounts: &[Account],
        nonce: &str,
    ) -> Option<String> {
        let mut progress = self.progress();
        let message = std::str::from_utf8(message).ok()?;
        match std::mem::take(&mut *progress) {
            Progress::Chosen(Mechanism::Plain) => {
                let mut words = message.split('\0').skip(1);
                let (user, password) = (words.next()?, words.next()?);
                let known =
                    |account: &Account| account.user == user && account.password == password;
                accounts.iter().find(|account| known(account))?;
                *progress = Progress::Done;
                Some(String::new())
            }
            Progress::Chosen(Mechanism::Scram(hash)) => {
                let (exchange, answer) = Exchange::begin(hash, message, nonce)?;
                *progress = Progress::Exchanging(exchange);
                Some(answer)
            }
            Progress::Exchanging(exchange) => {
                let account = accounts.iter().find(|it| it.user == exchange.user())?;
                let answer = exchange.finish(message, &account.password)?;
                *progress = Progress::Done;
                Some(answer)
            }
            Progress::Nothing | Progress::Done => None,
        }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
