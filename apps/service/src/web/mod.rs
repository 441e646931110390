//! What the web pages of the applications share: headers that protect an answer, a limit of how
//! long it may take to begin, and streams of events that end when the page closes.

mod headers;
mod streams;

pub use headers::{limit, secure};
pub use streams::{Stream, Streams};
