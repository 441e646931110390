//! Log lines, as the services write them.

mod events;
mod line;

use std::io;

use tracing::{Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

pub use events::{Produced, ServiceLog};
use line::Line;

/// Lines go to standard output from now on.
pub fn start(level: Level) {
    // Fails where one is set already: there is none before this.
    drop(tracing::subscriber::set_global_default(subscriber(level, io::stdout)));
}

/// Writes lines of that level, and more severe ones.
pub fn subscriber<W>(level: Level, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from_level(level))
        .with_writer(writer)
        .event_format(Line)
        .finish()
}
