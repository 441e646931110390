//! The web app, asked by a client over TCP.

mod cancelling;
mod contrast;
mod events;
mod headers;
mod log_in;
mod ordering;
mod privacy;
mod session_key;
mod shop;
mod visitor;
