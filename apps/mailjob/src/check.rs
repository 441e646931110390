//! Says whether the service could run: settings, Kafka, topics, mail server.
//!
//! The check asks every broker. The one that is asked first answers with the addresses by which the
//! cluster knows itself, and a client then works with those addresses alone, which may be
//! unreachable from here. An error of a call names no broker, so the report quotes librdkafka's
//! log, which does.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use jobstream::kafka::{KafkaConfig, TopicError, Topics};
use jobstream::position::Position;
use jobstream::sinks::smtp::{
    MailConfig, Phase, ServerFault, ServerFaultKind, ServerReport, TimeLimits, TlsMode,
};
use jobstream_service::environment;
use mailjob::settings::{Settings, TopicSettings};

use crate::log::MailLog;
use crate::service::{Accepted, Fitness, ServiceError, accept, mail_sink, named, unreached};

/// Checks everything, and prints a line for each thing checked.
///
/// # Errors
/// If a setting is wrong, or a check has failed.
pub(crate) async fn run() -> Result<(), ServiceError> {
    let settings = Settings::read(&environment::variables(), &environment::read_file)?;
    let Accepted { config, warnings } = accept(&settings.kafka)?;
    for warning in settings.warnings.iter().chain(&warnings) {
        say("warning", warning);
    }
    say("ok", "settings");
    let mut failed = 0;
    let (kafka, mail) = tokio::join!(kafka(&config, &settings), mail(&settings.mail));
    for checked in kafka.into_iter().chain([mail]) {
        failed += tell(checked);
    }
    if failed > 0 { Err(ServiceError::Checks(failed)) } else { Ok(()) }
}

type Checked = Result<String, String>;

/// Prints what was found; 1 if that is a failure.
fn tell(checked: Checked) -> usize {
    match checked {
        Ok(found) => {
            say("ok", &found);
            0
        }
        Err(found) => {
            say("failed", &found);
            1
        }
    }
}

fn say(word: &str, text: &str) {
    // Where standard output can't be written, the exit code says it.
    drop(writeln!(anstream::stdout(), "{word:<8}{text}"));
}

async fn kafka(config: &KafkaConfig, settings: &Settings) -> Vec<Checked> {
    let topics = match Topics::new(config) {
        Ok(topics) => topics,
        Err(error) => return vec![Err(format!("Kafka: {error}"))],
    };
    let Settings { topics: settings, job, .. } = settings;
    let jobs = &settings.topics.jobs;
    let input = match topics.partitions(jobs).await {
        Ok(found) => found,
        // The others could not be asked either.
        Err(error) => return vec![Err(format!("Kafka: {}", named(&error)))],
    };
    let brokers = match topics.reach(jobs).await {
        Ok(1) => "Kafka: 1 broker".to_owned(),
        Ok(brokers) => format!("Kafka: {brokers} brokers"),
        // To ask for each of the others would take 10 s more.
        Err(error) => {
            let unreached = format!("Kafka: {}", unreached(&error));
            return vec![Err(unreached), topic(jobs, input, false)];
        }
    };
    let mut all = vec![Ok(brokers), topic(jobs, input, false)];
    for output in &settings.outputs {
        all.push(match topics.partitions(&output.name).await {
            Ok(found) => topic(&output.name, found, settings.create),
            Err(error) => Err(named(&error)),
        });
    }
    if job.ledger.is_some() {
        let checked = ledger(&topics, settings, input).await;
        all.push(checked.unwrap_or_else(|error| Err(named(&error))));
    }
    if let Some(bytes) = topics.metadata_max_bytes(jobs).await {
        let window = Position::window_offsets(bytes);
        if window < Position::WINDOW_OFFSETS {
            say(
                "warning",
                &format!(
                    "Kafka: a commit takes {bytes} bytes of metadata (offset.metadata.max.bytes, \
                     4096 by default): jobs are taken in only {window} offsets above one that is \
                     not done"
                ),
            );
        }
    }
    all
}

/// The ledger's topic, where the input topic has so many partitions.
async fn ledger(
    topics: &Topics,
    settings: &TopicSettings,
    inputs: Option<usize>,
) -> Result<Checked, TopicError> {
    let name = &settings.ledger.name;
    let found = topics.partitions(name).await?;
    if let (Some(partitions), Some(inputs)) = (found, inputs)
        && let Fitness::Unfit(found) = Fitness::of(topics, settings, partitions, inputs).await?
    {
        return Ok(Err(found));
    }
    Ok(topic(name, found, settings.create))
}

fn topic(name: &str, partitions: Option<usize>, create: bool) -> Checked {
    match (partitions, create) {
        (Some(1), _) => Ok(format!("topic '{name}': 1 partition")),
        (Some(partitions), _) => Ok(format!("topic '{name}': {partitions} partitions")),
        (None, true) => Ok(format!("topic '{name}': missing, created by 'run'")),
        (None, false) => Err(format!("topic '{name}': missing")),
    }
}

/// How long the mail server may be silent. `run` waits for minutes, as RFC 5321 asks for; a person
/// who runs the check wants an answer.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);
/// How long the mail server may take in all.
const MAIL_LIMIT: Duration = Duration::from_secs(12);
/// How long a server that is silent may take to answer a handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(2);

async fn mail(config: &MailConfig) -> Checked {
    let mut config = config.clone();
    config.limits = impatient(config.limits);
    let config = &config;
    let name = format!("mail server {}:{}", config.host, config.port);
    match asked(config).await? {
        Ok(ServerReport { encrypted, logged_in, .. }) => {
            let encrypted = if encrypted { "encrypted" } else { "not encrypted" };
            let logged_in = if logged_in { "logged in" } else { "no login" };
            Ok(format!("{name}: {encrypted}, {logged_in}"))
        }
        Err(fault) if fault.phase() == Phase::Greeting && speaks_tls(config).await => Err(format!(
            "{name}: {}: it speaks TLS from the first byte, expected MAIL_TLS=implicit",
            fault.phase()
        )),
        Err(fault) => Err(format!("{name}: {fault}")),
    }
}

/// What the mail server says, or why it can't be asked.
async fn asked(config: &MailConfig) -> Result<Result<ServerReport, ServerFault>, String> {
    let sink =
        mail_sink(config, Arc::new(MailLog::default())).map_err(|error| error.to_string())?;
    Ok(sink.check().await)
}

/// Whether a server that greets nobody answers a handshake. No login is sent.
async fn speaks_tls(config: &MailConfig) -> bool {
    if config.tls == TlsMode::Implicit {
        return false;
    }
    let limits = TimeLimits { whole: HANDSHAKE_LIMIT, ..config.limits };
    let config = config.clone().tls(TlsMode::Implicit).login(None).limits(limits);
    match asked(&config).await {
        Ok(Ok(_)) => true,
        // It has a certificate, or the handshake is over.
        Ok(Err(fault)) => {
            fault.kind() == ServerFaultKind::Certificate || fault.phase() > Phase::Tls
        }
        Err(_) => false,
    }
}

fn impatient(limits: TimeLimits) -> TimeLimits {
    TimeLimits {
        connect: limits.connect.min(SILENCE_LIMIT),
        tls: limits.tls.min(SILENCE_LIMIT),
        greeting: limits.greeting.min(SILENCE_LIMIT),
        ehlo: limits.ehlo.min(SILENCE_LIMIT),
        auth: limits.auth.min(SILENCE_LIMIT),
        command: limits.command.min(SILENCE_LIMIT),
        whole: limits.whole.min(MAIL_LIMIT),
        ..limits
    }
}
