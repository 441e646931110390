//! Produces jobs.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use jobstream::codec::CodecError;
use jobstream::kafka::{Event, KafkaConfig, Observer, Topics};
use jobstream::record::{ProducerRecord, Topic};
use jobstream::sinks::kafka::KafkaSink;
use jobstream::sinks::{Batch, Sink as _, SinkError};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::select;
use tokio::time::sleep;

use crate::cli::SubmitArgs;
use crate::defaults::Defaults;
use crate::ensure::{named, unreached};
use crate::run::ServiceError;
use crate::settings::{Accepted, ProducerSettings, SettingsError, accept, foreign_encoding};
use crate::{EXIT_FAILURE, EXIT_USAGE, Failure, environment};

/// Records that are produced at once.
const BATCH_RECORDS: usize = 1_000;
/// The longest that nothing is said while brokers take no records.
const SILENCE_LIMIT: Duration = Duration::from_secs(5);

/// Why jobs were not produced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SubmitError {
    #[error("{0}: {1}")]
    Read(String, io::Error),
    #[error("{0}: found {1}, expected JSON in UTF-8 without it; nothing was produced")]
    Encoding(String, &'static str),
    #[error("{file}: value {number}: {reason}; nothing was produced")]
    Job { file: String, number: usize, reason: String },
    #[error(transparent)]
    Service(#[from] ServiceError),
    #[error("{produced} of {all} jobs were produced: {error}")]
    Sink { produced: usize, all: usize, error: SinkError },
}

impl From<SettingsError> for SubmitError {
    fn from(error: SettingsError) -> Self {
        Self::Service(error.into())
    }
}

impl SubmitError {
    /// The exit code that says it.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Read(..) | Self::Encoding(..) | Self::Job { .. } => EXIT_USAGE,
            Self::Service(error) => error.exit_code(),
            Self::Sink { .. } => EXIT_FAILURE,
        }
    }
}

impl From<SubmitError> for Failure {
    fn from(error: SubmitError) -> Self {
        Self::of(error.exit_code(), &error)
    }
}

/// Produces every job of a file, or none if one of them is none; says how many.
///
/// # Errors
/// If the file or a setting is wrong, or Kafka takes no records.
pub(crate) async fn run(defaults: &Defaults, args: &SubmitArgs) -> Result<String, SubmitError> {
    let variables = environment::variables();
    let settings = ProducerSettings::read(defaults, &variables, &environment::read_file)?;
    let file = args.jobs.display().to_string();
    let text = read(&args.jobs).map_err(|error| SubmitError::Read(file.clone(), error))?;
    if let Some(found) = foreign_encoding(&text) {
        return Err(SubmitError::Encoding(file, found));
    }
    let topic = &settings.topics.topics.jobs;
    let records = records(topic, &text.into()).map_err(|(number, reason)| SubmitError::Job {
        file,
        number,
        reason,
    })?;
    let Accepted { config, .. } = accept(&settings.kafka).map_err(ServiceError::from)?;
    find(&config, topic).await?;
    let all = records.len();
    let waits = Arc::new(Waits::default());
    let sink = KafkaSink::new(&config.with_observer(waits.clone()));
    let sink = sink.map_err(|error| ServiceError::Kafka(error.to_string()))?;
    let mut produced = 0;
    for outputs in records.chunks(BATCH_RECORDS) {
        let batch = Batch { outputs: outputs.to_vec(), positions: Vec::new() };
        let published =
            waits.awaited(sink.publish(&batch), |reason| say(defaults.name, reason)).await;
        published.map_err(|error| SubmitError::Sink { produced, all, error })?;
        produced += outputs.len();
    }
    let closed = sink.close().await;
    closed.map_err(|error| SubmitError::Sink { produced, all, error })?;
    Ok(format!("{all} jobs produced to '{topic}'"))
}

/// Keeps why records are not taken, as the producer has last reported.
#[derive(Debug, Default)]
struct Waits(Mutex<Option<String>>);

impl Observer for Waits {
    fn on(&self, event: &Event<'_>) {
        if let Event::Error { reason, .. } | Event::PublishRetried { reason, .. } = event {
            let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            *last = Some((*reason).to_owned());
        }
    }
}

impl Waits {
    /// Awaits what is published. While that takes long, says what it waits for, each time that this
    /// has changed.
    async fn awaited<T>(&self, published: impl Future<Output = T>, mut say: impl FnMut(&str)) -> T {
        let mut published = pin!(published);
        let mut said = None;
        loop {
            select! {
                biased;
                published = &mut published => return published,
                () = sleep(SILENCE_LIMIT) => {}
            }
            let last = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let reason = last.unwrap_or_else(|| "no answer yet".to_owned());
            if said.as_ref() != Some(&reason) {
                say(&reason);
                said = Some(reason);
            }
        }
    }
}

