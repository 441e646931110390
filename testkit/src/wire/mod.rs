//! The broker on a socket: Kafka's protocol, for clients in any language.
//!
//! ```text
//!            frame               dispatch                 state, behind its one lock
//!  client ─────────▶ connection ─────────▶ api::* ───────────────────────────────────▶ Broker
//!         ◀───────── one answer at a time, in the order of the requests ◀─────────────
//! ```
//!
//! [`Broker::listen`](crate::broker::Broker::listen) serves the very broker that the traits see: a
//! record that a client produces is read by a [`Consumer`](crate::broker::Consumer) of the same
//! process, and the reverse. Batches are kept as they came, compressed ones too, and are decoded
//! when the traits read them; records of the traits are encoded when a client reads them.
//!
//! The listener runs in tasks of the tokio runtime that it is opened in, by real time. Nothing of
//! it runs where no listener is open: the simulation is what it is without it.
//!
//! ```no_run
//! use jobstream_testkit::broker::Broker;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let broker = Broker::new();
//! broker.create_topic("jobs", 6);
//! let listener = broker.listen("127.0.0.1:0").await?;
//! println!("bootstrap.servers={}", listener.bootstrap());
//! # Ok(()) }
//! ```
//!
//! # How to add an API
//!
//! 1. Write a file below `api/` with `pub(super) fn apis() -> Vec<Api>`, and one function for each
//!    API: it takes a [`Call`](call::Call) (who asks, in which version) and the request of
//!    `kafka-protocol`, and gives the response. [`Api::at_once`](dispatch::Api::at_once) is for
//!    answers that are there at once, `in_time` for those that wait, `encoded` for those that no
//!    client expects or that share the log's bytes.
//! 2. Give the range of versions that are served **whole**, with every field that they have: it is
//!    what ApiVersions advertises.
//! 3. Name the file in `api/mod.rs`: one line for `mod`, one in `GROUPS`.
//!
//! Inside a handler, `call.broker().with(|state| ...)` reads and `change` changes the state, under
//! its lock; never await while it is held. What only the wire needs to remember is a field of
//! [`WireState`](state::WireState), with a type of its own in a file of its own. If something there
//! may time out sooner than all else, call `state.wire.move_deadline()`. A response field that a
//! version does not have must keep its default: the encoder refuses it otherwise, and the
//! connection ends with a reason that [`Listener::refusals`] shows.

mod api;
mod assignors;
mod bounded;
mod broker_config;
mod call;
mod classic;
mod classic_member;
mod cluster;
mod connection;
mod consumer_group;
mod consumer_member;
#[cfg(feature = "programs")]
pub(crate) mod departed;
mod dispatch;
pub mod faults;
mod fetch_session;
mod fetched;
mod frame;
mod group_config;
#[cfg(feature = "programs")]
mod guest;
mod internal;
mod listener;
mod login;
mod placement;
mod scram;
pub(crate) mod state;
mod topics;
mod witness;

#[cfg(feature = "programs")]
pub(crate) use bounded::decode;
pub use listener::{Listener, ListenerBuilder};
pub use witness::{WireRequest, WireWitness};
