//! What the file of relays says of each mail server.
//!
//! ```toml
//! # The order of preference is that of MAIL_SERVER_HOST.
//! ["mx1.example.com"]
//! login = false
//!
//! ["mx2.example.com:587"]
//! tls = "starttls"
//! user = "AKIA"
//! password_file = "/run/secrets/mx2"
//! rate = 14
//! ```

use std::borrow::Cow;
use std::fmt::Display;
use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::{Range, RangeInclusive};

use jobstream::sinks::smtp::{ConfigError, Login, MailConfig, MailSink, RelayConfig, TlsMode};
use jobstream_service::{Address, SettingsError, Variables};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::mail::{CONNECTIONS_MAX, RATE_MAX, TLS_MODES};

const FILE: &str = "MAIL_RELAYS_FILE";
const KEYS: &str = "allow_plaintext_auth, connections, login, password, password_file, rate, tls, \
                    tls_ca_file, user or user_file";

/// Sets what the file says of each relay, if there is one.
///
/// # Errors
/// If it is no TOML, or says something of a server that `MAIL_SERVER_HOST` does not have, or
/// something that can't be. They name the line and the key, and show no secret.
pub(super) fn apply(
    variables: &Variables<'_>,
    relays: &mut [RelayConfig],
) -> Result<(), SettingsError> {
    let Some(path) = variables.text(FILE) else { return Ok(()) };
    let text = &variables.file(FILE, &path)?;
    let file = File { variables, text };
    let tables = DeTable::parse(text).map_err(|error| {
        let place = file.place(&error.span().unwrap_or_default(), None);
        SettingsError::wrong(&place, format!("no TOML ({})", error.message()), "TOML")
    })?;
    let mut seen = Vec::new();
    for (key, value) in tables.get_ref() {
        let name = key.get_ref();
        let expected = "a table for each server, named as MAIL_SERVER_HOST names it";
        let DeValue::Table(table) = value.get_ref() else {
            return Err(file.wrong(key, format!("{} of that name", kind(value)), expected));
        };
        let Some(place) = place_of(name, relays) else {
            return Err(file.wrong(key, "a server that is not there", expected));
        };
        if seen.contains(&place) {
            return Err(file.wrong(key, "a second table of this server", "one of each"));
        }
        seen.push(place);
        let said = Said::read(&file, table)?;
        said.apply(&file, key.span(), &mut relays[place])?;
    }
    Ok(())
}

/// The relay of a name: its host and port, or its host alone if no other relay has that one.
fn place_of(name: &str, relays: &[RelayConfig]) -> Option<usize> {
    let Address { host, port } = Address::parse(name).ok()?;
    let is_meant =
        |relay: &RelayConfig| relay.host == host && port.is_none_or(|port| port == relay.port);
    let mut meant = relays.iter().enumerate().filter(|(_, relay)| is_meant(relay));
    let (place, _) = meant.next()?;
    meant.next().is_none().then_some(place)
}

/// The file, for errors and for the files that it names.
struct File<'a> {
    variables: &'a Variables<'a>,
    text: &'a str,
}

impl File<'_> {
    /// What an error is about: the setting, the line, the key.
    fn place(&self, span: &Range<usize>, key: Option<&str>) -> String {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        match key {
            Some(key) => format!("{FILE}, line {line}, {key}"),
            None => format!("{FILE}, line {line}"),
        }
    }

    fn wrong<K: Display>(
        &self,
        key: &Spanned<K>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> SettingsError {
        let place = self.place(&key.span(), Some(&key.get_ref().to_string()));
        SettingsError::wrong(&place, found, expected)
    }
}

/// What a table says. What it does not say is as the other settings have it.
#[derive(Default)]
struct Said {
    allow_plaintext_auth: Option<bool>,
    connections: Option<NonZeroUsize>,
    login: Option<bool>,
    password: Option<String>,
    rate: Option<NonZeroU32>,
    tls: Option<TlsMode>,
    ca_pem: Option<Vec<u8>>,
    user: Option<String>,
}

impl Said {
    fn read(file: &File<'_>, table: &DeTable<'_>) -> Result<Self, SettingsError> {
        let mut said = Self::default();
        for (key, value) in table {
            let entry = Setting { file, key, value };
            let both = || entry.wrong("the file beside the value", "one of them");
            match &**key.get_ref() {
                "allow_plaintext_auth" => said.allow_plaintext_auth = Some(entry.boolean()?),
                "connections" => {
                    said.connections = NonZeroUsize::new(entry.number(1..=CONNECTIONS_MAX)?);
                }
                "login" => said.login = Some(entry.boolean()?),
                "rate" => said.rate = NonZeroU32::new(entry.number(1..=RATE_MAX)?),
                "tls" => said.tls = Some(entry.choice(&TLS_MODES)?),
                "tls_ca_file" => {
                    let pem = file.variables.file(&entry.place(), entry.text()?)?;
                    said.ca_pem = Some(pem.into_bytes());
                }
                name @ ("user" | "user_file") => {
                    if said.user.replace(entry.secret(name == "user_file")?).is_some() {
                        return Err(both());
                    }
                }
                name @ ("password" | "password_file") => {
                    if said.password.replace(entry.secret(name == "password_file")?).is_some() {
                        return Err(both());
                    }
                }
                _ => return Err(entry.wrong("a key that is none", KEYS)),
            }
        }
        Ok(said)
    }

