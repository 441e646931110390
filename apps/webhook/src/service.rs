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
            let limits = KeyLimits::new();
            stages(it, executor, limits.executing_jobs(Some(settings.host_connections)))
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
    Ok(Arc::new(Webhook::new(settings.clone(), Arc::<Tcp>::default(), Arc::new(environment::now))))
}
