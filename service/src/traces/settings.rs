//! The standard settings of OpenTelemetry that are about traces.

use std::fmt;
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Uri};

use super::queue::QueueLimits;
use super::sampler::{Root, Sampler};
use crate::settings::SettingsError;
use crate::settings::Variables;

const DAY_MS: u64 = 86_400_000;
const SPANS_MAX: usize = 1_000_000;
const LIST: &str = "name=value pairs, separated by commas";

/// How spans are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// OTLP in gRPC.
    Grpc,
    /// OTLP as protobuf in HTTP.
    Http,
}

/// Where traces go, and which. Its `Debug` shows no value of a header.
#[derive(Clone)]
pub struct TracesSettings {
    pub(super) service_name: String,
    /// A setting gives the name.
    is_named: bool,
    pub(super) resource: Vec<(String, String)>,
    pub(super) endpoint: String,
    pub(super) protocol: Protocol,
    pub(super) headers: Vec<(String, String)>,
    pub(super) timeout: Duration,
    pub(super) sampler: Sampler,
    pub(super) queue: QueueLimits,
}

impl TracesSettings {
    /// Reads them; nothing if traces are off: neither an exporter nor an endpoint is set, or the
    /// exporter is `none`, or everything is disabled. `service_name` is the name where none is set.
    ///
    /// # Errors
    /// If one is wrong, also where they are off, unless everything is disabled.
    pub fn read(
        variables: &Variables<'_>,
        service_name: &str,
    ) -> Result<Option<Self>, SettingsError> {
        if variables.boolean("OTEL_SDK_DISABLED", false)? {
            return Ok(None);
        }
        let exporters = [("otlp", Some(true)), ("none", Some(false))];
        let exporter = variables.choice("OTEL_TRACES_EXPORTER", &exporters, None)?;
        let protocol = protocol(variables)?;
        let endpoint = endpoint(variables, protocol)?;
        let settings = Self {
            is_named: variables.text("OTEL_SERVICE_NAME").is_some(),
            service_name: variables.text_or("OTEL_SERVICE_NAME", service_name),
            resource: resource(variables)?,
            endpoint: endpoint.clone().unwrap_or_else(|| protocol.default_endpoint().to_owned()),
            protocol,
            headers: headers(variables)?,
            timeout: timeout(variables)?,
            sampler: sampler(variables)?,
            queue: queue(variables)?,
        };
        Ok(exporter.unwrap_or(endpoint.is_some()).then_some(settings))
    }

    /// The same of a part of the process, which has its own name unless a setting gives one.
    pub(crate) fn of_part(&self, name: &str) -> Self {
        let mut settings = self.clone();
        if !self.is_named {
            name.clone_into(&mut settings.service_name);
        }
        settings
    }

    pub(super) fn is_encrypted(&self) -> bool {
        self.endpoint.starts_with("https:")
    }
}

impl Protocol {
    const fn default_endpoint(self) -> &'static str {
        match self {
            Self::Grpc => "http://localhost:4317",
            Self::Http => "http://localhost:4318/v1/traces",
        }
    }
}

/// The value of the variable for traces alone, if it has one, else of the one for all signals.
fn of_traces(variables: &Variables<'_>, what: &str) -> String {
    let name = format!("OTEL_EXPORTER_OTLP_TRACES_{what}");
    match variables.text(&name) {
        Some(_) => name,
        None => format!("OTEL_EXPORTER_OTLP_{what}"),
    }
}

fn protocol(variables: &Variables<'_>) -> Result<Protocol, SettingsError> {
    let protocols = [("http/protobuf", Protocol::Http), ("grpc", Protocol::Grpc)];
    variables.choice(&of_traces(variables, "PROTOCOL"), &protocols, Protocol::Http)
}

/// With the path of traces, unless it is for traces alone: that is used as it is.
fn endpoint(
    variables: &Variables<'_>,
    protocol: Protocol,
) -> Result<Option<String>, SettingsError> {
    let name = of_traces(variables, "ENDPOINT");
    let Some(endpoint) = variables.text(&name) else { return Ok(None) };
    let uri: Option<Uri> = endpoint.parse().ok();
    let is_url = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
    if !uri.as_ref().is_some_and(is_url) {
        return Err(SettingsError::invalid(
            &name,
            &endpoint,
            "a URL that begins with http or https",
        ));
    }
    if protocol == Protocol::Http && name == "OTEL_EXPORTER_OTLP_ENDPOINT" {
        return Ok(Some(format!("{}/v1/traces", endpoint.trim_end_matches('/'))));
    }
    Ok(Some(endpoint))
}

