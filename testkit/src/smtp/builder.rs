//! The settings of a server.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use super::auth::Login;
use super::extension::{Extension, Extensions};
use super::inbox::Keep;
use super::misfortune::Misfortune;
use super::server::SmtpServer;
use super::tls::{CertificateError, Tls};

const SIZE_OCTETS_DEFAULT: u64 = 32 * 1024 * 1024;
/// RFC 5321 section 4.5.3.1.6.
const LINE_OCTETS_DEFAULT: usize = 1_000;
const RECIPIENTS_DEFAULT: usize = 1_000;
const CONNECTIONS_DEFAULT: u64 = 10_000;
const EXCHANGES_DEFAULT: usize = 65_536;

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is taken, or not of this machine.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// No certificate for the names given.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
}

/// Builds an [`SmtpServer`].
#[derive(Clone, Debug)]
#[must_use = "a server runs once it is told where to listen"]
pub struct SmtpServerBuilder {
    parts: Parts,
}

/// What a session needs to know.
#[derive(Clone, Debug)]
pub(super) struct Config {
    pub(super) name: String,
    pub(super) extensions: Extensions,
    pub(super) size_limit: u64,
    pub(super) line_limit: usize,
    pub(super) recipients_limit: usize,
    pub(super) connections_limit: u64,
    pub(super) logins: Vec<Login>,
    pub(super) login_required: bool,
    pub(super) login_needs_tls: bool,
    pub(super) tls: Option<Tls>,
    pub(super) tls_required: bool,
}

/// What a server is made of when it starts.
#[derive(Clone, Debug)]
pub(super) struct Parts {
    pub(super) config: Config,
    pub(super) tls_names: Vec<String>,
    /// The `commonName` of a certificate that is its own authority.
    pub(super) self_made: Option<String>,
    pub(super) misfortunes: Vec<Misfortune>,
    pub(super) served_limit: u64,
    pub(super) seed: u64,
    pub(super) keep: Keep,
    pub(super) exchanges_kept: usize,
}

impl SmtpServerBuilder {
    pub(super) fn new() -> Self {
        let config = Config {
            name: "localhost".to_owned(),
            extensions: Extensions::ALL,
            size_limit: SIZE_OCTETS_DEFAULT,
            line_limit: LINE_OCTETS_DEFAULT,
            recipients_limit: RECIPIENTS_DEFAULT,
            connections_limit: CONNECTIONS_DEFAULT,
            logins: Vec::new(),
            login_required: false,
            login_needs_tls: false,
            tls: None,
            tls_required: false,
        };
        let parts = Parts {
            config,
            tls_names: ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec(),
            self_made: None,
            misfortunes: Vec::new(),
            served_limit: u64::MAX,
            seed: 0,
            keep: Keep::default(),
            exchanges_kept: EXCHANGES_DEFAULT,
        };
        Self { parts }
    }

