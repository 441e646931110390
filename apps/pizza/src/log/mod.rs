//! Log lines, as the services write them.

mod events;
mod line;

use jobstream_service::settings::{LogFormat, LogSettings};
use jobstream_service::{Failure, Log, log_to_stdout, start_log};
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;

pub use events::{ServiceLog, log_produced};
use line::Line;

/// Lines go to standard output from now on, and until what this returns is dropped.
///
/// # Errors
/// If the system gives no thread to write them.
pub fn start(settings: &LogSettings) -> Result<Log, Failure> {
    let log = match settings.format {
        LogFormat::Text => log_to_stdout(settings.level, Line, Line::dropped),
        LogFormat::Json => start_log(settings),
    };
    log.map_err(|error| Failure::new(format!("log lines can't be written: {error}")))
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
