//! The fake SMTP server.

#![allow(clippy::unwrap_used, reason = "a test may fail")]
#![allow(clippy::print_stdout, reason = "shown when a test fails, or asked for")]

mod basics;
mod client;
mod clients;
mod conformance;
mod encrypted;
mod hostile;
mod misfortunes;
mod postfix;
mod speed;
