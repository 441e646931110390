//! Opens connections, up to the point where mails can be sent.
//!
//! ```text
//! connect ─▶ (implicit TLS) ─▶ greeting ─▶ EHLO ─▶ (STARTTLS ─▶ TLS ─▶ EHLO) ─▶ (AUTH)
//! ```

use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
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
use super::observer::{Event, Observer, Phase};
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

/// How often in a row silent openings are given up for others. A server that is silent to all of
/// them may only be late.
const GIVEN_UP_MAX: u32 = 3;

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
    /// How many rounds of openings in a row were given up.
    pub(super) given_up: AtomicU32,
}

/// A new connection, and whether it is encrypted.
pub(super) struct Opened {
    pub(super) conversation: Conversation,
    pub(super) encrypted: bool,
}

impl Opener {
    /// Opens a connection, unless the server lets it wait while others are open: the server has a
    /// limit then, and a connection beyond it would take the place of another client's.
    ///
    /// Where none is open and `mails_wait`, an opening that comes to nothing is given up, too: another
    /// one may reach another address, or another server behind the same. Each time in a row it
    /// may take twice as long, and after [`GIVEN_UP_MAX`] the limits of the phases count.
    pub(super) async fn open_beside_others(
        &self,
        mails_wait: impl Fn(&Gauge) -> bool + Send,
    ) -> Result<Opened, ServerFault> {
        let reached = OnceLock::new();
        let mut opening = pin!(self.open_reaching(&self.limits, &reached));
        let given_up = self.given_up.load(Relaxed);
        let patience = PATIENCE + 2 * self.took().min(LATE);
        let (mut waited, mut stuck) = (Duration::ZERO, None);
        loop {
            if let Ok(opened) = timeout(patience, &mut opening).await {
                return opened;
            }
            waited += patience;
            stuck.get_or_insert_with(|| self.gauge.is_stuck());
            let seconds = waited.as_secs();
            let unserved = |reason| {
                self.came_to_nothing(&reached);
                ServerFault::new(Phase::Connect, ServerFaultKind::Unreachable, reason)
            };
            if self.gauge.has_established() {
                return Err(unserved(format!("not served within {seconds} s, while others are")));
            }
            if given_up < GIVEN_UP_MAX
                && waited >= patience * (1 << given_up)
                && mails_wait(&self.gauge)
            {
                // If another one has ended meanwhile, it has begun anew.
                let _ = self.given_up.compare_exchange(given_up, given_up + 1, Relaxed, Relaxed);
                return Err(unserved(format!("not served within {seconds} s")).given_up());
            }
        }
    }

    /// Opens a connection within these limits; dropping the future closes it.
    pub(super) async fn open_within(&self, limits: &TimeLimits) -> Result<Opened, ServerFault> {
        self.open_reaching(limits, &OnceLock::new()).await
    }

    async fn open_reaching(
        &self,
        limits: &TimeLimits,
        reached: &OnceLock<IpAddr>,
    ) -> Result<Opened, ServerFault> {
        let opened = self.attempt(limits, reached).await;
        self.given_up.store(0, Relaxed);
        if opened.is_err() {
            self.came_to_nothing(reached);
        }
        opened
    }

    fn came_to_nothing(&self, reached: &OnceLock<IpAddr>) {
        if let Some(address) = reached.get() {
            self.connect.came_to_nothing(*address);
        }
    }

