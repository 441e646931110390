//! A run of the service: its topology between Kafka and what executes its jobs.
//!
//! ```text
//!  settings ─▶ properties ─▶ output topics ─▶ input topic ─▶ ledger ─▶ workers ─▶ topology ─▶ drain
//!                            (waited for)     (waited for)
//! ```

mod error;
mod ledger;
mod owner;
mod page;
mod topics;

use std::future::pending;
use std::sync::Arc;

use futures::future::BoxFuture;
use jobstream::sinks::ledger as library_ledger;
use jobstream::topology::{Drained, Event, Topology, Worker};
use tokio::sync::{Notify, watch};
use tracing::{info, warn};

use crate::cli::RunArgs;
use crate::defaults::Defaults;
use crate::jobs::UNKEYED_JOBS;
use crate::log::{self, JobLog, LedgerLog};
use crate::metrics::{LedgerMetrics, Told};
use crate::page::Feed;
use crate::settings::ServiceSettings;
use crate::traces::RunTraces;
use crate::{
    BuildInfo, Context, Delivery, Ends, Failure, Part, Process, Program, Signals, random_id,
};

pub(crate) use error::ServiceError;
pub(crate) use ledger::Fitness;
pub(crate) use owner::refusal;
pub(crate) use topics::compacted;

/// Makes the topology of the service; its ledger, if it has one, notifies the observer.
pub(crate) type MakeTopology<'a> = &'a (
        dyn Fn(
    &ServiceSettings,
    &mut Context,
    Arc<dyn library_ledger::Observer>,
) -> Result<Topology, Failure>
            + Send
            + Sync
    );

/// Runs the service until a signal ends it, or something that no time mends.
///
/// # Errors
/// If it can't start, or has ended otherwise than by one signal.
pub(crate) async fn run(
    (defaults, build): (&Defaults, &BuildInfo),
    settings: ServiceSettings,
    args: &RunArgs,
    make: MakeTopology<'_>,
) -> Result<(), ServiceError> {
    let page = page::open(args.page, defaults, &settings).await?;
    let _log = log::start_log(&settings.process.log).map_err(ServiceError::Log)?;
    info!("Creating job-executor app");
    let mut signals = Signals::new()?;
    let (stop, stopped) = watch::channel(false);
    let feed = page.as_ref().map(|page| page.feed.clone());
    let group = Some(&*settings.topics.group);
    let parts = &[Part { name: defaults.name, group }];
    let program = Program { name: defaults.name, version: build.version, parts };
    let hears = feed.iter().map(|feed| feed.clone() as _);
    let (process, mut told) = Process::new(program, settings.process.clone(), hears)?;
    let ledger = told.as_mut().map(|told| LedgerMetrics::register(&mut told.monitor));
    let (address, monitor) = told.map(|told| (told.address, told.monitor)).unzip();
    let mut context = Context::new(monitor, feed.clone(), process.traces(defaults.name).cloned());
    let observed = Observed { ledger, feed };
    let run = Run::new(defaults, (settings, process), observed, &mut context, make)?;
    let told = address.zip(context.take_monitor());
    let told = told.map(|(address, monitor)| Told { address, monitor });
    let beside = context.take_beside();
    let begin = || {
        info!("Starting graceful shutdown...");
        stop.send_replace(true);
    };
    tokio::select! {
        biased;
        ended = signals.stop_at_next(run.run(beside, stopped.clone()), begin) => ended?,
        failure = Told::tell(told) => return Err(failure.into()),
        never = page::show(page, stopped) => match never {},
    }
    context.end();
    info!("Graceful shutdown completed");
    Ok(())
}

/// What observes a run, beside the log and what the process has.
struct Observed {
    ledger: Option<Arc<LedgerMetrics>>,
    feed: Option<Arc<Feed>>,
}

/// What a run of the service is made of.
struct Run {
    /// What its jobs are called in the log.
    noun: String,
    settings: ServiceSettings,
    process: Process,
    ledger_log: Arc<LedgerLog>,
    topology: Topology,
    /// A partition was assigned, or has no part of the ledger.
    ledger_may_lack: Arc<Notify>,
    /// The ledger's topic was created anew, and a part is written to it again.
    ledger_recreated: Arc<Notify>,
}

