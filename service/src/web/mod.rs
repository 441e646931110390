//! What the applications' listeners share: a server that no client can exhaust, headers that
//! protect an answer, a limit of how long it may take to begin, streams of events that end when the
//! page closes, and quotas.

mod client;
mod connection;
mod headers;
mod limits;
mod quota;
mod serve;
mod streams;

pub use client::Client;
pub use headers::{limit, secure};
pub use limits::Limits;
pub use quota::Quota;
pub use serve::serve;
pub use streams::{Stream, Streams};
