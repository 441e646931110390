//! Log lines: what happens, for people or for programs. None holds what is in a job.

#[cfg(feature = "run")]
mod events;
mod kafka;
#[cfg(feature = "run")]
mod ledger;
mod line;
mod run;
mod writer;

use std::io;

use tracing::Level;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::FormatEvent;
use tracing_subscriber::fmt::format::DefaultFields;

use crate::settings::LogSettings;

pub use kafka::KafkaLog;
pub use run::RunLog;
pub use writer::Log;

#[cfg(feature = "run")]
pub(crate) use events::JobLog;
#[cfg(feature = "run")]
pub(crate) use ledger::LedgerLog;

/// Lines in this form, of this level and more severe ones, go to standard output from now on, and
/// until what this returns is dropped. `notice` makes the line that says how many were dropped.
///
/// # Errors
/// If the system gives no thread to write them.
pub fn log_to_stdout<F>(
    level: Level,
    form: F,
    notice: impl Fn(u64) -> String + Send + 'static,
) -> io::Result<Log>
where
    F: FormatEvent<Registry, DefaultFields> + Send + Sync + 'static,
{
    let (writer, log) = writer::start_log(io::stdout(), notice)?;
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from_level(level))
        .with_writer(writer)
        .event_format(form)
        .finish();
    // Fails where one is set already: there is none before this.
    drop(tracing::subscriber::set_global_default(subscriber));
    Ok(log)
}

/// Lines as the settings have them, from now on, and until what this returns is dropped.
///
/// # Errors
/// If the system gives no thread to write them.
pub fn start_log(settings: &LogSettings) -> io::Result<Log> {
    let line = line::Line::new(settings.format, settings.environment.clone());
    let notice = line.clone();
    log_to_stdout(settings.level, line, move |lines| notice.dropped(lines))
}
