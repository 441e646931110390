//! The mail sink.