    fn apply(
        self,
        file: &File<'_>,
        span: Range<usize>,
        relay: &mut RelayConfig,
    ) -> Result<(), SettingsError> {
        let wrong = |key, found: &str, expected: &str| {
            Err(SettingsError::wrong(&file.place(&span, Some(key)), found, expected))
        };
        match (self.login, self.user, self.password) {
            (Some(false), None, None) => relay.login = None,
            (Some(false), ..) => {
                return wrong("login", "false beside a user or a password", "one of them");
            }
            (_, Some(user), Some(password)) => relay.login = Some(Login::new(user, password)),
            (_, Some(_), None) => return wrong("password", "nothing", "the password of the user"),
            (_, None, Some(_)) => return wrong("user", "nothing", "the user of the password"),
            (Some(true), None, None) if relay.login.is_none() => {
                return wrong("login", "true without a user", "a user and a password");
            }
            (_, None, None) => {}
        }
        relay.tls = self.tls.unwrap_or(relay.tls);
        relay.tls_ca_pem = self.ca_pem.or_else(|| relay.tls_ca_pem.take());
        relay.allow_plaintext_auth =
            self.allow_plaintext_auth.unwrap_or(relay.allow_plaintext_auth);
        relay.connections_max = self.connections.unwrap_or(relay.connections_max);
        relay.mails_per_second_max = self.rate.or(relay.mails_per_second_max);
        match usable(relay) {
            Ok(()) => Ok(()),
            Err(ConfigError::PlaintextAuth) => wrong(
                "tls",
                "\"none\" beside a login, which would travel in clear",
                "another mode, or allow_plaintext_auth = true",
            ),
            Err(ConfigError::CaPem(found)) => {
                wrong("tls_ca_file", &found, "certificates of authorities in PEM")
            }
            Err(ConfigError::LoginNul) => wrong("password", "a NUL in the login", "none"),
            Err(error) => wrong(&relay.name(), &error.to_string(), "a server that can be used"),
        }
    }
}

/// Whether a sink can be made for a relay, whoever its mails are from.
fn usable(relay: &RelayConfig) -> Result<(), ConfigError> {
    let mut alone = MailConfig::new("", "mailjob@example.com");
    alone.relays = vec![relay.clone()];
    MailSink::new(&alone).map(drop)
}

/// A key and its value.
struct Setting<'a, 'i> {
    file: &'a File<'a>,
    key: &'a Spanned<Cow<'i, str>>,
    value: &'a Spanned<DeValue<'i>>,
}

impl Setting<'_, '_> {
    fn place(&self) -> String {
        self.file.place(&self.key.span(), Some(self.key.get_ref()))
    }

    fn wrong(&self, found: impl Into<String>, expected: impl Into<String>) -> SettingsError {
        self.file.wrong(self.key, found, expected)
    }

    fn text(&self) -> Result<&str, SettingsError> {
        match self.value.get_ref() {
            DeValue::String(text) if text.is_empty() => Err(self.wrong("nothing", "a text")),
            DeValue::String(text) => Ok(text),
            _ => Err(self.wrong(kind(self.value), "a string")),
        }
    }

    fn boolean(&self) -> Result<bool, SettingsError> {
        match self.value.get_ref() {
            DeValue::Boolean(is_so) => Ok(*is_so),
            _ => Err(self.wrong(kind(self.value), "true or false")),
        }
    }

    fn number<T: TryFrom<u64> + PartialOrd + Display>(
        &self,
        range: RangeInclusive<T>,
    ) -> Result<T, SettingsError> {
        let expected = || format!("a whole number from {} to {}", range.start(), range.end());
        let DeValue::Integer(found) = self.value.get_ref() else {
            return Err(self.wrong(kind(self.value), expected()));
        };
        let number = u64::from_str_radix(found.as_str(), found.radix()).ok();
        let number = number.and_then(|number| T::try_from(number).ok());
        let number = number.filter(|number| range.contains(number));
        number.ok_or_else(|| self.wrong(found.to_string(), expected()))
    }

    fn choice<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, SettingsError> {
        let text = self.text()?;
        let chosen = choices.iter().find(|(name, _)| *name == text);
        chosen.map(|(_, choice)| *choice).ok_or_else(|| {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            self.wrong(format!("{text:?}"), names.join(", "))
        })
    }

    /// The value, or what is in the file that it names.
    fn secret(&self, is_file: bool) -> Result<String, SettingsError> {
        let text = self.text()?;
        match is_file {
            true => self.file.variables.secret_file(&self.place(), text),
            false => Ok(text.to_owned()),
        }
    }
}

/// What a value is, without showing it.
fn kind(value: &Spanned<DeValue<'_>>) -> &'static str {
    match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
