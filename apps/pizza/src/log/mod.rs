//! Log lines, as the services write them.

mod events;
mod line;

use std::io;

use jobstream_service::{Log, start_log};
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

pub use events::{ServiceLog, log_produced};
use line::Line;

/// Lines go to standard output from now on, and until what this returns is dropped.
///
/// # Errors
/// If the system gives no thread to write them.
pub fn start(level: Level) -> io::Result<Log> {
    let (writer, log) = start_log(io::stdout(), Line::dropped)?;
    // Fails where one is set already: there is none before this.
    drop(tracing::subscriber::set_global_default(subscriber(level, writer)));
    Ok(log)
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
