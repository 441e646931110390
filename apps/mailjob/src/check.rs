//! Says whether the mail server can be used.

use std::sync::Arc;
use std::time::Duration;

use jobstream::sinks::smtp::{
    Dkim, MailConfig, Observer, Phase, RelayConfig, ServerFault, ServerFaultKind, ServerReport,
    TimeLimits, TlsMode,
};

use crate::executor::mail_sink;

/// The most octets of one string of a TXT record (RFC 1035 section 3.3.14).
const DNS_STRING_OCTETS: usize = 255;

/// What signs mails, and the record that the DNS must have for it, as a zone file has it.
pub(crate) fn signs(dkim: &Dkim) -> String {
    let record = dkim.record();
    let strings = record.as_bytes().chunks(DNS_STRING_OCTETS).map(|part| {
        let part = String::from_utf8_lossy(part);
        format!("\"{part}\"")
    });
    let strings = strings.collect::<Vec<_>>().join(" ");
    let (name, algorithm) = (dkim.record_name(), dkim.algorithm());
    format!("DKIM: signs with {algorithm}, and the DNS must have: {name}. IN TXT {strings}")
}

/// How long the mail server may be silent when it is asked. Mails wait for minutes, as RFC 5321 asks
/// for; a person who runs the check, or looks whether the service is ready, wants an answer.
const SILENCE_LIMIT: Duration = Duration::from_secs(10);
/// How long the mail server may take in all.
const MAIL_LIMIT: Duration = Duration::from_secs(12);
/// How long a server that is silent may take to answer a handshake.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(2);

/// What one of the mail servers was found to do, or what is wrong with it.
pub(crate) async fn server(mut config: MailConfig, relay: RelayConfig) -> Result<String, String> {
    config.limits = impatient(config.limits);
    let name = format!("mail server {}", relay.name());
    config.relays = vec![relay];
    let config = &config;
    match asked(config).await? {
        Ok(ServerReport { encrypted, logged_in, .. }) => {
            let encrypted = if encrypted { "encrypted" } else { "not encrypted" };
            let logged_in = if logged_in { "logged in" } else { "no login" };
            Ok(format!("{name}: {encrypted}, {logged_in}"))
        }
        Err(fault) if fault.phase() == Phase::Greeting && speaks_tls(config).await => Err(format!(
            "{name}: {}: it speaks TLS from the first byte, expected MAIL_TLS=implicit",
            fault.phase()
        )),
        Err(fault) => Err(format!("{name}: {fault}")),
    }
}

/// What the mail server says, or why it can't be asked.
async fn asked(config: &MailConfig) -> Result<Result<ServerReport, ServerFault>, String> {
    let observer = |_: &RelayConfig| Arc::new(()) as Arc<dyn Observer>;
    let sink = mail_sink(config, observer).map_err(|error| error.to_string())?;
    Ok(sink.check().await)
}

/// Whether a server that greets nobody answers a handshake. No login is sent.
async fn speaks_tls(config: &MailConfig) -> bool {
    if config.relays.iter().all(|relay| relay.tls == TlsMode::Implicit) {
        return false;
    }
    let limits = TimeLimits { whole: HANDSHAKE_LIMIT, ..config.limits };
    let config = config.clone().tls(TlsMode::Implicit).login(None).limits(limits);
    match asked(&config).await {
        Ok(Ok(_)) => true,
        // It has a certificate, or the handshake is over.
        Ok(Err(fault)) => {
            fault.kind() == ServerFaultKind::Certificate || fault.phase() > Phase::Tls
        }
        Err(_) => false,
    }
}

/// The limits of a question to the mail server.
pub(crate) fn impatient(limits: TimeLimits) -> TimeLimits {
    TimeLimits {
        connect: limits.connect.min(SILENCE_LIMIT),
        tls: limits.tls.min(SILENCE_LIMIT),
        greeting: limits.greeting.min(SILENCE_LIMIT),
        ehlo: limits.ehlo.min(SILENCE_LIMIT),
        auth: limits.auth.min(SILENCE_LIMIT),
        command: limits.command.min(SILENCE_LIMIT),
        whole: limits.whole.min(MAIL_LIMIT),
        ..limits
    }
}
