//! A job, and a sink that executes it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jobstream::codec::Codec as _;
use jobstream::job::{Job, JobCodec};
use jobstream::record::{ConsumerRecord, TopicPartition};
use jobstream::sinks::{JobError, JobSink as _};
use serde_json::{Value, json};
use webhook::{Answer, Webhook, WebhookJob, WebhookSettings};

use crate::receiver::{InMemory, Receiver};

/// The time, as the sink is told.
pub(crate) fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

/// The settings that an environment gives, beside what Kafka needs.
pub(crate) fn read(environment: &[(&str, &str)]) -> Result<WebhookSettings, String> {
    let brokers = [("KAFKA_BROKERS", "localhost:9092")];
    let all = brokers.iter().chain(environment);
    let all: BTreeMap<_, _> = all.map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let read = |_: &Path| Err(io::ErrorKind::NotFound.into());
    let read = webhook::service::settings().read_settings(&all, &read);
    read.map(|(_, own)| own).map_err(|error| error.to_string())
}

/// The settings without any variable; the certificates of the system are read once.
pub(crate) fn settings() -> WebhookSettings {
    static SETTINGS: LazyLock<WebhookSettings> = LazyLock::new(|| read(&[]).unwrap());
    SETTINGS.clone()
}

pub(crate) fn sink_with(settings: WebhookSettings, network: &Arc<InMemory>) -> Webhook {
    Webhook::new(settings, network.clone(), Arc::new(now))
}

pub(crate) fn sink(network: &Arc<InMemory>) -> Webhook {
    sink_with(settings(), network)
}

pub(crate) fn job(data: &Value) -> WebhookJob {
    let job = json!({"Id": "a", "ScheduleTime": "t", "Status": 2, "JobType": 2, "JobData": data});
    WebhookJob::of(decoded(&job.to_string()))
}

pub(crate) fn decoded(value: &str) -> Job {
    JobCodec.decode(Some(&value.to_owned().into())).unwrap()
}

/// A job to this URL.
pub(crate) fn to(url: &str) -> WebhookJob {
    job(&json!({"Url": url, "Body": {"test": 1}}))
}

pub(crate) fn record() -> ConsumerRecord {
    ConsumerRecord::new(TopicPartition::new("topic-job-run", 0), 0, 1)
}

pub(crate) async fn execute(sink: &Webhook, job: &WebhookJob) -> Result<Answer, JobError> {
    sink.execute(job, &record()).await
}

/// What a receiver that always does this makes of a job.
pub(crate) async fn executed(
    receiver: &Arc<Receiver>,
    job: &WebhookJob,
) -> Result<Answer, JobError> {
    execute(&sink(&InMemory::to(receiver)), job).await
}

/// On a runtime whose clock stands still while something can go on.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(future)
}
