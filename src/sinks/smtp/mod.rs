//! The mail sink: sends the mail that a job holds to an SMTP server, and says what became of it.
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
//! | 4yz to one of these, but not 421; or no answer, or one that makes no sense, before the write that holds the final dot had begun | [`Transient`](crate::sinks::JobErrorKind::Transient) |
//! | 421 to one of these, or the connection was lost before that write had begun, though the server has taken another mail since the job's last attempt | [`Transient`](crate::sinks::JobErrorKind::Transient); the first time [`Unavailable`](crate::sinks::JobErrorKind::Unavailable) |
//! | no answer after that write had begun: lost, too late, or no SMTP | [`Ambiguous`](crate::sinks::JobErrorKind::Ambiguous) |
//! | no connection while none is open, TLS or login failed, any 4yz or 5yz before MAIL; 530 or 535 to anything; other 421 and lost connections; no SMTPUTF8 where `mail_from` needs it | [`Unavailable`](crate::sinks::JobErrorKind::Unavailable), and the circuit opens |
//!
//! A reply of 421 to the final dot is an answer: the server is going away and did not take the
//! mail. The first time that the server hangs up on a job opens the circuit only if no mail was
//! taken since it hung up last, on whichever job.
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
//! # The circuit
//!
//! It opens on the server's fault; then no mail is tried and
//! [`JobSink::ready`](crate::sinks::JobSink::ready) is pending. The calls that wait there ask the
//! server again, with a back-off that doubles, by NOOP on an idle connection or by a new one up to
//! its login. The [`Observer`] is notified of a change once.
//!
//! # Mails
//!
//! The bytes of a mail depend on its job alone (and on the record's timestamp, where the job has no
//! usable date): `Message-ID` is the [hash](crate::job::Job::name_hash) of `Id` and `ScheduleTime`,
//! `Date` is the first of `ScheduleTime` and `CreatedAt` that is RFC 3339 in the years 1970 to
//! 9999. The text arrives as it is in the job, with every line end as CRLF and perhaps one more at
//! the end. A subject has at most [`SUBJECT_LIMIT_BYTES`].
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
mod auth;
mod circuit;
mod config;
mod connect;
mod conversation;
mod date;
mod end;
mod extensions;
mod fault;
mod gauge;
mod hang_ups;
mod message;
mod observer;
mod open;
mod openings;
mod pool;
mod rate;
mod reply;
mod secret;
mod session_limit;
mod sink;
mod subject;
mod tls;
mod transaction;

pub use address::{
    AddressError, DOMAIN_LIMIT_OCTETS, LABEL_LIMIT_OCTETS, LOCAL_PART_LIMIT_OCTETS, Mailbox,
};
pub use config::{ConfigError, Login, MailConfig, TimeLimits, TlsMode};
pub use connect::{Connect, Stream, TcpConnect};
pub use fault::{ServerFault, ServerFaultKind};
pub use observer::{CircuitChange, Observer, Phase};
pub use secret::Secret;
pub use sink::{Accepted, MailSink, ServerReport};
pub use subject::SUBJECT_LIMIT_BYTES;