    /// The name in the greeting and in the reply to EHLO. Default: `localhost`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.parts.config.name = name.into();
        self
    }

    /// Switches an extension off. All are on at first.
    pub fn without(mut self, extension: Extension) -> Self {
        self.parts.config.extensions.remove(extension);
        self
    }

    /// The largest mail in octets, dots unstuffed; larger ones get 552. Default: 32 MiB.
    pub fn size_limit(mut self, octets: u64) -> Self {
        self.parts.config.size_limit = octets;
        self
    }

    /// The longest line of a mail in octets, its CRLF included; a mail with a longer one gets 500.
    /// Default: 1,000 (RFC 5321 section 4.5.3.1.6).
    pub fn line_limit(mut self, octets: usize) -> Self {
        self.parts.config.line_limit = octets;
        self
    }

    /// The most recipients of one mail; further ones get 452. Default: 1,000.
    pub fn recipients_limit(mut self, recipients: usize) -> Self {
        self.parts.config.recipients_limit = recipients;
        self
    }

    /// The most connections at once; further ones are greeted with 421. Default: 10,000.
    pub fn connections_limit(mut self, connections: u64) -> Self {
        self.parts.config.connections_limit = connections;
        self
    }

    /// The most connections served at once. Further ones are taken without a word, and greeted in
    /// the order in which they came, each when another one ends: as Postfix does beyond its number
    /// of processes, and its `smtp-sink` beyond 256. Default: no limit.
    pub fn served_limit(mut self, connections: u64) -> Self {
        self.parts.served_limit = connections;
        self
    }

    /// Offers AUTH, and lets this user in. May be called for several users.
    pub fn login(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.parts.config.logins.push(Login { user: user.into(), password: password.into() });
        self
    }

    /// Answers 530 to MAIL and VRFY before a login.
    pub fn require_login(mut self) -> Self {
        self.parts.config.login_required = true;
        self
    }

    /// Offers AUTH under TLS only, and answers 538 to it in clear.
    pub fn login_needs_tls(mut self) -> Self {
        self.parts.config.login_needs_tls = true;
        self
    }

    /// Speaks TLS with a certificate made at start; see [`SmtpServer::ca_pem`].
    pub fn tls(mut self, tls: Tls) -> Self {
        self.parts.config.tls = Some(tls);
        self
    }

    /// Answers 530 before STARTTLS to all but EHLO, HELO, NOOP, RSET and QUIT.
    pub fn require_tls(mut self) -> Self {
        self.parts.config.tls_required = true;
        self
    }

    /// The host names and IP addresses in the certificate. Default: `localhost`, `127.0.0.1`,
    /// `::1`.
    pub fn tls_names<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.parts.tls_names = names.into_iter().map(Into::into).collect();
        self
    }

    /// The certificate is its own authority, as `openssl req -x509` makes it, with this
    /// `commonName`; [`SmtpServer::ca_pem`] is then the certificate itself.
    pub fn self_made_certificate(mut self, common_name: impl Into<String>) -> Self {
        self.parts.self_made = Some(common_name.into());
        self
    }

    /// A misfortune from the start. More can come and go at run time by
    /// [`SmtpServer::misfortunes`].
    pub fn misfortune(mut self, misfortune: Misfortune) -> Self {
        self.parts.misfortunes.push(misfortune);
        self
    }

    /// What the misfortunes with a probability are drawn from. Default: 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.parts.seed = seed;
        self
    }

    /// How much of each mail the inbox keeps. Default: all.
    pub fn keep(mut self, keep: Keep) -> Self {
        self.parts.keep = keep;
        self
    }

    /// How many exchanges [`SmtpServer::conversation`] keeps: the last ones. Default: 65,536.
    pub fn exchanges_kept(mut self, exchanges: usize) -> Self {
        self.parts.exchanges_kept = exchanges;
        self
    }

    /// Starts the server on a free port of 127.0.0.1. It takes connections when this completes.
    ///
    /// # Errors
    /// When it can't listen, or no certificate can be made.
    pub async fn listen(self) -> Result<SmtpServer, StartError> {
        self.listen_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await
    }

    /// Starts the server on this address; port 0 is a free one.
    ///
    /// # Errors
    /// When it can't listen, or no certificate can be made.
    pub async fn listen_on(self, address: SocketAddr) -> Result<SmtpServer, StartError> {
        SmtpServer::listen(self.parts, address).await
    }

    /// Makes a server without an address, which is reached by [`SmtpServer::connect`] and
    /// [`SmtpServer::serve`]. It needs no runtime to be made, uses no thread and no clock but
    /// tokio's, and what it does is a function of its seed and of what the clients do (under TLS:
    /// but for the keys).
    ///
    /// # Errors
    /// When no certificate can be made.
    pub fn in_memory(self) -> Result<SmtpServer, StartError> {
        SmtpServer::in_memory(self.parts)
    }
}
