//! Log lines: what happens, for people or for programs. None holds what is in a job.

mod events;
mod line;
mod mail;

use std::io;

use mailjob::settings::{LogLevel, LogSettings};
use tracing_subscriber::filter::LevelFilter;

pub(crate) use events::JobLog;
pub(crate) use jobstream_service::KafkaLog;
pub(crate) use mail::MailLog;

use line::Line;

/// Lines go to standard output from now on.
pub(crate) fn start(settings: &LogSettings) {
    let level = match settings.level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let line = Line::new(settings.format, settings.environment.clone());
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(io::stdout)
        .event_format(line)
        .finish();
    // Fails where one is set already: there is none before this.
    drop(tracing::subscriber::set_global_default(subscriber));
}
