//! Says whether the service could run: settings, Kafka, topics, and what its executor checks.
//!
//! The check asks every broker. The one that is asked first answers with the addresses by which the
//! cluster knows itself, and a client then works with those addresses alone, which may be
//! unreachable from here. An error of a call names no broker, so the report quotes librdkafka's
//! log, which does.

use futures::future::join_all;
use jobstream::kafka::{
    KafkaConfig, Subject, TopicError, Topics, Untaken, try_member, try_transactions,
};
use jobstream::position::Position;

use crate::Context;
use crate::Delivery;
use crate::ensure::{named, unreached};
use crate::jobs::UNKEYED_JOBS;
use crate::operations::{OperationError, shown};
use crate::report::{Checked, Report, topic};
use crate::run::{Fitness, ServiceError, compacted, refusal};
use crate::settings::{Accepted, ServiceSettings, TopicSettings, accept};

/// Checks everything, and prints a line for each thing checked. `executor` adds its checks to the
/// context.
///
/// # Errors
/// If a setting is wrong, a check has failed, or standard output can't be written.
pub(crate) async fn run(
    settings: &ServiceSettings,
    executor: impl FnOnce(&mut Context) -> Result<(), ServiceError>,
) -> Result<(), OperationError> {
    let accepted = accept(&settings.process.kafka).map_err(ServiceError::from)?;
    let Accepted { config, warnings } = accepted;
    let report = Report::default();
    let mut context = Context::default();
    executor(&mut context)?;
    for warning in settings.process.warnings.iter().chain(&warnings) {
        report.say("warning", warning);
    }
    report.say("ok", "settings");
    let mut failed = 0;
    let kafka = kafka(&config, settings, &report);
    let (kafka, own) = tokio::join!(kafka, join_all(context.into_checks()));
    for checked in kafka.into_iter().chain(own) {
        failed += report.tell(checked);
    }
    if failed > 0 {
        return Err(ServiceError::Checks(failed).into());
    }
    shown(report.end().map_err(OperationError::Output))
}

async fn kafka(config: &KafkaConfig, settings: &ServiceSettings, report: &Report) -> Vec<Checked> {
    let topics = match Topics::new(config) {
        Ok(topics) => topics,
        Err(error) => return vec![Err(format!("Kafka: {error}"))],
    };
    let has_instance = settings.process.instance_id.is_some();
    let ServiceSettings { topics: settings, job, .. } = settings;
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
        if let Some(compacted) = compacted(&topics, &output.name, settings).await {
            // Results that have keys may be meant to replace each other.
            match output.name == settings.topics.dead_letters {
                true => all.push(Err(compacted)),
                false => report.say("warning", &compacted),
            }
        }
    }
    if input.is_some() {
        let joined = try_member(config, &settings.group, jobs).await;
        let joined = joined.map_err(|error| member_refused(&error, settings));
        all.push(joined.map(|()| format!("group '{}'", settings.group)));
    }
    if job.delivery == Delivery::ExactlyOnce {
        // Nobody has this id.
        let id = format!("{}-check", settings.group);
        match try_transactions(config, &id).await {
            // The right may be one to the ids of this instance alone.
            Err(error) if has_instance && error.about == Subject::TransactionalId => {
                report.say("warning", &transactions_refused(&error, settings));
            }
            tried => all.push(
                tried
                    .map(|()| "transactions".to_owned())
                    .map_err(|error| transactions_refused(&error, settings)),
            ),
        }
    }
    if job.ledger.is_some() {
        report.say("note", UNKEYED_JOBS);
        let checked = ledger(&topics, settings, input).await;
        all.push(checked.unwrap_or_else(|error| Err(named(&error))));
        // Where nobody can be asked, `run` says so, and goes on.
        let refusal = refusal(config, settings, &topics).await;
        all.extend(refusal.unwrap_or_default().map(Err));
    }
    warn_of_small_metadata(&topics, jobs, report).await;
    all
}

async fn warn_of_small_metadata(topics: &Topics, jobs: &str, report: &Report) {
    let Some(bytes) = topics.metadata_max_bytes(jobs).await else { return };
    let window = Position::window_offsets(bytes);
    if window < Position::WINDOW_OFFSETS {
        report.say(
            "warning",
            &format!(
                "Kafka: a commit takes {bytes} bytes of metadata (offset.metadata.max.bytes, 4096 \
                 by default): jobs are taken in only {window} offsets above one that is not done"
            ),
        );
    }
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

fn member_refused(error: &Untaken, settings: &TopicSettings) -> String {
    let expected = match error.about {
        Subject::Group => {
            "; expected the right READ on it (TOPIC_JOB_RUN_CONSUMER_GROUP_ID)".into()
        }
        Subject::Topic => format!(
            "; expected the right READ on the topic '{}' (TOPIC_JOB_RUN)",
            settings.topics.jobs
        ),
        Subject::SessionTimeout => "; expected KAFKA_SESSION_TIMEOUT_MS (10000 by default) within \
                                    the brokers' group.min.session.timeout.ms and \
                                    group.max.session.timeout.ms"
            .to_owned(),
        _ => String::new(),
    };
    format!("group '{}': {error}{expected}", settings.group)
}

fn transactions_refused(error: &Untaken, settings: &TopicSettings) -> String {
    let expected = match error.about {
        Subject::TransactionalId => format!(
            "; expected the right WRITE on transactional ids that begin with '{}-' \
             (TOPIC_JOB_RUN_CONSUMER_GROUP_ID), or JOB_DELIVERY=at-least-once",
            settings.group
        ),
        Subject::TransactionTimeout => {
            "; expected KAFKA_TRANSACTION_TIMEOUT_MS (10000 by default) \
                                        of at most the brokers' transaction.max.timeout.ms"
                .to_owned()
        }
        _ => "; see JOB_DELIVERY".to_owned(),
    };
    format!("transactions: {error}{expected}")
}
