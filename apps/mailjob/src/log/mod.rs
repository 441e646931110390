//! Log lines: what happens, for people or for programs. None holds what is in a job.

mod events;
mod ledger;
mod line;
mod mail;

use std::io;

use jobstream_service::start_log;
use mailjob::settings::LogSettings;
use tracing_subscriber::filter::LevelFilter;

pub(crate) use events::JobLog;
pub(crate) use jobstream_service::{KafkaLog, Log};
pub(crate) use ledger::LedgerLog;
pub(crate) use mail::MailLog;

use line::Line;

/// Lines go to standard output from now on, and until what this returns is dropped.
///
/// # Errors
/// If the system gives no thread to write them.
pub(crate) fn start(settings: &LogSettings) -> io::Result<Log> {
    let line = Line::new(settings.format, settings.environment.clone());
    let notice = line.clone();
    let (writer, log) = start_log(io::stdout(), move |lines| notice.dropped(lines))?;
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::from_level(settings.level))
        .with_writer(writer)
        .event_format(line)
        .finish();
    // Fails where one is set already: there is none before this.
    drop(tracing::subscriber::set_global_default(subscriber));
    Ok(log)
}
