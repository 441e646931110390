//! A relay: one of the servers of a sink, as its users see it.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::{BoxFuture, FutureExt as _, Shared};
use tokio::time::sleep_until;

use crate::sinks::{Effect, JobError};

use super::config::{ConfigError, Login, TimeLimits};
use super::conversation::after;
use super::fault::ServerFault;
use super::message::Mail;
use super::reply::Reply;
use super::server::Server;

/// One of the servers of a [`MailSink`](super::MailSink), with connections, limits and a circuit of
/// its own.
pub struct Relay {
    name: Arc<str>,
    server: Arc<Server>,
    /// The probes of the server while it is away. They belong to nobody who waits for them: whoever
    /// polls them goes on with the same ones.
    recovery: Mutex<Option<Recovery>>,
}

/// Completes when the circuit has closed.
type Recovery = Shared<BoxFuture<'static, ()>>;

/// What [`Relay::check_within`] has found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerReport {
    /// Whether the connection was encrypted.
    pub encrypted: bool,
    /// Whether the login was used, and accepted.
    pub logged_in: bool,
    /// Whether PIPELINING is offered.
    pub pipelining: bool,
    /// Whether SMTPUTF8 is offered, which addresses with a local part beyond ASCII need.
    pub smtputf8: bool,
}

impl Relay {
    pub(super) fn new(name: Arc<str>, server: Server) -> Self {
        Self { name, server: Arc::new(server), recovery: Mutex::default() }
    }

    /// `host:port`, an IPv6 address in brackets.
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Opens a connection of its own up to the point where mails can be sent, and ends it with
    /// QUIT. It waits for a slot like a mail does, and leaves the circuit as it is.
    ///
    /// The limits are others than those of mails: whoever asks may want an answer sooner.
    ///
    /// # Errors
    /// See [`ServerFault`].
    pub async fn check_within(&self, limits: &TimeLimits) -> Result<ServerReport, ServerFault> {
        tokio::select! {
            biased;
            checked = self.server.check_within(limits) => checked,
            // A probe that nobody goes on with would keep its slot.
            never = self.recover() => match never {},
        }
    }

    /// Whether the sink has connections there that serve mails, whatever
    /// [`check_within`](Self::check_within) has found on one of its own: the server may have no further
    /// one for it, and another address of its host may be well.
    pub fn serves(&self) -> bool {
        self.server.gauge.has_established() && !self.is_away()
    }

    /// Logs in with another login from the next connection on, where a password was rotated. Those
    /// that are open stay; while the circuit is open the next probe tries it.
    ///
    /// # Errors
    /// If it holds a NUL, which no login can carry; the old one stays then.
    pub fn set_login(&self, login: Login) -> Result<(), ConfigError> {
        login.check()?;
        self.server.opener.set_login(login);
        Ok(())
    }

    /// Connections that are open, idle ones included.
    pub fn open_connections(&self) -> usize {
        self.server.gauge.open_connections()
    }

    /// Why nothing is sent there at present, if its circuit is open.
    pub fn unavailable_reason(&self) -> Option<String> {
        self.server.circuit.reason()
    }

    pub(super) fn is_away(&self) -> bool {
        self.server.circuit.is_open()
    }

    pub(super) async fn send(
        &self,
        mail: &Arc<Mail>,
        effect: &Effect,
    ) -> Result<Option<Reply>, JobError> {
        self.server.send(mail, effect).await
    }

    /// No attempt of a job follows.
    pub(super) fn forget(&self, mail: &Mail) {
        self.server.forget(mail);
    }

    /// Completes when the server is there: at once, or after the probe that finds it.
    pub(super) fn recovered(&self) -> Recovery {
        let mut recovery = self.recovery.lock().unwrap_or_else(PoisonError::into_inner);
        let under_way = recovery.take().filter(|recovery| recovery.peek().is_none());
        let begin = || {
            let server = Arc::clone(&self.server);
            async move { server.recover().await }.boxed().shared()
        };
        recovery.insert(under_way.unwrap_or_else(begin)).clone()
    }

    /// Asks the server whenever it is away, until it is back; never completes.
    pub(super) async fn recover(&self) -> Infallible {
        loop {
            self.server.circuit.opened().await;
            self.recovered().await;
        }
    }

    /// Does for its connections what no mail does: see
    /// [`MailSink::retire_idle`](super::MailSink::retire_idle).
    pub(super) async fn attend(&self) -> Infallible {
        tokio::select! {
            biased;
            never = self.retire() => never,
            never = self.server.pool.open() => never,
            never = self.recover() => never,
        }
    }

    async fn retire(&self) -> Infallible {
        let pool = &self.server.pool;
        loop {
            match pool.retire() {
                Some(at) => sleep_until(at).await,
                // None is idle: the next one is not due before the limit is over once.
                None => sleep_until(after(pool.idle_limit())).await,
            }
        }
    }

    /// Closes the connections that no mail uses.
    pub(super) fn close_idle(&self) {
        self.server.pool.clear();
        self.recovery.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("name", &self.name)
            .field("open_connections", &self.open_connections())
            .finish_non_exhaustive()
    }
}
