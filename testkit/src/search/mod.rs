//! The search for programs in any language: is there a schedule of faults under which a Kafka consumer
//! breaks its promise?
//!
//! ```text
//!         seed ──▶ schedule of faults ──┐
//!                                       ▼
//!  jobs ──▶ broker ──▶ requests of the program ──▶ outputs, commits, mails, requests
//!             ▲                 │                            │
//!             │          kill · stop · pause                 ▼
//!             └──── restarted ──┘                         account ──▶ what is broken
//! ```
//!
//! The program runs as it is, in processes of its own, against the broker on a
//! [listener](crate::wire::Listener) of its own each. Faults strike at its requests: the nth of an
//! API, the one with the nth record, the nth commit. That comes close to the same moment in each play,
//! however threads run; a verdict says in how many plays of how many a schedule has broken the promise.
//!
//! What is judged, at each request and from outside: see [`Promise`]. "Nothing is committed that is not
//! done" is judged at the moment of each commit, which needs no crash to show what one would lose.
//!
//! `broker search` is this on a command line; `docs/search.md` tells how to use it.

mod account;
mod draw;
mod fault;
mod hunt;
mod jobs;
mod json;
mod member;
mod play;
mod process;
mod program;
mod promise;
mod receiver;
mod said;
mod schedule;
mod shrink;
mod stage;
mod timeline;
mod watch;

pub use fault::{Act, Planned, Point};
pub use hunt::{Finding, Outcome, Report, Search};
pub use jobs::{Job, Jobs, JobsError, KeyPath};
pub use member::STOPPING_LIMIT;
pub use program::Program;
pub use promise::{Broken, Promise, Unusable, Verdict};
pub use schedule::Schedule;
pub use shrink::Plays;
pub use timeline::Timeline;
