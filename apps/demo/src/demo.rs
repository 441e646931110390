//! From the first job to the last, and the table of what became of them.

use std::fmt;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{HumanCount, ProgressBar, ProgressState, ProgressStyle};
use jobstream::record::ProducerRecord;
use jobstream::sinks::smtp::{ConfigError, MailConfig, MailSink, TlsMode};
use jobstream::topology::{Ambiguous, Retry, RunError, Topology};
use jobstream_service::{EXIT_ABORTED, EXIT_FAILURE, EXIT_USAGE, SignalError};
use jobstream_testkit::broker::{Broker, Isolation, ProduceError, Retention, TopicOptions};
use jobstream_testkit::smtp::{Keep, SmtpServer, StartError};
use mailjob::topology::{Topics, topology};
use tokio::time::Instant;

use crate::cli::Cli;
use crate::fates::{Counts, Fates};
use crate::input::Input;
use crate::output::{self, JsonLines};
use crate::playground::PlaygroundError;
use crate::{inbox, live, summary};

const PARTITIONS: i32 = 6;
const GROUP: &str = "topic-job-run-consumer-emailexecutor";
const MAIL_FROM: &str = "mailjob@example.com";
/// Whose addresses may stand in `From`.
const ALLOWED_FROM_DOMAIN: &str = "example.com";
/// Places records without a key, the same in every run.
const SEED: u64 = 7;
const CONNECTIONS: NonZeroUsize = NonZeroUsize::new(8).expect("8 is not 0");
/// Jobs that are produced and not finished, at most: a long run needs no more memory.
const BACKLOG: u64 = 20_000;
/// What the topics of results and dead letters take, as those that the service creates. Jobs of any
/// size come in: a line that is too large for a dead letter meets that fate.
const MAX_MESSAGE_BYTES: usize = 2 << 20;

/// What ends a demo before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemoError {
    #[error("{0}")]
    Usage(String),
    /// A file can't be read, or not be made; the error names it.
    #[error(transparent)]
    Open(io::Error),
    /// A file could be made, but not be written to its end; the error names it.
    #[error(transparent)]
    Write(io::Error),
    #[error("the inbox does not start: {0}")]
    Inbox(#[from] StartError),
    #[error("the mail sink does not start: {0}")]
    MailSink(#[from] ConfigError),
    #[error("a job was not produced: {0}")]
    Produce(#[from] ProduceError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("interrupted: {finished} of {all} records have met their fate")]
    Interrupted { finished: u64, all: u64 },
    #[error("interrupted twice: ended at once, no file was written")]
    Aborted,
    #[error("cannot write to standard output: {0}")]
    Output(io::Error),
    #[error("the page can't be shown on {0}: {1}")]
    Page(SocketAddr, io::Error),
    #[cfg(feature = "kafka")]
    #[error("the broker can't listen on {0}: {1}")]
    Kafka(SocketAddr, io::Error),
    #[error(transparent)]
    Playground(#[from] PlaygroundError),
    #[error("it does not add up: {0}")]
    Broken(String),
    #[error(transparent)]
    Signal(#[from] SignalError),
}

impl DemoError {
    /// The exit code that says it: whether it is the user's to mend.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Open(_) => EXIT_USAGE,
            Self::Aborted => EXIT_ABORTED,
            Self::Signal(error) => error.exit_code(),
            _ => EXIT_FAILURE,
        }
    }
}

/// Runs the demo from its first job to its last, and shows what became of them.
pub(crate) async fn run(args: &Cli) -> Result<(), DemoError> {
    check_files(args)?;
    let input = Input::read(args.jobs.as_deref(), args.generate).map_err(DemoError::Open)?;
    let results = create(args.results.as_deref())?;
    let dead_letters = create(args.dead_letters.as_deref())?;
    args.mails.as_deref().map_or(Ok(()), output::empty_folder).map_err(DemoError::Open)?;
    if let Some(address) = args.page {
        return live::run(&input, args, address).await;
    }

    let stage = Stage::new(&input, results.is_some(), args.mails.is_some()).await?;
    let started = Instant::now();
    let outcome = stage.play(&input).await;
    let took = started.elapsed();
    if matches!(outcome, Err(DemoError::Aborted)) {
        return outcome;
    }

    for (topic, file) in
        [(&stage.topics.results, results), (&stage.topics.dead_letters, dead_letters)]
    {
        if let Some(file) = file {
            let records = stage.broker.records(topic, Isolation::ReadCommitted);
            file.write(&records).map_err(DemoError::Write)?;
        }
    }
    if let Some(folder) = &args.mails {
        output::write_mails(folder, &stage.server.inbox().mails()).map_err(DemoError::Write)?;
    }
    shown(stage.show(&input, took))?;
    stage.server.shutdown().await;
    outcome
}

/// What was written to standard output: a reader that goes away, as `head` does, has seen enough.
pub(crate) fn shown(written: io::Result<()>) -> Result<(), DemoError> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(DemoError::Output),
    }
}

fn create(path: Option<&Path>) -> Result<Option<JsonLines<'_>>, DemoError> {
    path.map(JsonLines::create).transpose().map_err(DemoError::Open)
}

/// No file is written over another one.
fn check_files(args: &Cli) -> Result<(), DemoError> {
    let files = [
        ("--jobs", args.jobs.as_deref().filter(|jobs| *jobs != Path::new("-"))),
        ("--results", args.results.as_deref()),
        ("--dead-letters", args.dead_letters.as_deref()),
    ];
    for (index, (option, path)) in files.iter().enumerate() {
        for (other, other_path) in &files[..index] {
            if let (Some(path), Some(other_path)) = (path, other_path)
                && output::is_same_file(path, other_path)
            {
                let path = path.display();
                let text = format!("{other} and {option} both name '{path}', expected two files");
                return Err(DemoError::Usage(text));
            }
        }
    }
    Ok(())
}

