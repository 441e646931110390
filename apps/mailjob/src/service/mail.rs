//! The mail server before the first mail.

use std::time::Duration;

use jobstream::sinks::smtp::{MailSink, ServerFaultKind};
use tokio::time::sleep;

use super::ServiceError;
use crate::log::MailLog;

/// The wait before the server is asked again.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// Asks the server until it can be used, and says whether it is there. Completes only if its
/// certificate does not hold. Jobs do not wait for this: the sink knows by itself.
pub(super) async fn refused(sink: &MailSink, log: &MailLog) -> ServiceError {
    loop {
        match sink.check().await {
            Ok(_) => {
                if sink.unavailable_reason().is_none() {
                    log.is_back();
                }
                return std::future::pending().await;
            }
            Err(fault) if fault.kind() == ServerFaultKind::Certificate => {
                return ServiceError::Certificate(fault.to_string());
            }
            Err(fault) => log.is_away(&fault.to_string()),
        }
        sleep(ASK_AGAIN_AFTER).await;
    }
}
