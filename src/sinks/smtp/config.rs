//! The settings of a mail sink.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use super::address::{AddressError, Mailbox, a_labels};
use super::dkim::Dkim;
use super::message::Sender;
use super::secret::Secret;
use super::tls::Tls;

/// The settings of a [`MailSink`](super::MailSink). Its `Debug` shows no password.
///
/// What belongs to a server stands in [`relays`](Self::relays). The methods set it for every relay
/// that is there by then; the fields of one relay set it for that one.
///
/// ```
/// use jobstream::sinks::smtp::{Login, MailConfig};
///
/// let mut config = MailConfig::new("mx1.example.com", "noreply@example.com")
///     .login(Login::new("mailjob", "a password"))
///     .fallback("mx2.example.com");
/// config.relays[1].port = 587;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MailConfig {
    /// The servers, in order of preference: at least one, and none twice.
    pub relays: Vec<RelayConfig>,
    /// The envelope's sender, an RFC 5321 Mailbox. Bounces go there.
    pub mail_from: String,
    /// The domains whose addresses may stand in `From`; mails of others have `mail_from` there, and
    /// their sender in `Reply-To`.
    pub allowed_from_domains: Vec<String>,
    /// What signs every mail (DKIM), if it is set.
    pub dkim: Option<Dkim>,
    /// The name given with EHLO; `None` is the domain of `mail_from`.
    pub ehlo_name: Option<String>,
    /// How long a connection may be idle before it is closed.
    pub idle_limit: Duration,
    /// How long each phase may take.
    pub limits: TimeLimits,
    /// The wait before the first probe of a server that is away; doubled with each further one.
    pub probe_backoff_min: Duration,
    /// The longest wait between two probes.
    pub probe_backoff_max: Duration,
}

/// One of the servers of a [`MailConfig`]. Its `Debug` shows no password.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RelayConfig {
    /// The server's name or IP address; also the name that its certificate must have.
    pub host: String,
    /// The server's TCP port.
    pub port: u16,
    /// Whether and how the connection is encrypted.
    pub tls: TlsMode,
    /// Certificates of further authorities, in PEM, beside those of the system. One that the server
    /// has made for itself is trusted too, on a server that has exactly this one.
    pub tls_ca_pem: Option<Vec<u8>>,
    /// Whether the server's certificate is checked. Without that, any machine can pose as the
    /// server.
    pub tls_verify: bool,
    /// The login, if the server wants one.
    pub login: Option<Login>,
    /// Whether the login may travel over an unencrypted connection.
    pub allow_plaintext_auth: bool,
    /// The most connections open at once, idle ones included.
    pub connections_max: NonZeroUsize,
    /// The most mails a second, failed ones included; `None` is no limit.
    pub mails_per_second_max: Option<NonZeroU32>,
    /// How many mails may go at once after a pause, within the rate limit.
    pub mails_burst_max: NonZeroU32,
}

impl RelayConfig {
    /// A server on port 25, opportunistic TLS with checked certificates, no login, and 8
    /// connections.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port: 25,
            tls: TlsMode::Opportunistic,
            tls_ca_pem: None,
            tls_verify: true,
            login: None,
            allow_plaintext_auth: false,
            connections_max: const { NonZeroUsize::new(8).unwrap() },
            mails_per_second_max: None,
            mails_burst_max: NonZeroU32::MIN,
        }
    }

    /// `host:port`, an IPv6 address in brackets: what logs, metrics and results call it.
    pub fn name(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// The login must not travel in clear, and nothing else can be hoped for.
    fn check_login(&self) -> Result<(), ConfigError> {
        let Some(login) = &self.login else { return Ok(()) };
        if self.tls == TlsMode::None && !self.allow_plaintext_auth {
            return Err(ConfigError::PlaintextAuth);
        }
        login.check()
    }

    /// What encrypts its connections, unless that is never done.
    pub(super) fn tls(&self) -> Result<Option<Tls>, ConfigError> {
        if self.host.is_empty() {
            return Err(ConfigError::Host { found: String::new() });
        }
        self.check_login()?;
        match self.tls {
            TlsMode::None => Ok(None),
            _ => Tls::new(self).map(Some),
        }
    }
}

impl MailConfig {
    /// One [server](RelayConfig::new); no domain is allowed in `From` yet.
    pub fn new(host: impl Into<String>, mail_from: impl Into<String>) -> Self {
        Self {
            relays: vec![RelayConfig::new(host)],
            mail_from: mail_from.into(),
            allowed_from_domains: Vec::new(),
            dkim: None,
            ehlo_name: None,
            idle_limit: Duration::from_secs(30),
            limits: TimeLimits::default(),
            probe_backoff_min: Duration::from_millis(500),
            probe_backoff_max: Duration::from_secs(30),
        }
    }

    /// Adds a relay behind the others, with the settings of the first and another host.
    #[must_use]
    pub fn fallback(mut self, host: impl Into<String>) -> Self {
        let host = host.into();
        let relay = match self.relays.first() {
            Some(first) => RelayConfig { host, ..first.clone() },
            None => RelayConfig::new(host),
        };
        self.relays.push(relay);
        self
    }

