//! The live page of a demo, which is a process of its own, as a browser's requests see it.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

#[path = "../../../mailjob/tests/page/client.rs"]
mod client;
mod contents;
mod demo;
mod events;
mod exhaustion;
#[path = "../../../mailjob/tests/page/job.rs"]
mod job;
mod jobs;
mod mails;
mod misfortunes;
mod sites;
