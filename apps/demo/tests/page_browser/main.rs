//! The live page, used by a person with a real browser: Debian's chromium and chromium-driver.
//! `PIZZA_SCREENSHOTS` names a folder for pictures of what they see; without it none is taken.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test panics where it can't go on")]

#[path = "../../../mailjob/tests/page/client.rs"]
#[allow(dead_code, reason = "other tests do more with it")]
mod client;
#[path = "../page/demo.rs"]
#[allow(dead_code, reason = "other tests do more with it")]
mod demo;
#[path = "../../../pizza/tests/browser/driver.rs"]
#[allow(dead_code, reason = "other tests do more with it")]
mod driver;
#[path = "../../../mailjob/tests/page/job.rs"]
#[allow(dead_code, reason = "other tests do more with it")]
mod job;

mod contents;
mod keyboard;
mod looks;
mod misfortunes;
mod visit;
