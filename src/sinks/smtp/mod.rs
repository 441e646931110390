//! The mail sink: sends the mail that a job holds to an SMTP server, or to the first of several that
//! is well, and says what became of it.
//!
//! ```text
//! job ─▶ mail ─▶ rate limit ─▶ circuit ─▶ connection ─▶ MAIL RCPT DATA ─▶ message ─▶ reply
//!                                 │    (the first that
//!                                 ▼      is there)
//!                            unavailable
//! ```
//!
//! # What becomes of a job
//!
//! | the server | the job |
//! |---|---|
//! | 2yz to the final dot | [`Accepted`] |
//! | 5yz to MAIL, RCPT, DATA or the final dot, but not 530 and 535; or the job's data is none | [`Permanent`](crate::sinks::JobErrorKind::Permanent) |
//! | 4yz to one of these, but not 421 | [`Transient`](crate::sinks::JobErrorKind::Transient) |
//! | 421, 530 or 535 to one of these; or no answer, or one that makes no sense, before the write that holds the final dot had begun, though the server has taken another mail since the job's last attempt | [`Transient`](crate::sinks::JobErrorKind::Transient); the first time [`Unavailable`](crate::sinks::JobErrorKind::Unavailable) |
//! | no answer after that write had begun: lost, too late, or no SMTP | [`Ambiguous`](crate::sinks::JobErrorKind::Ambiguous) |
//! | no connection while none is open, TLS or login failed, any 4yz or 5yz before MAIL; other 421, 530, 535 and missing answers; no SMTPUTF8 where `mail_from` needs it | [`Unavailable`](crate::sinks::JobErrorKind::Unavailable), and the circuit opens |
//!
//! A reply of 421 to the final dot is an answer: the server is going away and did not take the
//! mail. The first time that the server turns a job away so, or hangs up on it, opens the circuit only if no mail was
//! taken since it hung up last, on whichever job.
//!
//! No reply is due while a command or a message is being written. What the server has said before that
//! is an answer to neither, and nothing more is written: the connection is given up. Only a 4yz or 5yz
//! in the midst of a message refuses it, and a 421 counts at any time.
//!
//! Some ends do not count until the mail was asked again, once, on a fresh connection, and the job
//! learns nothing of it: a connection out of the pool that turns out to be closed, or answers out
//! of step; 4yz, or 5yz to MAIL, on a connection that had carried another mail; any refusal of
//! commands that followed another mail, or silence of 2 s.
//!
//! # Connections
//!
//! lettre builds the messages and spells the commands; the pool and the conversation are our own. A
//! connection belongs to one send at a time, by value, and goes back only after every command has
//! had its reply: a cancelled send closes it. After a refused mail RSET goes before the next MAIL.
//! There are never more connections than [`MailConfig::connections_max`], and the sends that wait
//! for one are served in order, each with the first connection that is there: one that comes free, or
//! a new one. No new connection belongs to a send; one that is ready late waits idle for the next.
//!
//! Where the server has fewer connections for us, and shows it while others of ours are open by 421,
//! by closing one, or by silence of 5 s, the pool settles at what it allows, and tries one more every
//! minute.
//!
//! While none is open, an opening for which mails wait is given up after 5 s: the next one may reach
//! another address of the host, or another server behind the same one. It may take twice as long each
//! time, three times in a row; then the time limits count. Where there is another relay, the mails go
//! there after the first 5 s.
//!
//! Where PIPELINING is offered (RFC 2920), MAIL, RCPT and DATA are one write. Where mails wait for
//! a connection, those of the next one stand in the same write as the message before it, behind its
//! final dot: a mail then takes one round trip instead of two. It follows only on a connection that
//! has answered the last final dot within 500 ms, and waits for at most 2 s: then it takes its turn
//! on another connection, and for a minute no mail follows another. The same holds if its commands
//! are refused there, and not on a fresh connection.
//!
//! Where such a reply does not come again on a fresh connection, the number of mails that the other
//! one had carried is the server's limit: for ten minutes no connection carries more, unless one
//! has of late.
//!
//! # Time limits
//!
//! A [time limit of the attempt](crate::topology::Retry::attempt_timeout) counts while a mail has a
//! connection. Its wait for one, or for the rate limit, does not count: it ends by itself, as
//! [`Unavailable`](crate::sinks::JobErrorKind::Unavailable) where the server is away.
//!
//! # The circuit
//!
//! It opens on the server's fault; then no mail is tried there, and while no server is well
//! [`JobSink::ready`](crate::sinks::JobSink::ready) is pending. The calls that wait there ask the
//! server again, with a back-off that doubles, by NOOP on an idle connection or by a new one up to its
//! login. Where the fault was met in the midst of a mail they go on to MAIL, which RSET takes back; and
//! the server is back only once it has answered a mail, until when the back-off goes on. The [`Observer`] is notified of a change once.
//!
//! # Relays
//!
//! Each server of [`MailConfig::relays`] has its own connections, limits and circuit. A mail goes to
//! the first whose circuit is closed. If what comes of it there is
//! [`Unavailable`](crate::sinks::JobErrorKind::Unavailable), it goes to the next one at once, within
//! the same attempt; any other end is the end of the attempt, so that no mail is sent a second time
//! unless an end was ambiguous and the topology resends it. `ready` is pending only while every
//! circuit is open. A relay that is away is asked by the mails that go to a later one, and by
//! [`MailSink::retire_idle`]; once it is back, mails go to it again.
//!
//! # Mails
//!
//! The bytes of a mail depend on its job and the settings alone (and on the record's timestamp,
//! where the job has no usable date), so that a second attempt is the same mail: `Message-ID` is
//! the [hash](crate::job::Job::name_hash) of `Id` and `ScheduleTime`, boundaries are made of it,
//! `Date` is the first of `ScheduleTime` and `CreatedAt` that is RFC 3339 in the years 1970 to
//! 9999, and a signature has no time. The text arrives as it is in the job, with every line end as
//! CRLF and, where there is nothing but text, perhaps one more at the end. `Auto-Submitted` says
//! that nobody wrote it (RFC 3834).
//!
//! HTML, files and further header fields are as [`JobData`](crate::job::JobData) has them. Text and
//! HTML are `multipart/alternative`, files that the HTML shows `multipart/related`, others
//! `multipart/mixed`; a text that is empty is made from the HTML. What can't be sent as it is is
//! [`Permanent`](crate::sinks::JobErrorKind::Permanent), and the reason names the field. A subject
//! has at most [`SUBJECT_LIMIT_BYTES`], a file's name [`FILE_NAME_LIMIT_BYTES`], and there are at
//! most [`HEADERS_LIMIT`] further header fields of [`HEADERS_LIMIT_BYTES`].
//!
//! Every line has at most 998 octets, and nothing needs 8BITMIME: no relay has to change a mail,
//! which would break its signature ([`Dkim`]).
//!
//! # TLS
//!
//! The server's certificate must be of its host, and an authority must vouch for it: one of the
//! system's, or one in [`MailConfig::tls_ca_pem`]. A certificate in there is trusted itself, too,
//! if it is the server's own, as `openssl req -x509` makes them.
//!
//! # Logins
//!
//! AUTH PLAIN where it is offered, else LOGIN; also LOGIN if the server answers 504 to PLAIN.
//!
//! The user is sent as it is, which is what Amazon SES wants (its users have no `@`):
//!
//! ```
//! use jobstream::sinks::smtp::{Login, MailConfig, MailSink, TlsMode};
//!
//! let config = MailConfig::new("email-smtp.eu-west-1.amazonaws.com", "noreply@example.com")
//!     .port(587)
//!     .tls(TlsMode::StartTls)
//!     .login(Login::new("AKIAIOSFODNN7EXAMPLE", "the SMTP password"))
//!     .allowed_from_domains(vec!["example.com".into()]);
//! let sink = MailSink::new(&config)?;
//! # Ok::<(), jobstream::sinks::smtp::ConfigError>(())
//! ```