    /// Every relay is to have this.
    #[must_use]
    fn each(mut self, set: impl Fn(&mut RelayConfig)) -> Self {
        self.relays.iter_mut().for_each(set);
        self
    }

    /// Sets [`port`](RelayConfig#structfield.port) of every relay.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        self.each(|relay| relay.port = port)
    }

    /// Sets [`tls`](RelayConfig#structfield.tls) of every relay.
    #[must_use]
    pub fn tls(self, tls: TlsMode) -> Self {
        self.each(|relay| relay.tls = tls)
    }

    /// Sets [`tls_ca_pem`](RelayConfig#structfield.tls_ca_pem) of every relay.
    #[must_use]
    pub fn tls_ca_pem(self, tls_ca_pem: impl Into<Option<Vec<u8>>>) -> Self {
        let tls_ca_pem = tls_ca_pem.into();
        self.each(|relay| relay.tls_ca_pem.clone_from(&tls_ca_pem))
    }

    /// Sets [`tls_verify`](RelayConfig#structfield.tls_verify) of every relay.
    #[must_use]
    pub fn tls_verify(self, tls_verify: bool) -> Self {
        self.each(|relay| relay.tls_verify = tls_verify)
    }

    /// Sets [`login`](RelayConfig#structfield.login) of every relay.
    #[must_use]
    pub fn login(self, login: impl Into<Option<Login>>) -> Self {
        let login = login.into();
        self.each(|relay| relay.login.clone_from(&login))
    }

    /// Sets [`allow_plaintext_auth`](RelayConfig#structfield.allow_plaintext_auth) of every relay.
    #[must_use]
    pub fn allow_plaintext_auth(self, allow_plaintext_auth: bool) -> Self {
        self.each(|relay| relay.allow_plaintext_auth = allow_plaintext_auth)
    }

    /// Sets [`mail_from`](Self#structfield.mail_from).
    #[must_use]
    pub fn mail_from(mut self, mail_from: impl Into<String>) -> Self {
        self.mail_from = mail_from.into();
        self
    }

    /// Sets [`allowed_from_domains`](Self#structfield.allowed_from_domains).
    #[must_use]
    pub fn allowed_from_domains(mut self, allowed_from_domains: Vec<String>) -> Self {
        self.allowed_from_domains = allowed_from_domains;
        self
    }

    /// Sets [`dkim`](Self#structfield.dkim).
    #[must_use]
    pub fn dkim(mut self, dkim: impl Into<Option<Dkim>>) -> Self {
        self.dkim = dkim.into();
        self
    }

    /// Sets [`ehlo_name`](Self#structfield.ehlo_name).
    #[must_use]
    pub fn ehlo_name(mut self, ehlo_name: impl Into<Option<String>>) -> Self {
        self.ehlo_name = ehlo_name.into();
        self
    }

    /// Sets [`connections_max`](RelayConfig#structfield.connections_max) of every relay.
    #[must_use]
    pub fn connections_max(self, connections_max: NonZeroUsize) -> Self {
        self.each(|relay| relay.connections_max = connections_max)
    }

    /// Sets [`mails_per_second_max`](RelayConfig#structfield.mails_per_second_max) of every relay.
    #[must_use]
    pub fn mails_per_second_max(self, mails_per_second_max: impl Into<Option<NonZeroU32>>) -> Self {
        let mails_per_second_max = mails_per_second_max.into();
        self.each(|relay| relay.mails_per_second_max = mails_per_second_max)
    }

    /// Sets [`mails_burst_max`](RelayConfig#structfield.mails_burst_max) of every relay.
    #[must_use]
    pub fn mails_burst_max(self, mails_burst_max: NonZeroU32) -> Self {
        self.each(|relay| relay.mails_burst_max = mails_burst_max)
    }

    /// Sets [`idle_limit`](Self#structfield.idle_limit).
    #[must_use]
    pub fn idle_limit(mut self, idle_limit: Duration) -> Self {
        self.idle_limit = idle_limit;
        self
    }

    /// Sets [`limits`](Self#structfield.limits).
    #[must_use]
    pub fn limits(mut self, limits: TimeLimits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets [`probe_backoff_min`](Self#structfield.probe_backoff_min).
    #[must_use]
    pub fn probe_backoff_min(mut self, probe_backoff_min: Duration) -> Self {
        self.probe_backoff_min = probe_backoff_min;
        self
    }

    /// Sets [`probe_backoff_max`](Self#structfield.probe_backoff_max).
    #[must_use]
    pub fn probe_backoff_max(mut self, probe_backoff_max: Duration) -> Self {
        self.probe_backoff_max = probe_backoff_max;
        self
    }

    pub(super) fn sender(&self) -> Result<Sender, ConfigError> {
        let mail_from = Mailbox::parse_for_header(&self.mail_from)
            .map_err(|error| ConfigError::MailFrom { found: self.mail_from.clone(), error })?;
        let allowed = |domain: &String| {
            a_labels(domain)
                .map(|domain| domain.to_ascii_lowercase())
                .map_err(|error| ConfigError::AllowedFromDomain { found: domain.clone(), error })
        };
        let allowed_from_domains =
            self.allowed_from_domains.iter().map(allowed).collect::<Result<_, _>>()?;
        Ok(Sender { mail_from, allowed_from_domains, dkim: self.dkim.clone() })
    }

    pub(super) fn greets_as(&self, mail_from: &Mailbox) -> Result<String, ConfigError> {
        let name = self.ehlo_name.clone().unwrap_or_else(|| mail_from.domain().to_owned());
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(ConfigError::EhloName { found: name });
        }
        Ok(name)
    }
}

