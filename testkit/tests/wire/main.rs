//! The listener, asked byte by byte.

#![expect(clippy::unwrap_used, reason = "a test")]

mod client;
mod consumer_groups;
mod faults;
mod fetching;
mod groups;
mod hostile;
mod internal_topics;
mod logins;
mod producing;
mod versions;