fn say(name: &str, reason: &str) {
    // Where standard error can't be written, there is nobody to read it.
    drop(writeln!(anstream::stderr(), "{name}: waiting for Kafka: {reason}"));
}

/// The topic is there, and every broker answers: a producer would wait for both, and not say so.
async fn find(config: &KafkaConfig, topic: &Topic) -> Result<(), ServiceError> {
    let topics = Topics::new(config).map_err(|error| ServiceError::Kafka(error.to_string()))?;
    match topics.partitions(topic).await {
        Ok(Some(_)) => match topics.reach(topic).await {
            Ok(_) => Ok(()),
            Err(error) => Err(ServiceError::Kafka(unreached(&error))),
        },
        Ok(None) => Err(ServiceError::Kafka(format!("the topic '{topic}' does not exist"))),
        Err(error) => Err(ServiceError::Kafka(named(&error))),
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    if path != Path::new("-") {
        return fs::read(path);
    }
    let mut text = Vec::new();
    io::stdin().lock().read_to_end(&mut text)?;
    Ok(text)
}

#[derive(Deserialize)]
struct Identified {
    #[serde(rename = "Id")]
    id: String,
}

/// A record for each value, as the bytes it has; or the number, from 1, of one that is no job.
fn records(topic: &Topic, text: &Bytes) -> Result<Vec<ProducerRecord>, (usize, String)> {
    let values = serde_json::Deserializer::from_slice(text).into_iter::<&RawValue>();
    let numbered = values.enumerate().map(|(index, value)| (index + 1, value));
    let record = |(number, value): (usize, serde_json::Result<&RawValue>)| {
        let wrong = |error: serde_json::Error| (number, CodecError::from(error).to_string());
        let value = value.map_err(wrong)?.get();
        if let Some(found) = no_object(value) {
            let expected = "an object: jobs stand one after another, with nothing around them";
            return Err((number, format!("found {found}, expected {expected}")));
        }
        let key = serde_json::from_str(value).map(|Identified { id }| id).map_err(wrong)?;
        let value = text.slice_ref(value.as_bytes());
        Ok(ProducerRecord::to(topic.clone()).key(key).value(value))
    };
    numbered.map(record).collect()
}

/// What a value is that is no object.
fn no_object(value: &str) -> Option<&'static str> {
    match value.as_bytes().first() {
        Some(b'{') => None,
        Some(b'[') => Some("an array"),
        Some(b'"') => Some("a string"),
        Some(b't' | b'f') => Some("a boolean"),
        Some(b'n') => Some("null"),
        _ => Some("a number"),
    }
}

#[cfg(test)]
mod tests {
    use jobstream::kafka::ErrorKind;

    use super::*;

    fn of(text: &'static str) -> Result<Vec<ProducerRecord>, (usize, String)> {
        records(&"jobs".into(), &Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn values_follow_each_other_on_one_line_or_many_and_keep_their_bytes() {
        let found = of(" {\"Id\":\"a\"}{ \"Id\" : \"b\\u0063\",\n \"x\": 1.0 }\n\n").unwrap();
        let keys: Vec<_> = found.iter().map(|record| record.key.clone().unwrap()).collect();
        assert_eq!(keys, ["a", "bc"]);
        assert_eq!(
            found[1].value.as_deref(),
            Some(&b"{ \"Id\" : \"b\\u0063\",\n \"x\": 1.0 }"[..])
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_long_says_once_what_it_waits_for() {
        let (waits, mut said) = (Waits::default(), Vec::new());
        let soon = waits.awaited(sleep(SILENCE_LIMIT / 2), |reason| said.push(reason.to_owned()));
        soon.await;
        assert_eq!(said, [""; 0]);
        let late = async {
            sleep(SILENCE_LIMIT * 3 / 2).await;
            let (kind, reason) = (ErrorKind::Unreachable, "b:1/1: Connection refused");
            waits.on(&Event::Error { kind, reason });
            sleep(SILENCE_LIMIT * 4).await;
        };
        waits.awaited(late, |reason| said.push(reason.to_owned())).await;
        assert_eq!(said, ["no answer yet", "b:1/1: Connection refused"]);
    }

    #[test]
    fn a_value_that_is_no_object_is_named() {
        for (text, found) in [
            ("[{\"Id\":\"a\"}]", "an array"),
            ("\"{}\"", "a string"),
            ("null", "null"),
            ("true", "a boolean"),
            ("-1", "a number"),
        ] {
            let (number, reason) = of(text).unwrap_err();
            assert_eq!(number, 1, "{text}");
            assert!(reason.starts_with(&format!("found {found}, expected an object")), "{reason}");
        }
    }

    #[test]
    fn a_value_that_is_no_job_is_numbered() {
        for text in ["{\"Id\":\"a\"} {}", "{\"Id\":\"a\"} [", "{\"Id\":\"a\"} {\"Id\":1}"] {
            assert_eq!(of(text).unwrap_err().0, 2, "{text}");
        }
    }
}
