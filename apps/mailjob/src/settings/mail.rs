//! Where the mail server is, and how to speak with it.

use std::num::{NonZeroU32, NonZeroUsize};

use jobstream::sinks::smtp::{
    ConfigError, Login, MailConfig, MailSink, RelayConfig, TimeLimits, TlsMode,
};
use jobstream_service::{Address, SettingsError, Variables};

use super::{dkim, relays};

const HOST: &str = "MAIL_SERVER_HOST";
const HOST_EXPECTED: &str = "a host's name or an IP address, with a port as host:port or without; \
                             several are separated by commas";
/// Each has connections, time series and probes of its own.
const RELAYS_MAX: usize = 16;
const PORT: u16 = 25;
const CONNECTIONS: usize = 8;
pub(super) const CONNECTIONS_MAX: usize = 10_000;
pub(super) const RATE_MAX: u32 = 1_000_000;
/// Half of what a mail may take in all.
const TIMEOUT_MAX_SECONDS: f64 = 600.0;

/// The settings of the mail sink.
///
/// # Errors
/// If one is wrong or missing.
pub(super) fn read(variables: &Variables<'_>) -> Result<MailConfig, SettingsError> {
    let servers = servers(variables)?;
    let domain = variables.text("EMAIL_DOMAIN");
    let user = variables.secret("SMTP_USER")?;
    let mail_from = mail_from(variables, user.as_deref(), domain.as_deref())?;
    let mut config = MailConfig::new("", mail_from);
    config.relays = servers;
    let mut config = config
        .tls(variables.choice("MAIL_TLS", &TLS_MODES, TlsMode::Opportunistic)?)
        .tls_ca_pem(ca_pem(variables)?)
        .login(login(variables, user.as_deref(), domain.as_deref())?)
        .allow_plaintext_auth(variables.boolean("MAIL_ALLOW_PLAINTEXT_AUTH", false)?)
        .allowed_from_domains(allowed_from_domains(variables, domain.as_deref()))
        .limits(limits(variables)?)
        .connections_max(connections(variables)?)
        .mails_per_second_max(
            variables.number_if_any("MAIL_RATE", 1..=RATE_MAX)?.and_then(NonZeroU32::new),
        );
    relays::apply(variables, &mut config.relays)?;
    match MailSink::new(&config) {
        Ok(_) => {
            let dkim = dkim::read(variables, &config.mail_from)?;
            Ok(config.dkim(dkim))
        }
        Err(error) => Err(refused(variables, &error)),
    }
}

/// The mail servers, in order of preference. `MAIL_SERVER_PORT` is the port of those that name
/// none; if there are none of these, the two settings would contradict each other.
fn servers(variables: &Variables<'_>) -> Result<Vec<RelayConfig>, SettingsError> {
    let port = variables.number_if_any("MAIL_SERVER_PORT", 1..=u16::MAX)?;
    let text = variables.required(HOST, HOST_EXPECTED)?;
    let wrong = |expected: String| SettingsError::invalid(HOST, &text, expected);
    let parse = |part: &str| {
        Address::parse(part.trim_matches(' '))
            .map_err(|fault| wrong(format!("{HOST_EXPECTED}: {fault}")))
    };
    let addresses = text.split(',').map(parse).collect::<Result<Vec<_>, _>>()?;
    if port.is_some() && addresses.iter().all(|address| address.port.is_some()) {
        let found = format!("{text:?} beside MAIL_SERVER_PORT");
        return Err(SettingsError::wrong(HOST, found, "the port in one of them"));
    }
    if addresses.len() > RELAYS_MAX {
        return Err(wrong(format!("{RELAYS_MAX} servers at most")));
    }
    let default = port.unwrap_or(PORT);
    Ok(addresses
        .into_iter()
        .map(|Address { host, port }| {
            let mut relay = RelayConfig::new(host);
            relay.port = port.unwrap_or(default);
            relay
        })
        .collect())
}

pub(super) const TLS_MODES: [(&str, TlsMode); 4] = [
    ("opportunistic", TlsMode::Opportunistic),
    ("starttls", TlsMode::StartTls),
    ("implicit", TlsMode::Implicit),
    ("none", TlsMode::None),
];

fn connections(variables: &Variables<'_>) -> Result<NonZeroUsize, SettingsError> {
    let count = variables.number("MAIL_CONNECTIONS", 1..=CONNECTIONS_MAX, CONNECTIONS)?;
    Ok(NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN))
}

/// The answer to the final dot keeps its ten minutes: a shorter wait sends mails twice (RFC 1047).
fn limits(variables: &Variables<'_>) -> Result<TimeLimits, SettingsError> {
    let defaults = TimeLimits::default();
    let seconds = |name, default| variables.seconds(name, 1.0..=TIMEOUT_MAX_SECONDS, default);
    let connect = seconds("MAIL_CONNECT_TIMEOUT", defaults.connect)?;
    let reply = seconds("MAIL_REPLY_TIMEOUT", defaults.command)?;
    Ok(TimeLimits {
        connect,
        tls: connect,
        greeting: reply,
        ehlo: reply,
        auth: defaults.auth.min(reply),
        command: reply,
        data: defaults.data.min(reply),
        ..defaults
    })
}

