//! The mail server: before the first mail, and when a password was rotated.

use std::time::Duration;

use jobstream::sinks::smtp::{Login, MailSink, ServerFaultKind};
use jobstream_service::environment;
use jobstream_service::without_addresses;
use mailjob::metrics::MailMetrics;
use mailjob::settings::Settings;
use tokio::time::sleep;
use tracing::{info, warn};

use super::ServiceError;
use crate::log::MailLog;

/// The wait before the server is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// The wait before the login is read again, while the server is not to be used.
const READ_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Asks the server until it can be used, and says whether it is there. Completes only if its
/// certificate does not hold. Jobs do not wait for this: the sink knows by itself.
pub(super) async fn refused(
    sink: &MailSink,
    log: &MailLog,
    metrics: Option<&MailMetrics>,
) -> ServiceError {
    loop {
        match sink.check().await {
            Ok(_) => {
                if sink.unavailable_reason().is_none() {
                    log.is_back();
                    metrics.inspect(|metrics| metrics.asked(Ok(())));
                }
                return std::future::pending().await;
            }
            Err(fault) if fault.kind() == ServerFaultKind::Certificate => {
                return ServiceError::Certificate(fault.to_string());
            }
            Err(fault) => {
                let reason = without_addresses(&fault.to_string());
                log.is_away(&reason);
                metrics.inspect(|metrics| metrics.asked(Err(reason.clone())));
            }
        }
        sleep(ASK_AGAIN_AFTER).await;
    }
}

/// Reads the login again while the server is not to be used, and takes one that has changed: a
/// password that was rotated in its file, and is refused as it was. Never completes.
pub(super) async fn renewed_login(sink: &MailSink, settings: &Settings) {
    let mut used = settings.mail.login.clone();
    loop {
        sleep(READ_AGAIN_AFTER).await;
        if used.is_none() || sink.unavailable_reason().is_none() {
            continue;
        }
        match changed_login(used.as_ref()) {
            Ok(Some(login)) => match sink.set_login(login.clone()) {
                Ok(()) => {
                    info!("The login of the mail server has changed, and is used from now on");
                    used = Some(login);
                }
                Err(error) => warn!("The login of the mail server has changed: {error}"),
            },
            Ok(None) => {}
            Err(error) => warn!("The login of the mail server could not be read again: {error}"),
        }
    }
}

/// The login as the settings have it now, if it is another one.
fn changed_login(used: Option<&Login>) -> Result<Option<Login>, ServiceError> {
    let settings = Settings::read(&environment::variables(), &environment::read_file)?;
    Ok(settings.mail.login.filter(|login| Some(login) != used))
}
