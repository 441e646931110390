//! The mail sink against the fake SMTP server, in memory and under a paused clock.

mod ahead;
mod arbitrary;
mod backends;
mod cancellation;
mod circuit;
mod content;
mod cuts;
mod documented;
mod following;
mod limits;
mod login;
mod misfortunes;
mod neighbours;
mod outcomes;
mod parts;
mod peer;
mod pooled_lettre;
#[path = "../../testkit/tests/smtp/postfix.rs"]
#[allow(clippy::unwrap_used, dead_code, reason = "other tests do more with it")]
mod postfix;
mod postfixes;
mod racing;
mod relays;
mod signatures;
mod stray;