/// Everything that a demo runs on.
struct Stage {
    topics: Topics,
    broker: Broker,
    server: SmtpServer,
    topology: Topology,
    fates: Arc<Fates>,
}

impl Stage {
    async fn new(input: &Input, keep_results: bool, keep_mails: bool) -> Result<Self, DemoError> {
        let topics = Topics::default();
        let is_load = matches!(input, Input::Generated(_));
        let broker = Broker::builder().seed(SEED).build();
        let options = TopicOptions::partitions(PARTITIONS).max_message_bytes(MAX_MESSAGE_BYTES);
        let any_size = options.clone().max_message_bytes(usize::MAX);
        broker.create_topic(&*topics.jobs, any_size.retention(Retention::Unconsumed));
        let kept = if keep_results { Retention::Everything } else { Retention::Latest(0) };
        broker.create_topic(&*topics.results, options.clone().retention(kept));
        broker.create_topic(&*topics.dead_letters, options);

        let keep = if is_load && !keep_mails { Keep::Counts } else { Keep::Mails };
        let server = inbox::start(matches!(input, Input::Fixtures(_)), keep, None).await?;
        let address = server.address();
        let sink = MailSink::new(
            &MailConfig::new(address.ip().to_string(), MAIL_FROM)
                .port(address.port())
                .tls(TlsMode::None)
                .allowed_from_domains(vec![ALLOWED_FROM_DOMAIN.into()])
                .connections_max(CONNECTIONS),
        )?;
        let retry = Retry::new()
            .attempts(Some(4))
            .deadline(Duration::from_secs(60))
            .first_delay(Duration::from_millis(100))
            .max_delay(Duration::from_secs(1))
            .ambiguous(Ambiguous::Resend);
        let fates = Arc::new(Fates::new());
        let topology = topology(&topics, Arc::new(sink), retry)
            .with_seed(SEED)
            .with_group(GROUP)
            .with_observer(fates.clone());
        Ok(Self { topics, broker, server, topology, fates })
    }

    /// Runs the topology until every job has met its fate, or Ctrl-C.
    async fn play(&self, input: &Input) -> Result<(), DemoError> {
        let all = input.len();
        let progress = progress_bar(input);
        let source = self.broker.consumer(GROUP, [self.topics.jobs.clone()]).build();
        let sink = self.broker.producer();
        let mut fed = Ok(());
        let mut interrupted = false;
        let shutdown = async {
            tokio::select! {
                biased;
                _ = tokio::signal::ctrl_c() => {
                    interrupted = true;
                    progress.suspend(say_that_it_ends);
                }
                result = self.feed(input, &progress) => fed = result,
            }
        };
        tokio::select! {
            biased;
            run = self.topology.run(&source, &sink, shutdown) => run?,
            () = interrupted_twice() => return Err(DemoError::Aborted),
        };
        progress.finish_and_clear();
        fed?;
        let finished = self.fates.counts().total();
        if interrupted || finished < all {
            return Err(DemoError::Interrupted { finished, all });
        }
        Ok(())
    }

    /// Produces the jobs, no faster than they are finished, and waits for the last one's fate.
    async fn feed(&self, input: &Input, progress: &ProgressBar) -> Result<(), DemoError> {
        let mut finished = self.fates.finished();
        let mut produced = 0;
        loop {
            let done = *finished.borrow_and_update();
            progress.set_position(done);
            if done >= input.len() {
                return Ok(());
            }
            while produced < input.len() && produced < done + BACKLOG {
                let job = ProducerRecord::to(self.topics.jobs.clone()).value(input.job(produced));
                self.broker.produce(job)?;
                produced += 1;
            }
            if finished.changed().await.is_err() {
                unreachable!("the fates outlive the demo");
            }
        }
    }

    fn show(&self, input: &Input, took: Duration) -> io::Result<()> {
        let counts = self.fates.counts();
        let mut out = anstream::stdout().lock();
        writeln!(out, "{}", counts.table())?;
        writeln!(out, "{}", self.on_the_way(&counts))?;
        if matches!(input, Input::Generated(_)) {
            let (jobs, seconds) = (counts.total(), took.as_secs_f64());
            writeln!(out, "{}", summary::throughput(jobs, seconds, CONNECTIONS.get()))?;
        }
        Ok(())
    }

    fn on_the_way(&self, counts: &Counts) -> String {
        let inbox = self.server.inbox();
        let mails = inbox.count();
        let copies = mails.saturating_sub(inbox.counts().len() as u64);
        summary::on_the_way(mails, copies, counts.retries)
    }
}

fn say_that_it_ends() {
    let text = "Interrupted: what is in flight is finished first; Ctrl-C again ends at once.";
    // Where standard error can't be written, nobody waits for the text either.
    drop(writeln!(anstream::stderr(), "{text}"));
}

async fn interrupted_twice() {
    for _ in 0..2 {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Shown on a terminal only, and only where there is something to wait for.
fn progress_bar(input: &Input) -> ProgressBar {
    let Input::Generated(count) = input else { return ProgressBar::hidden() };
    let style = ProgressStyle::with_template(
        "{bar:40.cyan/blue} {human_pos} of {human_len} jobs, {rate}, {eta} left",
    );
    let bar = ProgressBar::new(*count);
    match style {
        Ok(style) => bar.with_style(style.with_key("rate", rate)),
        Err(_) => bar,
    }
}

fn rate(state: &ProgressState, text: &mut dyn fmt::Write) {
    // A bar that can't be drawn is not worth ending a run for.
    let _ = write!(text, "{}/s", HumanCount(state.per_sec() as u64));
}
