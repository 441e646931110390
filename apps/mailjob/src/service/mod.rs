//! The service: the shipping topology between Kafka and a mail server.
//!
//! ```text
//!  settings ─▶ properties ─▶ output topics ─▶ input topic ─▶ workers ─▶ topology ─▶ drain
//!                            (waited for)     (waited for)
//! ```

mod error;
mod ledger;
mod mail;
mod metrics;
mod page;
mod topics;
mod workers;

use std::sync::Arc;

use jobstream::kafka::KafkaConfig;
use jobstream::sinks::smtp::{self, MailConfig, MailSink, TcpConnect};
use jobstream::topology::{Drained, Event, Topology, Worker};
use jobstream_service::metrics::{KafkaObservers, LedgerObservers, tell_statistics};
use jobstream_service::page::Feed;
use jobstream_service::traces::{RunTraces, Traces};
use jobstream_service::{Signals, environment, random_id};
use mailjob::metrics::{MailObservers, Metrics};
use mailjob::page::MailFeed;
use mailjob::settings::Settings;
use mailjob::topology::{ledger, topology, topology_with_ledger};
use mailjob::traces::MailTraces;
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use crate::cli::RunArgs;
use crate::log::{self, JobLog, KafkaLog, LedgerLog, MailLog};

pub(crate) use error::ServiceError;
pub(crate) use jobstream_service::{Accepted, accept};
pub(crate) use ledger::Fitness;
pub(crate) use topics::{named, unreached};

/// Runs the service until a signal ends it, or something that no time mends.
///
/// # Errors
/// If it can't start, or has ended otherwise than by one signal.
pub(crate) async fn run(args: &RunArgs) -> Result<(), ServiceError> {
    let settings = Settings::read(&environment::variables(), &environment::read_file)?;
    let page = page::open(args.page, &settings).await?;
    let _log = log::start(&settings.log).map_err(ServiceError::Log)?;
    info!("Creating job-executor app");
    settings.warnings.iter().for_each(|warning| warn!("{warning}"));
    let mut signals = Signals::new()?;
    let (stop, stopped) = watch::channel(false);
    let (metrics, told) = metrics::metrics(&settings).unzip();
    let feed = page.as_ref().map(|page| &page.feed);
    let (traces, _export) = settings.traces.as_ref().map(Traces::start).transpose()?.unzip();
    let service = Service::new(settings, metrics, feed, traces)?;
    let begin = || {
        info!("Starting graceful shutdown...");
        stop.send_replace(true);
    };
    tokio::select! {
        biased;
        ended = signals.stop_at_next(service.run(stopped.clone()), begin) => ended?,
        broken = metrics::tell(told) => return Err(broken),
        never = page::show(page, stopped) => match never {},
    }
    info!("Graceful shutdown completed");
    Ok(())
}

/// What a run of the service is made of.
struct Service {
    settings: Settings,
    kafka: KafkaConfig,
    kafka_log: Arc<KafkaLog>,
    ledger_log: Arc<LedgerLog>,
    mail_sink: Arc<MailSink>,
    mail_log: Arc<MailLog>,
    metrics: Option<Metrics>,
    topology: Topology,
    /// A partition was assigned, or has no part of the ledger.
    ledger_may_lack: Arc<Notify>,
}

