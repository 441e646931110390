//! Opens connections, up to the point where mails can be sent.
//!
//! ```text
//! connect ─▶ (implicit TLS) ─▶ greeting ─▶ EHLO ─▶ (STARTTLS ─▶ TLS ─▶ EHLO) ─▶ (AUTH)
//! ```

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lettre::transport::smtp::commands::{Ehlo, Starttls};
use lettre::transport::smtp::extension::ClientId;
use tokio::time::{Instant, timeout};

use super::auth;
use super::config::{Login, TimeLimits, TlsMode};
use super::connect::Connect;
use super::conversation::{Conversation, NoAnswer, after, within};
use super::extensions::Extensions;
use super::fault::{ServerFault, ServerFaultKind};
use super::gauge::Gauge;
use super::observer::{Observer, Phase};
use super::reply::Reply;
use super::tls::{Tls, certificate_fault};

/// A server that waits for a handshake greets nobody.
const TLS_IS_SILENT: &str = "where TLS begins with the first byte, usually on port 465, expected \
                             MAIL_TLS=implicit";

/// How long a server that serves other connections of ours may let a further one wait, beyond twice
/// what the last one took. A server that greets late, on purpose, does so on every connection.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// What the last one took counts up to this: it may have waited itself.
const LATE: Duration = Duration::from_secs(30);

/// What it takes to open a connection.
pub(super) struct Opener {
    pub(super) connect: Arc<dyn Connect>,
    pub(super) mode: TlsMode,
    /// Made for every mode but [`TlsMode::None`].
    pub(super) tls: Option<Tls>,
    /// The login of connections that are opened from now on.
    pub(super) login: Mutex<Option<Login>>,
    pub(super) allow_plaintext_auth: bool,
    pub(super) ehlo_name: String,
    /// Whether every mail needs SMTPUTF8, since the envelope's sender does.
    pub(super) needs_smtputf8: bool,
    pub(super) limits: TimeLimits,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) gauge: Arc<Gauge>,
    /// How long it took to open the last connection.
    pub(super) took: Mutex<Duration>,
}

/// A new connection, and whether it is encrypted.
pub(super) struct Opened {
    pub(super) conversation: Conversation,
    pub(super) encrypted: bool,
}

impl Opener {
    /// Opens a connection, unless the server lets it wait while others are open: the server has a
    /// limit then, and a connection beyond it would take the place of another client's.
    pub(super) async fn open_beside_others(&self) -> Result<Opened, ServerFault> {
        let mut opening = pin!(self.open());
        loop {
            let patience = PATIENCE + 2 * self.took().min(LATE);
            match timeout(patience, &mut opening).await {
                Ok(opened) => return opened,
                Err(_) if self.gauge.has_established() => {
                    let seconds = patience.as_secs();
                    let reason = format!("not served within {seconds} s, while others are");
                    let kind = ServerFaultKind::Unreachable;
                    return Err(ServerFault::new(Phase::Connect, kind, reason));
                }
                // Nothing else is to be had: the limits of the phases count.
                Err(_) => {}
            }
        }
    }

    /// Opens a connection; dropping the future closes it.
    pub(super) async fn open(&self) -> Result<Opened, ServerFault> {
        let start = Instant::now();
        let deadline = after(self.limits.whole);
        let mut conversation = self.timed(Phase::Connect, self.connected(deadline)).await?;
        let mut encrypted = false;
        if self.mode == TlsMode::Implicit {
            conversation = self.timed(Phase::Tls, self.encrypted(conversation)).await?;
            encrypted = true;
        }
        self.timed(Phase::Greeting, self.greeted(&mut conversation)).await?;
        self.timed(Phase::Ehlo, self.introduced(&mut conversation)).await?;
        if !encrypted && self.wants_starttls(conversation.extensions)? {
            conversation = self.timed(Phase::Tls, self.upgraded(conversation)).await?;
            encrypted = true;
            self.timed(Phase::Ehlo, self.introduced(&mut conversation)).await?;
        }
        self.check_smtputf8(conversation.extensions)?;
        if let Some(login) = self.login() {
            self.check_login_may_travel(encrypted)?;
            let logged_in = auth::log_in(&mut conversation, &login, self.limits.auth);
            self.timed(Phase::Auth, logged_in).await?;
        }
        if conversation.has_unread() {
            let reason = "the server said more than it was asked";
            return Err(ServerFault::new(Phase::Ehlo, ServerFaultKind::Unreachable, reason));
        }
        conversation.establish();
        *self.took.lock().unwrap_or_else(PoisonError::into_inner) = start.elapsed();
        Ok(Opened { conversation, encrypted })
    }

