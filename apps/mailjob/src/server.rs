//! The mail servers: before the first mail, and when a password was rotated.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use jobstream::sinks::smtp::{
    Login, MailConfig, MailSink, Relay, ServerFault, ServerFaultKind, TimeLimits,
};
use jobstream_service::{Failure, SettingsError, environment, without_addresses};
use tokio::time::sleep;
use tracing::{info, warn};

use crate::check::impatient;
use crate::log::MailLog;
use crate::metrics::{MailMetrics, RelayMetrics};
use crate::service;

/// The wait before the server is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// The wait before the login is read again, while the server is not to be used.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Asks each server until it can be used, and says whether it is there. Completes only if none is to be
/// used for its certificate. Jobs do not wait for this: the sink knows by itself.
pub(crate) async fn refused(
    sink: Arc<MailSink>,
    log: Arc<MailLog>,
    metrics: Option<Arc<MailMetrics>>,
    limits: TimeLimits,
) -> Failure {
    let limits = impatient(limits);
    let asked = sink.relays().map(|relay| {
        let metrics = metrics.as_ref().map(|metrics| metrics.relay(relay.name()));
        relay_is_refused(relay, &log, metrics, &limits)
    });
    let faults = join_all(asked).await.join("; ");
    Failure::new(format!(
        "the mail server's certificate does not hold: {faults}; see MAIL_TLS_CA_FILE"
    ))
}

/// Asks one server until it can be used. Completes only if its certificate does not hold. Where mails
/// flow, the server can be used, whatever became of this question.
async fn relay_is_refused(
    relay: &Relay,
    log: &MailLog,
    metrics: Option<Arc<RelayMetrics>>,
    limits: &TimeLimits,
) -> String {
    loop {
        match relay.check_within(limits).await.map(drop).or_else(|fault| served(relay, fault)) {
            Ok(()) => {
                if relay.unavailable_reason().is_none() {
                    log.is_back(relay.name());
                    if let Some(metrics) = &metrics {
                        metrics.asked(Ok(()));
                    }
                }
                return pending().await;
            }
            Err(fault) => {
                let reason = without_addresses(&fault.to_string());
                log.is_away(relay.name(), &reason);
                if let Some(metrics) = &metrics {
                    metrics.asked(Err(reason));
                }
                if fault.kind() == ServerFaultKind::Certificate {
                    return fault.to_string();
                }
            }
        }
        sleep(ASK_AGAIN_AFTER).await;
    }
}

/// What a server has against the sender it says to each mail.
fn served(relay: &Relay, fault: ServerFault) -> Result<(), ServerFault> {
    if relay.serves() || fault.kind() == ServerFaultKind::Sender { Ok(()) } else { Err(fault) }
}

/// Reads the logins again while a server is not to be used, and takes its login if that has changed: a
/// password that was rotated in its file, and is refused as it was. Never completes.
pub(crate) async fn renewed_login(sink: Arc<MailSink>, config: MailConfig) -> Failure {
    let mut used: Vec<_> = config.relays.into_iter().map(|relay| relay.login).collect();
    loop {
        sleep(READ_AGAIN_AFTER).await;
        let is_wanted = |(relay, used): (&Relay, &Option<Login>)| {
            used.is_some() && relay.unavailable_reason().is_some()
        };
        if !sink.relays().zip(&used).any(is_wanted) {
            continue;
        }
        let read = match read_again() {
            Ok(config) => config.relays,
            Err(error) => {
                warn!("The login of the mail server could not be read again: {error}");
                continue;
            }
        };
        for ((relay, used), read) in sink.relays().zip(&mut used).zip(read) {
            if is_wanted((relay, used)) && relay.name()[..] == read.name() {
                renew(relay, used, read.login);
            }
        }
    }
}

fn renew(relay: &Relay, used: &mut Option<Login>, read: Option<Login>) {
    let Some(login) = read.filter(|login| used.as_ref() != Some(login)) else { return };
    let server = &relay.name()[..];
    match relay.set_login(login.clone()) {
        Ok(()) => {
            info!(server, "The login of the mail server has changed, and is used from now on");
            *used = Some(login);
        }
        Err(error) => warn!(server, "The login of the mail server has changed: {error}"),
    }
}

/// The settings of the mail servers as they are now.
fn read_again() -> Result<MailConfig, SettingsError> {
    let (variables, read) = (environment::variables(), &environment::read_file);
    let (_, settings) = service::settings().read_settings(&variables, read)?;
    Ok(settings.mail)
}