impl Service {
    fn new(
        settings: Settings,
        metrics: Option<Metrics>,
        feed: Option<&Arc<Feed>>,
        traces: Option<Traces>,
    ) -> Result<Self, ServiceError> {
        let kafka_log = Arc::new(KafkaLog::default());
        let Accepted { config, warnings } = accept(&settings.kafka)?;
        warnings.iter().for_each(|warning| warn!("{warning}"));
        let mail_log = Arc::new(MailLog::default());
        let mut mail_observers = MailObservers(vec![mail_log.clone()]);
        let mut kafka_observers = KafkaObservers(vec![kafka_log.clone()]);
        let ledger_log = Arc::new(LedgerLog::default());
        let mut ledger_observers = LedgerObservers(vec![ledger_log.clone()]);
        if let Some(Metrics { kafka, mail, ledger, .. }) = &metrics {
            mail_observers.0.push(mail.clone());
            kafka_observers.0.push(kafka.clone());
            ledger_observers.0.push(ledger.clone());
        }
        if let Some(feed) = feed {
            mail_observers.0.push(Arc::new(MailFeed::new(feed.clone(), 0)));
            kafka_observers.0.push(feed.clone());
            ledger_observers.0.push(feed.clone());
        }
        if let Some(traces) = &traces {
            let MailConfig { host, port, .. } = &settings.mail;
            mail_observers.0.push(MailTraces::new(traces.clone(), host, *port));
        }
        let traces = traces.map(|traces| RunTraces::new(traces, &settings.topics.group));
        let mail_sink = Arc::new(mail_sink(&settings.mail, Arc::new(mail_observers))?);
        let job = &settings.job;
        let mut topology = stages(&settings, mail_sink.clone(), ledger_observers)
            .with_limits(job.limits)
            .with_seed(random_id())
            .with_group(settings.topics.group.clone())
            .with_observer(Arc::new(JobLog::new(
                kafka_log.clone(),
                ledger_log.clone(),
                traces.clone(),
                settings.topics.create,
            )));
        if let Some(traces) = traces {
            topology = traces.of(topology);
        }
        let ledger_may_lack = Arc::new(Notify::new());
        if job.ledger.is_some() {
            let may_lack = ledger_may_lack.clone();
            topology = topology.with_observer(Arc::new(move |event: &Event<'_>| {
                // The part of a new partition is grown while it is looked for.
                if matches!(event, Event::Assigned(_) | Event::PartMissing { .. }) {
                    may_lack.notify_one();
                }
            }));
        }
        let mut kafka = config.with_observer(Arc::new(kafka_observers));
        if let Some(Metrics { run, ledger, .. }) = &metrics {
            topology = topology.with_observer(run.clone()).with_observer(ledger.clone());
        }
        if let Some(feed) = feed {
            topology = topology.with_observer(feed.clone());
        }
        if metrics.is_some() || feed.is_some() {
            kafka = tell_statistics(kafka, &settings.kafka);
        }
        Ok(Self {
            settings,
            kafka,
            kafka_log,
            ledger_log,
            mail_sink,
            mail_log,
            metrics,
            topology,
            ledger_may_lack,
        })
    }

    async fn run(&self, stopped: watch::Receiver<bool>) -> Result<(), ServiceError> {
        let workers = tokio::select! {
            biased;
            workers = self.start() => workers?,
            () = stop(stopped.clone()) => return Ok(()),
        };
        let drained = tokio::select! {
            biased;
            drained = self.work(&workers, stopped) => drained?,
            refused = self.mail_is_refused() => return Err(refused),
            never = ledger::keep_grown(&self.kafka, &self.settings, &self.ledger_may_lack) => match never? {},
            () = mail::renewed_login(&self.mail_sink, &self.settings) => return Ok(()),
            () = self.mail_sink.retire_idle() => return Ok(()),
        };
        self.mail_sink.close_idle();
        info!("Consumer group successfully closed");
        let (unfinished, in_doubt) = (drained.unfinished, self.ledger_log.left_in_doubt());
        if unfinished > 0 || in_doubt > 0 {
            warn!(unfinished, in_doubt, "Jobs were left unfinished");
        }
        Ok(())
    }

    /// Completes when the output topics are there and the workers can be.
    async fn start(&self) -> Result<Vec<Worker>, ServiceError> {
        topics::outputs(&self.kafka, &self.settings, &self.kafka_log).await?;
        topics::input(&self.kafka, &self.settings, &self.kafka_log).await?;
        if self.settings.job.ledger.is_some() {
            ledger::ready(&self.kafka, &self.settings, &self.kafka_log).await?;
        }
        let count = self.settings.job.workers;
        info!("Starting email job consumers with {count} workers...");
        let mut workers = Vec::new();
        for number in 1..=count {
            workers.push(workers::worker(&self.kafka, &self.settings, number).await?);
            info!("Worker {number} started for consuming job events...");
        }
        Ok(workers)
    }

    async fn mail_is_refused(&self) -> ServiceError {
        let metrics = self.metrics.as_ref().map(|metrics| &*metrics.mail);
        mail::refused(&self.mail_sink, &self.mail_log, metrics).await
    }

    async fn work(
        &self,
        workers: &[Worker],
        stopped: watch::Receiver<bool>,
    ) -> Result<Drained, ServiceError> {
        let shutdown = async move {
            stop(stopped).await;
            info!("Closing consumer group...");
        };
        Ok(self.topology.run_workers(workers, shutdown).await?)
    }
}

/// The stages, with a ledger or without.
fn stages(settings: &Settings, sink: Arc<MailSink>, observers: LedgerObservers) -> Topology {
    let (topics, retry) = (&settings.topics.topics, settings.job.retry);
    let Some(limits) = settings.job.ledger else { return topology(topics, sink, retry) };
    let ledger = ledger(sink, Arc::new(environment::now), retry.ambiguous, limits);
    topology_with_ledger(topics, Arc::new(ledger.with_observer(Arc::new(observers))), retry)
}

/// Completes when the service is to stop.
async fn stop(mut stopped: watch::Receiver<bool>) {
    // Where nobody is left to say so, it is to stop, too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

/// The mail sink; its settings hold, or the start has ended before.
pub(crate) fn mail_sink(
    config: &MailConfig,
    observer: Arc<dyn smtp::Observer>,
) -> Result<MailSink, ServiceError> {
    let connect = Arc::new(TcpConnect::new(config.host.clone(), config.port));
    Ok(MailSink::with(config, connect, observer)?)
}