mod address;
mod addresses;
mod attachment;
mod auth;
mod circuit;
mod config;
mod connect;
mod content;
mod conversation;
mod date;
mod dkim;
mod end;
mod extensions;
mod fault;
mod free_text;
mod gauge;
mod hang_ups;
mod header;
mod message;
mod observer;
mod open;
mod openings;
mod pool;
mod rate;
mod relay;
mod reply;
mod secret;
mod server;
mod session_limit;
mod sink;
mod text_of_html;
mod tls;
mod transaction;
mod withheld;

pub use address::{
    AddressError, DOMAIN_LIMIT_OCTETS, LABEL_LIMIT_OCTETS, LOCAL_PART_LIMIT_OCTETS, Mailbox,
};
pub use attachment::FILE_NAME_LIMIT_BYTES;
pub use config::{ConfigError, Login, MailConfig, RelayConfig, TimeLimits, TlsMode};
pub use connect::{Connect, Stream, TcpConnect};
pub use dkim::{Dkim, DkimError};
pub use fault::{ServerFault, ServerFaultKind};
pub use free_text::SUBJECT_LIMIT_BYTES;
pub use header::{HEADERS_LIMIT, HEADERS_LIMIT_BYTES};
pub use observer::{CircuitChange, Event, Observer, Phase};
pub use relay::{Relay, ServerReport};
pub use secret::Secret;
pub use sink::{Accepted, MailSink};