fn ca_pem(variables: &Variables<'_>) -> Result<Option<Vec<u8>>, SettingsError> {
    let Some(path) = variables.text("MAIL_TLS_CA_FILE") else { return Ok(None) };
    variables.file("MAIL_TLS_CA_FILE", &path).map(|pem| Some(pem.into_bytes()))
}

/// `SMTP_LOGIN` as it is; else `SMTP_USER`, with the domain where it has no `@`.
fn login(
    variables: &Variables<'_>,
    user: Option<&str>,
    domain: Option<&str>,
) -> Result<Option<Login>, SettingsError> {
    let login = variables.secret("SMTP_LOGIN")?;
    let password = variables.secret("SMTP_PASSWORD")?;
    match (login, user, password) {
        (Some(login), _, Some(password)) => Ok(Some(Login::new(login, password))),
        (None, Some(user), Some(password)) => Ok(Some(Login::new(address(user, domain), password))),
        (None, None, Some(_)) => {
            Err(SettingsError::missing("SMTP_USER", "the user of SMTP_PASSWORD"))
        }
        (Some(_), _, None) => {
            Err(SettingsError::missing("SMTP_PASSWORD", "the password of SMTP_LOGIN"))
        }
        (None, Some(_), None) => {
            variables.warn("SMTP_USER without SMTP_PASSWORD: there will be no login");
            Ok(None)
        }
        (None, None, None) => Ok(None),
    }
}

/// A user with the domain where it has no `@`.
fn address(user: &str, domain: Option<&str>) -> String {
    match domain {
        Some(domain) if !user.contains('@') => format!("{user}@{domain}"),
        _ => user.to_owned(),
    }
}

fn mail_from(
    variables: &Variables<'_>,
    user: Option<&str>,
    domain: Option<&str>,
) -> Result<String, SettingsError> {
    let own = variables.text("MAIL_FROM");
    let formed = || user.map(|user| address(user, domain)).filter(|user| user.contains('@'));
    own.or_else(formed).ok_or_else(|| {
        SettingsError::missing(
            "MAIL_FROM",
            "the service's own address, or SMTP_USER and EMAIL_DOMAIN to form it from",
        )
    })
}

fn allowed_from_domains(variables: &Variables<'_>, domain: Option<&str>) -> Vec<String> {
    let allowed = variables.text("MAIL_ALLOWED_FROM_DOMAINS");
    let allowed = allowed.as_deref().or(domain).unwrap_or_default();
    let domains = allowed.split(',').map(str::trim).filter(|domain| !domain.is_empty());
    domains.map(str::to_owned).collect()
}

/// The same refusal with the names of variables.
fn refused(variables: &Variables<'_>, error: &ConfigError) -> SettingsError {
    match error {
        ConfigError::Host { found } => SettingsError::invalid(HOST, found, HOST_EXPECTED),
        ConfigError::Twice(name) => {
            SettingsError::wrong(HOST, format!("{name} twice"), "each server once")
        }
        ConfigError::Relay { name, error } => match refused(variables, error) {
            SettingsError::Invalid { name: setting, found, expected } => {
                SettingsError::wrong(&setting, format!("{found} for {name}"), expected)
            }
            other => other,
        },
        ConfigError::MailFrom { found, error } => {
            SettingsError::invalid("MAIL_FROM", found, format!("an address: {error}"))
        }
        ConfigError::AllowedFromDomain { found, error } => {
            let (name, expected) = match variables.text("MAIL_ALLOWED_FROM_DOMAINS") {
                Some(_) => ("MAIL_ALLOWED_FROM_DOMAINS", "domains, separated by commas"),
                None => ("EMAIL_DOMAIN", "a domain"),
            };
            SettingsError::invalid(name, found, format!("{expected}: {error}"))
        }
        ConfigError::EhloName { found } => {
            SettingsError::invalid("MAIL_FROM", found, "a domain in ASCII after the '@'")
        }
        ConfigError::PlaintextAuth => SettingsError::invalid(
            "MAIL_TLS",
            "none",
            "another mode, or MAIL_ALLOW_PLAINTEXT_AUTH=true: the login would travel in clear",
        ),
        ConfigError::LoginNul => {
            SettingsError::wrong("SMTP_PASSWORD", "a NUL in the login", "none")
        }
        ConfigError::CaPem(reason) => SettingsError::wrong(
            "MAIL_TLS_CA_FILE",
            reason.clone(),
            "certificates of authorities in PEM",
        ),
        ConfigError::NoAuthorities(reason) => SettingsError::wrong(
            "MAIL_TLS_CA_FILE",
            format!("nothing, and no authority on this system ({reason})"),
            "certificates of authorities in PEM",
        ),
    }
}