impl Run {
    fn new(
        defaults: &Defaults,
        (settings, process): (ServiceSettings, Process),
        observed: Observed,
        context: &mut Context,
        make: MakeTopology<'_>,
    ) -> Result<Self, ServiceError> {
        let Observed { ledger, feed } = observed;
        let ledger_log = Arc::new(LedgerLog::default());
        let mut ledger_observers: Vec<Arc<dyn library_ledger::Observer>> = vec![ledger_log.clone()];
        ledger_observers.extend(ledger.iter().map(|ledger| ledger.clone() as _));
        ledger_observers.extend(feed.iter().map(|feed| feed.clone() as _));
        let traces = process.traces(defaults.name).cloned();
        let traces = traces.map(|traces| RunTraces::new(traces, &settings.topics.group));
        let job_log = JobLog::new(process.log().clone(), ledger_log.clone(), traces.clone())
            .waiting_for(defaults.server)
            .growing_ledger(settings.topics.create);
        let mut topology = make(&settings, context, Arc::new(ledger_observers))?
            .with_limits(settings.job.limits)
            .with_seed(random_id())
            .with_group(settings.topics.group.clone())
            .with_observer(Arc::new(job_log));
        if let Some(traces) = traces {
            topology = traces.of(topology);
        }
        let (ledger_may_lack, ledger_recreated) = (Arc::<Notify>::default(), Arc::default());
        if settings.job.ledger.is_some() {
            info!("{UNKEYED_JOBS}");
            let asks_for_parts = asks_for_parts(&ledger_may_lack, &ledger_recreated);
            topology = topology.with_observer(Arc::new(asks_for_parts));
        }
        if let Some((metrics, ledger)) = process.metrics().zip(ledger) {
            topology = topology.with_observer(metrics.run.clone()).with_observer(ledger);
        }
        if let Some(feed) = &feed {
            feed.shows(&topology);
            topology = topology.with_observer(feed.clone());
        }
        let noun = defaults.noun.clone();
        Ok(Self {
            noun,
            settings,
            process,
            ledger_log,
            topology,
            ledger_may_lack,
            ledger_recreated,
        })
    }

    async fn run(
        &self,
        beside: BoxFuture<'static, Failure>,
        stopped: watch::Receiver<bool>,
    ) -> Result<(), ServiceError> {
        let workers = tokio::select! {
            biased;
            workers = self.start() => workers?,
            () = stop(stopped.clone()) => return Ok(()),
        };
        let (process, topics) = (&self.process, &self.settings.topics);
        let drained = tokio::select! {
            biased;
            drained = self.work(&workers, stopped) => drained?,
            failure = beside => return Err(failure.into()),
            never = ledger::keep_grown(process, topics, &self.ledger_may_lack) => match never? {},
            never = self.keep_owned() => match never? {},
        };
        info!("Consumer group successfully closed");
        let (unfinished, in_doubt) = (drained.unfinished, self.ledger_log.left_in_doubt());
        if unfinished > 0 || in_doubt > 0 {
            warn!(unfinished, in_doubt, "Jobs were left unfinished");
        }
        Ok(())
    }

    /// Completes when the output topics are there and the workers can be.
    async fn start(&self) -> Result<Vec<Worker>, ServiceError> {
        let Self { process, settings: ServiceSettings { topics, job, .. }, .. } = self;
        topics::outputs(process, topics).await?;
        topics::input(process, &topics.topics.jobs).await?;
        if job.ledger.is_some() {
            ledger::ready(process, topics).await?;
            let asking = process.topics()?;
            owner::own(process.kafka(), topics, &asking, owner::Memory::None).await?;
        }
        let is_recorded = job.ledger.is_some() && job.delivery == Delivery::ExactlyOnce;
        let kafka = process.kafka().clone();
        let kafka = if is_recorded { kafka.commit_soon() } else { kafka };
        let ends = Ends {
            group: topics.group.clone(),
            topics: vec![topics.topics.jobs.clone()],
            delivery: job.delivery,
            state: is_recorded.then(|| topics.ledger.name.clone()),
        };
        let (noun, count) = (&self.noun, job.workers);
        info!("Starting {noun} consumers with {count} workers...");
        let mut workers = Vec::new();
        for number in 1..=count {
            workers.push(process.worker(&kafka, &ends, number).await?);
            info!("Worker {number} started for consuming job events...");
        }
        Ok(workers)
    }

    async fn keep_owned(&self) -> Result<std::convert::Infallible, ServiceError> {
        match self.settings.job.ledger {
            Some(_) => {
                let (kafka, asking) = (self.process.kafka(), self.process.topics()?);
                let recreated = &self.ledger_recreated;
                owner::keep(kafka, &self.settings.topics, &asking, recreated).await
            }
            None => pending().await,
        }
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

/// Notifies `may_lack` whenever a part of the ledger may be missing: that of a new partition is
/// grown while it is looked for. Notifies `recreated` when a part is written to a new topic.
fn asks_for_parts(
    may_lack: &Arc<Notify>,
    recreated: &Arc<Notify>,
) -> impl Fn(&Event<'_>) + Send + Sync + 'static {
    let (may_lack, recreated) = (may_lack.clone(), recreated.clone());
    move |event: &Event<'_>| match event {
        // A batch fails also while the topic is not there any more.
        Event::Assigned(_) | Event::PartMissing { .. } | Event::PublishFailed(_) => {
            may_lack.notify_one();
        }
        Event::Carried { .. } => recreated.notify_one(),
        _ => {}
    }
}

/// Completes when the service is to stop.
async fn stop(mut stopped: watch::Receiver<bool>) {
    // Where nobody is left to say so, it is to stop, too.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}
