//! The fake SMTP server.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

mod basics;
mod client;
mod conformance;
mod encrypted;
mod hostile;
mod misfortunes;
mod postfix;
mod speed;
