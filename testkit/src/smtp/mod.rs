//! A fake SMTP server (RFC 5321) that keeps what it accepts, and misbehaves on request.
//!
//! ```
//! use jobstream_testkit::smtp::{Act, Misfortune, Moment, SmtpServer};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = SmtpServer::builder().listen().await?;
//! println!("send mail to {}", server.address());
//!
//! // The second mail is accepted, but the client never gets the answer.
//! let lost = Misfortune::at(Moment::Dot).nth(2).then(Act::AcceptThenDisconnect);
//! server.misfortunes().push(lost);
//! # Ok(())
//! # }
//! ```
//!
//! A connection, in data order:
//!
//! ```text
//!  client ──▶ Wire ──▶ Command ──▶ Misfortunes ──▶ Protocol ──▶ Inbox
//!               ▲      octets       what strikes     the rules       │
//!               └────────────────────── Reply ◀──────────────────────┘
//! ```
//!
//! What it takes care of: only CRLF.CRLF ends the data; a CR or an LF alone is an octet of the
//! mail, and refused in a command line. What was sent in clear and not yet read when STARTTLS was
//! is thrown away. Every buffer has a limit, and no octets that a client can send make the server
//! panic.

mod auth;
mod builder;
mod command;
pub mod conformance;
mod connections;
mod conversation;
mod data;
mod extension;
mod inbox;
mod mail;
mod misfortune;
mod misfortunes;
mod protocol;
mod reply;
pub mod script;
mod server;
mod session;
mod tls;
mod wire;

pub use builder::{SmtpServerBuilder, StartError};
pub use connections::Connections;
pub use conversation::Exchange;
pub use extension::Extension;
pub use inbox::{Inbox, Keep};
pub use mail::Mail;
pub use mail_parser;
pub use misfortune::{Act, Misfortune, Moment, Occasion, Per};
pub use misfortunes::{MisfortuneId, Misfortunes};
pub use script::ScriptError;
pub use server::SmtpServer;
#[cfg(feature = "wire")]
pub(crate) use tls::Certificate;
pub use tls::{CertificateError, Tls};
