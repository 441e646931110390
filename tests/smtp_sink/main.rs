//! The mail sink against the fake SMTP server, in memory and under a paused clock.

mod cancellation;
mod circuit;
mod content;
mod cuts;
mod following;
mod login;
mod misfortunes;
mod neighbours;
mod outcomes;
mod peer;
mod pooled_lettre;
mod racing;
mod stray;
