//! The settings of the webhook executor, beside those of every service.

use std::time::Duration;

use jobstream::sinks::BatchLimits;
use jobstream_service::outbound::Trust;
use jobstream_service::settings::{Settings, SettingsError, Variables};

use crate::signature::Secrets;

/// How webhooks are posted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WebhookSettings {
    /// What they are signed with.
    pub secrets: Secrets,
    /// How long an attempt may take, and so the longest `Timeout` of a job.
    pub timeout: Duration,
    /// How long the look-up of a name may take, and then connecting.
    pub connect_timeout: Duration,
    /// The attempts of one host at once, of a worker.
    pub host_connections: usize,
    /// The jobs that one request carries, and how long they wait for each other.
    pub batch: BatchLimits,
    /// The most that is read of an answer's body, in bytes.
    pub answer_bytes: usize,
    /// The redirects that are followed, at most.
    pub redirects: u32,
    /// Whether addresses may be posted to that are not public.
    pub allow_private: bool,
    /// Whose certificates count.
    pub trust: Trust,
}

impl Settings for WebhookSettings {
    const PREFIXES: &'static [&'static str] = &["WEBHOOK_"];
    const TABLES: &'static str = include_str!("tables.md");

    fn read(variables: &Variables<'_>) -> Result<Self, SettingsError> {
        let seconds =
            |name, default| variables.seconds(name, 0.001..=600.0, Duration::from_secs(default));
        let secrets = variables.secret("WEBHOOK_SECRET")?.unwrap_or_default();
        let secrets = Secrets::parse(&secrets).map_err(|found| {
            let expected = "secrets of 24 to 64 bytes, each as whsec_ and base64";
            SettingsError::wrong("WEBHOOK_SECRET", found, expected)
        })?;
        if secrets.is_empty() {
            variables.warn("WEBHOOK_SECRET is not set: webhooks are not signed");
        }
        Ok(Self {
            secrets,
            timeout: seconds("WEBHOOK_TIMEOUT", 30)?,
            connect_timeout: seconds("WEBHOOK_CONNECT_TIMEOUT", 10)?,
            host_connections: variables.number("WEBHOOK_HOST_CONNECTIONS", 1..=10_000, 8)?,
            batch: BatchLimits::new()
                .jobs(variables.number("WEBHOOK_BATCH_JOBS", 1..=100, 1)?)
                .wait(variables.seconds(
                    "WEBHOOK_BATCH_WAIT",
                    0.0..=1.0,
                    Duration::from_millis(10),
                )?),
            answer_bytes: variables.number("WEBHOOK_ANSWER_BYTES", 0..=16 << 20, 64 << 10)?,
            redirects: variables.number("WEBHOOK_REDIRECTS", 0..=10, 0)?,
            allow_private: variables.boolean("WEBHOOK_ALLOW_PRIVATE", false)?,
            trust: trust(variables)?,
        })
    }
}

fn trust(variables: &Variables<'_>) -> Result<Trust, SettingsError> {
    const NAME: &str = "WEBHOOK_TLS_CA_FILE";
    let path = variables.text(NAME).unwrap_or_default();
    let pem = if path.is_empty() { None } else { Some(variables.file(NAME, &path)?) };
    Trust::new(pem.as_ref().map(String::as_bytes)).map_err(|problem| {
        SettingsError::wrong(NAME, format!("{path:?} ({problem})"), "certificates in PEM")
    })
}