/// What goes with every request; their values are not to be seen.
fn headers(variables: &Variables<'_>) -> Result<Vec<(String, String)>, SettingsError> {
    let own = "OTEL_EXPORTER_OTLP_TRACES_HEADERS";
    let (name, list) = match variables.secret(own)? {
        Some(list) => (own, Some(list)),
        None => {
            let name = "OTEL_EXPORTER_OTLP_HEADERS";
            (name, variables.secret(name)?)
        }
    };
    let headers = list.map_or(Some(Vec::new()), |list| pairs(&list));
    let is_header = |(name, value): &(String, String)| {
        HeaderName::try_from(name).is_ok() && HeaderValue::try_from(value).is_ok()
    };
    headers
        .filter(|headers| headers.iter().all(is_header))
        .ok_or_else(|| SettingsError::wrong(name, "something else", LIST))
}

fn resource(variables: &Variables<'_>) -> Result<Vec<(String, String)>, SettingsError> {
    let name = "OTEL_RESOURCE_ATTRIBUTES";
    let Some(list) = variables.text(name) else { return Ok(Vec::new()) };
    pairs(&list).ok_or_else(|| SettingsError::invalid(name, &list, LIST))
}

fn timeout(variables: &Variables<'_>) -> Result<Duration, SettingsError> {
    let timeout = variables.number(&of_traces(variables, "TIMEOUT"), 1..=DAY_MS, 10_000)?;
    Ok(Duration::from_millis(timeout))
}

fn sampler(variables: &Variables<'_>) -> Result<Sampler, SettingsError> {
    let name = "OTEL_TRACES_SAMPLER_ARG";
    let ratio = variables.text_or(name, "1");
    let ratio: f64 = ratio
        .parse()
        .ok()
        .filter(|number| (0.0..=1.0).contains(number))
        .ok_or_else(|| SettingsError::invalid(name, &ratio, "a number from 0 to 1"))?;
    let of = |follows_parent, root| Sampler { root, follows_parent };
    let samplers = [
        ("parentbased_always_on", of(true, Root::All)),
        ("parentbased_always_off", of(true, Root::None)),
        ("parentbased_traceidratio", of(true, Root::Ratio(ratio))),
        ("always_on", of(false, Root::All)),
        ("always_off", of(false, Root::None)),
        ("traceidratio", of(false, Root::Ratio(ratio))),
    ];
    variables.choice("OTEL_TRACES_SAMPLER", &samplers, samplers[0].1)
}

fn queue(variables: &Variables<'_>) -> Result<QueueLimits, SettingsError> {
    let milliseconds =
        |name, range, default| variables.number(name, range, default).map(Duration::from_millis);
    let spans_max = variables.number("OTEL_BSP_MAX_QUEUE_SIZE", 1..=SPANS_MAX, 2_048)?;
    let name = "OTEL_BSP_MAX_EXPORT_BATCH_SIZE";
    let batch_spans_max = variables.number(name, 1..=SPANS_MAX, 512)?;
    Ok(QueueLimits {
        spans_max,
        batch_spans_max: batch_spans_max.min(spans_max),
        delay: milliseconds("OTEL_BSP_SCHEDULE_DELAY", 1..=DAY_MS, 5_000)?,
        export_timeout: milliseconds("OTEL_BSP_EXPORT_TIMEOUT", 1..=DAY_MS, 30_000)?,
    })
}

/// The pairs of a list as W3C's Baggage has it: `name=value`, separated by commas, values with
/// percent signs for what they can't hold.
fn pairs(list: &str) -> Option<Vec<(String, String)>> {
    let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(pair).collect()
}

fn pair(item: &str) -> Option<(String, String)> {
    let (name, value) = item.split_once('=')?;
    let name = name.trim();
    let value = decoded(value.trim())?;
    (!name.is_empty() && !name.contains(char::is_whitespace)).then(|| (name.to_owned(), value))
}

/// The text of which `%20` stands for a space.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut parts = text.split('%');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        let is_hex = code.bytes().all(|byte| byte.is_ascii_hexdigit());
        bytes.push(u8::from_str_radix(code, 16).ok().filter(|_| is_hex)?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}

impl fmt::Debug for TracesSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.iter().map(|(name, _)| name).collect();
        f.debug_struct("TracesSettings")
            .field("service_name", &self.service_name)
            .field("resource", &self.resource)
            .field("endpoint", &self.endpoint)
            .field("protocol", &self.protocol)
            .field("headers", &headers)
            .field("timeout", &self.timeout)
            .field("sampler", &self.sampler)
            .field("queue", &self.queue)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_of_a_process_has_its_own_name_unless_a_setting_gives_one() {
        for (more, expected) in [(None, "bake"), (Some(("OTEL_SERVICE_NAME", "shop")), "shop")] {
            let on = ("OTEL_TRACES_EXPORTER", "otlp");
            let all = more.into_iter().chain([on]);
            let environment =
                all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
            let variables =
                Variables::read(&environment, &|_| Err(std::io::ErrorKind::NotFound.into()));
            let settings = TracesSettings::read(&variables.unwrap(), "pizza").unwrap().unwrap();
            assert_eq!(settings.of_part("bake").service_name, expected);
        }
    }
}
