//! What executes mail jobs, with what belongs to it: the mail sink, its log lines, metrics and
//! traces, and who looks after the server.

use std::future::{pending, ready};
use std::sync::Arc;

use jobstream::job::Job;
use jobstream::sinks::JobSink;
use jobstream::sinks::smtp::{self, Accepted, MailConfig, MailSink, RelayConfig};
use jobstream_service::{Context, Failure};

use crate::log::MailLog;
use crate::metrics::MailMetrics;
use crate::page::{MailFeed, MailPanel};
use crate::settings::MailSettings;
use crate::traces::MailTraces;
use crate::{check, server};

/// The mail sink of these settings, and what it adds to its service.
///
/// # Errors
/// If its settings do not hold.
pub(crate) fn executor(
    settings: &MailSettings,
    context: &mut Context,
) -> Result<Arc<dyn JobSink<Job, Accepted>>, Failure> {
    let config = &settings.mail;
    let log = MailLog::of(config);
    let metrics = context.monitor().map(MailMetrics::register);
    let (feed, traces) = (context.feed().cloned(), context.traces().cloned());
    let panel = Arc::new(MailPanel::default());
    let observer = |relay: &RelayConfig| -> Arc<dyn smtp::Observer> {
        let name = relay.name();
        let mut observers: Vec<Arc<dyn smtp::Observer>> = vec![log.relay(&name)];
        if let Some(metrics) = &metrics {
            observers.push(metrics.relay(&name));
        }
        if let Some(feed) = &feed {
            observers.push(Arc::new(MailFeed::new(feed.clone(), name, 0)));
            observers.push(panel.relay());
        }
        if let Some(traces) = &traces {
            observers.push(MailTraces::new(traces.clone(), &relay.host, relay.port));
        }
        Arc::new(observers)
    };
    let sink = Arc::new(mail_sink(config, observer)?);
    if feed.is_some() {
        context.panel(panel);
    }
    context.beside(server::refused(sink.clone(), log, metrics, config.limits));
    context.beside(server::renewed_login(sink.clone(), config.clone()));
    let idle = sink.clone();
    context.beside(async move {
        idle.retire_idle().await;
        pending().await
    });
    let idle = sink.clone();
    context.at_the_end(move || idle.close_idle());
    if let Some(dkim) = &config.dkim {
        context.check(ready(Ok(check::signs(dkim))));
    }
    for relay in &config.relays {
        context.check(check::server(config.clone(), relay.clone()));
    }
    Ok(sink)
}

/// The mail sink; its settings hold, or the start has ended before.
pub(crate) fn mail_sink(
    config: &MailConfig,
    observer: impl Fn(&RelayConfig) -> Arc<dyn smtp::Observer>,
) -> Result<MailSink, Failure> {
    MailSink::with_observer(config, observer).map_err(Failure::usage)
}
