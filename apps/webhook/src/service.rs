//! The webhook executor as a service.

use std::process::ExitCode;
use std::sync::Arc;

use jobstream::sinks::JobSink;
use jobstream::topology::KeyLimits;
use jobstream_service::outbound::Tcp;
use jobstream_service::{Context, Failure, Service, Topics, build_info, environment};

use crate::fate::Answer;
use crate::job::WebhookJob;
use crate::settings::WebhookSettings;
use crate::sink::Webhook;
use crate::topology::stages;

/// Does what the command line says.
pub fn main() -> ExitCode {
    settings()
        .about("Takes webhook jobs from Kafka, posts them and reports the results")
        .executor(executor)
        .topology_with(|settings, it, executor| {
            // A batch needs as many places as it has jobs.
            let executing = settings.host_connections.max(settings.batch.jobs);
            stages(it, executor, KeyLimits::new().executing_jobs(Some(executing)))
        })
        .main()
}

/// The service, as far as its settings depend on it.
pub fn settings() -> Service<WebhookSettings> {
    Service::new("webhook", build_info!())
        .topics(Topics::jobs("topic-job-run"))
        .beside("mailjob", "topic-job-run-consumer-emailexecutor")
        .words("webhook job", "receiver")
        .settings()
}

fn executor(
    settings: &WebhookSettings,
    context: &mut Context,
) -> Result<Arc<dyn JobSink<WebhookJob, Answer>>, Failure> {
    let (secrets, authorities) = (settings.secrets.len(), settings.trust.authorities());
    context.check(async move {
        if authorities == 0 {
            return Err("TLS: found no certificates of authorities, expected some".to_owned());
        }
        let signed = match secrets {
            0 => "not signed".to_owned(),
            1 => "signed with 1 secret".to_owned(),
            _ => format!("signed with {secrets} secrets"),
        };
        Ok(format!("webhooks: {signed}, TLS with {authorities} authorities"))
    });
    let network = Arc::<Tcp>::default();
    let webhook = Webhook::new(settings.clone(), network, Arc::new(environment::now));
    Ok(match settings.batch.jobs {
        1 => Arc::new(webhook),
        _ => Arc::new(webhook.in_batches()),
    })
}
