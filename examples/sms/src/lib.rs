//! Takes SMS jobs (`JobType` 1) and gives each to a gateway: a file in the folder that the gateway
//! watches, as smstools3 does.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use jobstream::job::{Job, JobCodec, JobType};
use jobstream::record::{ConsumerRecord, Headers};
use jobstream::sinks::{JobError, JobSink};
use jobstream::topology::Topology;
use jobstream_service::{
    Context, Executor, Failure, Settings, SettingsError, Stages, Variables, jobs,
};
use serde::Deserialize;

/// The `JobData` of an SMS.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Message {
    phone_number: String,
    text: String,
}

/// What came of a job: the file that the gateway was given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spooled {
    pub file: String,
}

/// The job sink: writes messages into the gateway's folder.
#[derive(Debug)]
pub struct Spool {
    pub folder: PathBuf,
}

#[async_trait]
impl JobSink<Job, Spooled> for Spool {
    async fn execute(&self, job: &Job, _: &ConsumerRecord) -> Result<Spooled, JobError> {
        let message = job.data_as().map_err(|error| JobError::permanent(error.to_string()))?;
        let Message { phone_number, text } = message;
        let digits = phone_number.strip_prefix('+').unwrap_or_default();
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(JobError::permanent("PhoneNumber: expected + and digits"));
        }
        // The same name at every attempt: a second one replaces the first, and adds nothing.
        let file = format!("{:032x}.sms", u128::from_be_bytes(job.name_hash()));
        let part = self.folder.join(format!(".{file}"));
        std::fs::write(&part, format!("To: {digits}\n\n{text}")).map_err(away)?;
        std::fs::rename(&part, self.folder.join(&file)).map_err(away)?;
        Ok(Spooled { file })
    }
}

/// The folder is to blame, and not the job: it is tried again for as long as it takes.
fn away(error: io::Error) -> JobError {
    JobError::unavailable(format!("the spool folder: {error}"))
}

/// The settings of the service, beside those of every service.
#[derive(Debug)]
pub struct SmsSettings {
    pub spool: PathBuf,
}

impl Settings for SmsSettings {
    const PREFIXES: &'static [&'static str] = &["SMS_"];
    const TABLES: &'static str = include_str!("settings.md");

    fn read(variables: &Variables<'_>) -> Result<Self, SettingsError> {
        let spool = variables.required("SMS_SPOOL", "the folder that the gateway watches")?;
        Ok(Self { spool: spool.into() })
    }
}

/// The job sink of these settings, and what `check` says of it.
pub fn executor(
    settings: &SmsSettings,
    context: &mut Context,
) -> Result<Arc<dyn JobSink<Job, Spooled>>, Failure> {
    let folder = settings.spool.clone();
    context.check(async move {
        let name = folder.display();
        match folder.is_dir() {
            true => Ok(format!("spool folder {name}")),
            false => Err(format!("spool folder {name}: expected a folder")),
        }
    });
    Ok(Arc::new(Spool { folder: settings.spool.clone() }))
}

/// The stages, in data order.
pub fn stages(it: Stages, executor: Executor<Job, Spooled>) -> Topology {
    let results = jobs::results(&it.topics().results, &["job-sms-file"], add_file);
    it.decode(JobCodec)
        .filter(jobs::SKIPPED_STATUS, Job::is_runnable)
        .filter(jobs::SKIPPED_TYPE, |job: &Job| job.job_type() == JobType::Sms)
        .execute(executor)
        .ordered_by(Job::id)
        .encode(results)
}

fn add_file(spooled: Spooled, headers: &mut Headers) {
    headers.push("job-sms-file", Some(spooled.file.into()));
}