/// Whether and how connections are encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TlsMode {
    /// STARTTLS where the server offers it; a handshake that then fails is the server's fault, and
    /// a login never travels without it.
    #[default]
    Opportunistic,
    /// STARTTLS, or no mail (RFC 3207).
    StartTls,
    /// TLS from the first byte, usually on port 465 (RFC 8314).
    Implicit,
    /// Never.
    None,
}

/// A login, for AUTH PLAIN or LOGIN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user, sent as it is: nothing is added, `@` or none.
    pub user: String,
    /// The password.
    pub password: Secret,
}

impl Login {
    /// A user and a password.
    pub fn new(user: impl Into<String>, password: impl Into<Secret>) -> Self {
        Self { user: user.into(), password: password.into() }
    }

    /// RFC 4616: a NUL separates the parts.
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.user.contains('\0') || self.password.expose().contains('\0') {
            return Err(ConfigError::LoginNul);
        }
        Ok(())
    }
}

/// How long each phase may take. The defaults are what RFC 5321 section 4.5.3.2 asks for at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeLimits {
    /// Until the stream is open, name resolution included.
    pub connect: Duration,
    /// The TLS handshake.
    pub tls: Duration,
    /// The server's first reply.
    pub greeting: Duration,
    /// EHLO and its reply, STARTTLS and its reply.
    pub ehlo: Duration,
    /// AUTH, each of its replies.
    pub auth: Duration,
    /// The reply to each of MAIL, RCPT, RSET and NOOP.
    pub command: Duration,
    /// The reply to DATA.
    pub data: Duration,
    /// Writing the whole message.
    pub body: Duration,
    /// The answer to the final dot. A shorter wait causes duplicates (RFC 1047).
    pub final_reply: Duration,
    /// All of these together, for one mail.
    pub whole: Duration,
}

impl Default for TimeLimits {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Self {
            connect: Duration::from_secs(30),
            tls: Duration::from_secs(30),
            greeting: minutes(5),
            ehlo: minutes(5),
            auth: minutes(2),
            command: minutes(5),
            data: minutes(2),
            body: minutes(3),
            final_reply: minutes(10),
            whole: minutes(20),
        }
    }
}

/// A setting that no sink can be made from. Names are those of the fields of [`MailConfig`] and
/// [`RelayConfig`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// `host` is empty, or no name for a certificate where one is to be checked.
    #[error("host: found {found:?}, expected a host's name or an IP address")]
    Host {
        /// What was found.
        found: String,
    },
    /// `mail_from` is no RFC 5321 Mailbox.
    #[error("mail_from: {found:?}: {error}")]
    MailFrom {
        /// What was found.
        found: String,
        /// Why it is none.
        error: AddressError,
    },
    /// One of `allowed_from_domains` is none.
    #[error("allowed_from_domains: {found:?}: {error}")]
    AllowedFromDomain {
        /// What was found.
        found: String,
        /// Why it is none.
        error: AddressError,
    },
    /// `ehlo_name` is empty, or has a space or a character that is not ASCII.
    #[error("ehlo_name: found {found:?}, expected a domain in ASCII, or an address literal")]
    EhloName {
        /// What was found.
        found: String,
    },
    /// A login without TLS, and without leave to go in clear.
    #[error(
        "a login with TLS switched off would travel in clear: expected another TLS mode, or \
         MAIL_ALLOW_PLAINTEXT_AUTH=true"
    )]
    PlaintextAuth,
    /// The login holds a NUL, which AUTH PLAIN cannot carry.
    #[error("login: found a NUL, expected none")]
    LoginNul,
    /// `tls_ca_pem` holds no certificate, or one that is broken: what was found.
    #[error("tls_ca_pem: found {0}, expected certificates in PEM")]
    CaPem(String),
    /// One of several relays can't be used; `name` is its host and port.
    #[error("relay {name}: {error}")]
    Relay {
        /// Which one.
        name: String,
        /// Why.
        error: Box<Self>,
    },
    /// Two relays have the same host and port.
    #[error("relays: found {0} twice, expected each server once")]
    Twice(String),
    /// The system has no certificates of authorities that can be read, and none were given.
    #[error("found no certificates of authorities on this system, and none in tls_ca_pem: {0}")]
    NoAuthorities(String),
}