    async fn attempt(
        &self,
        limits: &TimeLimits,
        reached: &OnceLock<IpAddr>,
    ) -> Result<Opened, ServerFault> {
        let start = Instant::now();
        let connected = self.connected(limits.connect, after(limits.whole), reached);
        let mut conversation = self.timed(Phase::Connect, connected).await?;
        let mut encrypted = false;
        if self.mode == TlsMode::Implicit {
            conversation = self.timed(Phase::Tls, self.encrypted(conversation, limits.tls)).await?;
            encrypted = true;
        }
        let greeted = self.greeted(&mut conversation, limits.greeting);
        self.timed(Phase::Greeting, greeted).await?;
        self.timed(Phase::Ehlo, self.introduced(&mut conversation, limits.ehlo)).await?;
        if !encrypted && self.wants_starttls(conversation.extensions)? {
            conversation = self.timed(Phase::Tls, self.upgraded(conversation, limits)).await?;
            encrypted = true;
            self.timed(Phase::Ehlo, self.introduced(&mut conversation, limits.ehlo)).await?;
        }
        self.check_smtputf8(conversation.extensions)?;
        if let Some(login) = self.login() {
            self.check_login_may_travel(encrypted)?;
            let logged_in = auth::log_in(&mut conversation, &login, limits.auth);
            self.timed(Phase::Auth, logged_in).await?;
        }
        match conversation.nothing_unread() {
            Ok(()) => {}
            Err(lost) if lost.is_lost() => return Err(silent(Phase::Ehlo, "", &lost)),
            // Its text may hold the login.
            Err(_) => {
                let reason = "the server said more than it was asked";
                return Err(ServerFault::new(Phase::Ehlo, ServerFaultKind::Unreachable, reason));
            }
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

    async fn connected(
        &self,
        limit: Duration,
        deadline: Instant,
        reached: &OnceLock<IpAddr>,
    ) -> Result<Conversation, ServerFault> {
        let (stream, address) = within(limit, deadline, self.connect.reach())
            .await
            .map_err(|no_answer| silent(Phase::Connect, "", &no_answer))?;
        if let Some(address) = address {
            reached.get_or_init(|| address);
        }
        Ok(Conversation::new(stream, self.gauge.open(), deadline))
    }

    async fn greeted(
        &self,
        conversation: &mut Conversation,
        limit: Duration,
    ) -> Result<(), ServerFault> {
        let reply = conversation.reply(limit).await;
        if let Err(no_answer @ (NoAnswer::TimedOut(_) | NoAnswer::Closed)) = &reply
            && self.mode != TlsMode::Implicit
        {
            let reason = format!("{no_answer}; {TLS_IS_SILENT}");
            return Err(ServerFault::new(Phase::Greeting, ServerFaultKind::Unreachable, reason));
        }
        positive(Phase::Greeting, "", reply).map(|_| ())
    }

    async fn introduced(
        &self,
        conversation: &mut Conversation,
        limit: Duration,
    ) -> Result<(), ServerFault> {
        let ehlo = Ehlo::new(ClientId::Domain(self.ehlo_name.clone()));
        let reply = conversation.command(ehlo, limit).await;
        if matches!(&reply, Ok(Reply { code: 500 | 502, .. })) {
            // RFC 5321 section 3.2: it knows no extensions.
            let helo = format!("HELO {}\r\n", self.ehlo_name);
            let reply = conversation.command(helo, limit).await;
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

    async fn upgraded(
        &self,
        mut conversation: Conversation,
        limits: &TimeLimits,
    ) -> Result<Conversation, ServerFault> {
        let reply = conversation.command(Starttls, limits.ehlo).await;
        positive(Phase::Tls, "STARTTLS: ", reply)?;
        // What came in clear must not be taken for something said under TLS (CVE-2011-0411).
        if conversation.nothing_unread().is_err_and(|error| !error.is_lost()) {
            let reason = "found bytes in clear behind the reply to STARTTLS, expected a handshake";
            return Err(ServerFault::new(Phase::Tls, ServerFaultKind::Tls, reason));
        }
        self.encrypted(conversation, limits.tls).await
    }

    async fn encrypted(
        &self,
        conversation: Conversation,
        limit: Duration,
    ) -> Result<Conversation, ServerFault> {
        let tls = self.tls.as_ref().unwrap_or_else(|| unreachable!("made for every TLS mode"));
        let handshake = |stream| tls.handshake(stream);
        conversation.over(limit, handshake).await.map_err(|no_answer| match no_answer {
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
        let (took, succeeded) = (start.elapsed(), result.is_ok());
        self.observer.on(&Event::PhaseEnded { phase, took, succeeded });
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