    fn took(&self) -> Duration {
        *self.took.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn login(&self) -> Option<Login> {
        self.login.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_login(&self, login: Login) {
        *self.login.lock().unwrap_or_else(PoisonError::into_inner) = Some(login);
    }

    async fn connected(&self, deadline: Instant) -> Result<Conversation, ServerFault> {
        let stream = within(self.limits.connect, deadline, self.connect.connect())
            .await
            .map_err(|no_answer| silent(Phase::Connect, "", &no_answer))?;
        Ok(Conversation::new(stream, self.gauge.open(), deadline))
    }

    async fn greeted(&self, conversation: &mut Conversation) -> Result<(), ServerFault> {
        let reply = conversation.reply(self.limits.greeting).await;
        if let Err(no_answer @ (NoAnswer::TimedOut(_) | NoAnswer::Closed)) = &reply
            && self.mode != TlsMode::Implicit
        {
            let reason = format!("{no_answer}; {TLS_IS_SILENT}");
            return Err(ServerFault::new(Phase::Greeting, ServerFaultKind::Unreachable, reason));
        }
        positive(Phase::Greeting, "", reply).map(|_| ())
    }

    async fn introduced(&self, conversation: &mut Conversation) -> Result<(), ServerFault> {
        let ehlo = Ehlo::new(ClientId::Domain(self.ehlo_name.clone()));
        let reply = conversation.command(ehlo, self.limits.ehlo).await;
        if matches!(&reply, Ok(Reply { code: 500 | 502, .. })) {
            // RFC 5321 section 3.2: it knows no extensions.
            let helo = format!("HELO {}\r\n", self.ehlo_name);
            let reply = conversation.command(helo, self.limits.ehlo).await;
            conversation.extensions = Extensions::default();
            return positive(Phase::Ehlo, "HELO: ", reply).map(|_| ());
        }
        let reply = positive(Phase::Ehlo, "EHLO: ", reply)?;
        conversation.extensions = Extensions::from_reply(&reply);
        Ok(())
    }

    /// Without it no mail can be sent, to any recipient: the envelope sender itself needs it.
    fn check_smtputf8(&self, extensions: Extensions) -> Result<(), ServerFault> {
        if extensions.smtputf8 || !self.needs_smtputf8 {
            return Ok(());
        }
        let reason = "the server does not offer SMTPUTF8, and MAIL_FROM has a local part beyond \
                      ASCII, which needs it";
        Err(ServerFault::new(Phase::Ehlo, ServerFaultKind::Smtputf8, reason))
    }

    fn wants_starttls(&self, extensions: Extensions) -> Result<bool, ServerFault> {
        match self.mode {
            TlsMode::None | TlsMode::Implicit => Ok(false),
            TlsMode::Opportunistic => Ok(extensions.starttls),
            TlsMode::StartTls if extensions.starttls => Ok(true),
            TlsMode::StartTls => {
                let reason = "the server does not offer STARTTLS, which MAIL_TLS requires";
                Err(ServerFault::new(Phase::Tls, ServerFaultKind::Tls, reason))
            }
        }
    }

    async fn upgraded(&self, mut conversation: Conversation) -> Result<Conversation, ServerFault> {
        let reply = conversation.command(Starttls, self.limits.ehlo).await;
        positive(Phase::Tls, "STARTTLS: ", reply)?;
        // What came in clear must not be taken for something said under TLS (CVE-2011-0411).
        if conversation.has_unread() {
            let reason = "found bytes in clear behind the reply to STARTTLS, expected a handshake";
            return Err(ServerFault::new(Phase::Tls, ServerFaultKind::Tls, reason));
        }
        self.encrypted(conversation).await
    }

    async fn encrypted(&self, conversation: Conversation) -> Result<Conversation, ServerFault> {
        let tls = self.tls.as_ref().unwrap_or_else(|| unreachable!("made for every TLS mode"));
        let handshake = |stream| tls.handshake(stream);
        conversation.over(self.limits.tls, handshake).await.map_err(|no_answer| match no_answer {
            NoAnswer::Lost(error) => match certificate_fault(&error) {
                Some(reason) => ServerFault::new(Phase::Tls, ServerFaultKind::Certificate, reason),
                None if error.kind() == std::io::ErrorKind::InvalidData => {
                    let reason = format!("{error}{}", self.clear_text_hint());
                    ServerFault::new(Phase::Tls, ServerFaultKind::Tls, reason)
                }
                None => silent(Phase::Tls, "", &NoAnswer::Lost(error)),
            },
            no_answer => silent(Phase::Tls, "", &no_answer),
        })
    }

    const fn clear_text_hint(&self) -> &'static str {
        match self.mode {
            TlsMode::Implicit => "; a server that begins in clear needs another MAIL_TLS",
            _ => "",
        }
    }

    /// Credentials never travel in clear unless that is allowed. An attacker who strips STARTTLS
    /// from the server's offers gets none.
    fn check_login_may_travel(&self, encrypted: bool) -> Result<(), ServerFault> {
        if encrypted || self.allow_plaintext_auth {
            return Ok(());
        }
        let reason = "the server does not offer STARTTLS, so the login would travel in clear; \
                      MAIL_ALLOW_PLAINTEXT_AUTH=true allows that";
        Err(ServerFault::new(Phase::Auth, ServerFaultKind::Plaintext, reason))
    }

    async fn timed<T>(
        &self,
        phase: Phase,
        action: impl Future<Output = Result<T, ServerFault>>,
    ) -> Result<T, ServerFault> {
        let start = Instant::now();
        let result = action.await;
        self.observer.phase(phase, start.elapsed(), result.is_ok());
        result
    }
}

fn positive(
    phase: Phase,
    command: &str,
    reply: Result<Reply, NoAnswer>,
) -> Result<Reply, ServerFault> {
    match reply {
        Ok(reply) if reply.is_positive() => Ok(reply),
        Ok(reply) => {
            Err(ServerFault::new(phase, ServerFaultKind::Refused, format!("{command}{reply}")))
        }
        Err(no_answer) => Err(silent(phase, command, &no_answer)),
    }
}

fn silent(phase: Phase, command: &str, no_answer: &NoAnswer) -> ServerFault {
    let reason = format!("{command}{no_answer}");
    ServerFault::new(phase, ServerFaultKind::Unreachable, reason)
}
