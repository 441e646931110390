//! Log lines, as the services write them.

mod events;
mod line;

use std::io;

use tracing::Level;
use tracing_subscriber::filter::LevelFilter;

pub use events::{Produced, ServiceLog};
use line::Line;

/// Lines go to standard output from now on.
pub fn start(level: Level) {
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from_level(level))
        .with_writer(io::stdout)
        .event_format(Line)
        .finish();
    // Fails where one is set already: there is none before this.
    drop(tracing::subscriber::set_global_default(subscriber));
}
