//! The listener, asked byte by byte.

#![expect(clippy::unwrap_used, reason = "a test")]

mod client;
mod configs;
mod consumer_groups;
mod coordinators;
mod faults;
mod fetching;
mod groups;
mod hostile;
mod internal_topics;
mod logins;
mod producing;
mod reassignments;
mod versions;
mod witness;
