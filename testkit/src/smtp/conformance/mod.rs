//! What an SMTP server promises (RFC 5321 and its extensions), as cases that run on any server
//! which has an address: on the [`SmtpServer`](super::SmtpServer), and on a real one to show that
//! the fake is no kinder than the world.
//!
//! ```no_run
//! use jobstream_testkit::smtp::SmtpServer;
//! use jobstream_testkit::smtp::conformance::{CASES, Features, Subject};
//!
//! # async fn all() -> Result<(), Box<dyn std::error::Error>> {
//! let server = SmtpServer::builder().size_limit(100_000).listen().await?;
//! let inbox = server.inbox();
//! let subject = Subject::new(server.address(), "b.example", Features::ALL, move || {
//!     inbox.mails().iter().map(|mail| mail.raw.to_vec()).collect()
//! });
//! for case in CASES {
//!     case.run(&subject).await;
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Where the fake server and Postfix 3.7 differ
//!
//! The suite asks for what both do, or what [`Features`] distinguishes. Beyond that:
//!
//! | | fake | Postfix | why |
//! |---|---|---|---|
//! | `MAIL FROM: <a@b>` (a space) | 501 | 250 | RFC 5321 section 3.3 forbids it; a fake that forgives would hide a client's mistake. [`Features::strict_paths`] |
//! | `RCPT TO:<bad>`, `<a..b@c>` | 501 | 250 | the same; Postfix completes and repairs addresses. [`Features::strict_paths`] |
//! | a recipient beyond ASCII without SMTPUTF8 | 553 | 250 | RFC 6531 section 3.4; Postfix warns about clients of old. [`Features::strict_paths`] |
//! | `QUIT now`, a QUIT with an argument | 501 | 221 | RFC 5321 section 4.1.1.10 knows none. [`Features::strict_paths`] |
//! | EXPN | 502 | 500 | both are allowed to a server that lacks it (section 4.2.4) |
//! | DATA when every recipient was refused | 503 | 554 | both are allowed (section 3.3) |
//! | a line longer than 1,000 octets in a mail | 500 | cut in two | the limit is section 4.5.3.1.6; a client must never meet it. Not in the suite |
//! | bare LF in the text | kept | LF and CRLF are one | Postfix stores lines, not octets. Not in the suite |
//! | bare LF at the end of a command | 500 | obeyed | section 2.3.8. Not in the suite |
//! | many errors in one conversation | no limit | 421 after 20 | a test may make as many as it likes |
//! | a "command" that looks like a header, such as `MAILFROM:<a@b>` | 500 | 221 and the end | Postfix guards against HTTP and form abuse. Not in the suite |
//! | EHLO | | DSN, ETRN, VRFY, CHUNKING too | not needed by the mail sink |

mod cases;
mod client;

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use futures::future::BoxFuture;

pub use cases::CASES;

/// A reply, a connection or a mail that does not come within this fails the case.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the server under test has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// RFC 2920.
    pub pipelining: bool,
    /// RFC 1870, with a limit of 100,000 octets.
    pub size: bool,
    /// RFC 6152.
    pub eight_bit_mime: bool,
    /// RFC 6531.
    pub smtp_utf8: bool,
    /// RFC 2034.
    pub enhanced_status_codes: bool,
    /// It refuses what the grammar of RFC 5321 does not allow, where Postfix forgives.
    pub strict_paths: bool,
}

impl Features {
    /// All of them: the fake server's.
    pub const ALL: Self = Self {
        pipelining: true,
        size: true,
        eight_bit_mime: true,
        smtp_utf8: true,
        enhanced_status_codes: true,
        strict_paths: true,
    };
}

/// The server under test.
pub struct Subject {
    address: SocketAddr,
    domain: String,
    features: Features,
    received: Box<dyn Fn() -> Vec<Vec<u8>> + Send + Sync>,
}

impl Subject {
    /// A server at an address that takes mail for every local part at `domain`. `received` gives
    /// the mails that it has delivered so far; headers may have been added at their top, and line
    /// ends may be LF or CRLF.
    pub fn new(
        address: SocketAddr,
        domain: impl Into<String>,
        features: Features,
        received: impl Fn() -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        Self { address, domain: domain.into(), features, received: Box::new(received) }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Subject")
            .field("address", &self.address)
            .field("domain", &self.domain)
            .field("features", &self.features)
            .finish_non_exhaustive()
    }
}

/// One promise.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The promise as a sentence.
    pub name: &'static str,
    run: fn(&Subject) -> BoxFuture<'_, ()>,
}

impl Case {
    /// Completes when the promise was kept. A case whose feature the server lacks completes at
    /// once.
    ///
    /// # Panics
    /// When it was broken, or nothing came within 30 seconds.
    pub async fn run(&self, subject: &Subject) {
        let name = self.name;
        let ended = tokio::time::timeout(PATIENCE, (self.run)(subject)).await;
        assert!(ended.is_ok(), "{name}: nothing within {PATIENCE:?}");
    }
}
