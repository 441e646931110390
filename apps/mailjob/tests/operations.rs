//! `docs/service.md`, `docs/operations.md` and the code say the same of every setting.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use jobstream::kafka::NewTopic;
use mailjob::settings::{Settings, SettingsError};

const OPERATIONS: &str = include_str!("../../../docs/operations.md");
const OF_EVERY_SERVICE: &str = include_str!("../../../docs/service.md");
const KAFKA_CONFIG: &str = include_str!("../../../src/kafka/config.rs");

/// The least with which the service starts.
const LEAST: [(&str, &str); 3] =
    [("KAFKA_BROKERS", "kafka:9092"), ("MAIL_SERVER_HOST", "mail"), ("MAIL_FROM", "a@b.example")];

const DKIM_KEY: &str = include_str!("../../../tests/keys/ed25519.pem");

/// No value of anything but a text: it has a space.
const NONSENSE: &str = "? ?";

/// Whether settings that are not set hold a default that the document describes in words.
type Holds = fn(&Settings) -> bool;

/// What the document describes in words, and how it is seen.
const TOLD: [(&str, &str, Holds); 26] = [
    ("EMAIL_DOMAIN", "none", |s| s.mail.allowed_from_domains.is_empty()),
    ("EMAIL_SERVICE_PORT", "none", |s| s.process.metrics_address.is_none()),
    ("METRICS_ADDRESS", "none", |s| s.process.metrics_address.is_none()),
    ("ENVIRONMENT", "none", |s| s.process.log.environment.is_none()),
    ("INSTANCE_ID", "none", |s| s.process.instance_id.is_none()),
    ("JOB_IN_FLIGHT", "8192, of which 1024 execute", |s| {
        let limits = s.job.limits;
        (limits.in_flight_records, limits.executing_records) == (8192, 1024)
    }),
    ("TOPIC_JOB_RUN_RESULT_CREATE_MIN_INSYNC_REPLICAS", "that of the brokers", |s| {
        s.topics.outputs.iter().all(|topic| topic.settings.is_empty())
    }),
    ("TOPIC_JOB_RUN_LEDGER_CREATE_MIN_INSYNC_REPLICAS", "that of the brokers", |s| {
        s.topics.ledger.settings == NewTopic::compacted("any", 1, 1).settings
    }),
    ("JOB_ATTEMPT_TIMEOUT", "none", |s| s.job.retry.attempt_timeout.is_none()),
    ("JOB_RETRY_ATTEMPTS", "none", |s| s.job.retry.attempts.is_none()),
    ("MAIL_DKIM_KEY", "none", |s| s.mail.dkim.is_none()),
    ("MAIL_DKIM_SELECTOR", "none", |s| s.mail.dkim.is_none()),
    ("MAIL_DKIM_DOMAIN", "the domain of `MAIL_FROM`", |_| {
        let signed = [("MAIL_DKIM_KEY", DKIM_KEY), ("MAIL_DKIM_SELECTOR", "s")];
        let dkim = read(&signed).unwrap().mail.dkim.unwrap();
        dkim.record_name() == "s._domainkey.b.example"
    }),
    ("MAIL_RATE", "none", |s| s.mail.relays[0].mails_per_second_max.is_none()),
    ("MAIL_RELAYS_FILE", "none", |s| s.mail.relays.len() == 1),
    ("MAIL_TLS_CA_FILE", "none", |s| s.mail.relays[0].tls_ca_pem.is_none()),
    ("PAGE_TOKEN", "none", |s| s.page.token.is_none()),
    ("SMTP_LOGIN", "none", |s| s.mail.relays[0].login.is_none()),
    ("SMTP_PASSWORD", "none", |s| s.mail.relays[0].login.is_none()),
    ("SMTP_USER", "none", |s| s.mail.relays[0].login.is_none()),
    ("MAIL_FROM", "formed of `SMTP_USER` and `EMAIL_DOMAIN`", |_| {
        let formed = [("MAIL_FROM", ""), ("SMTP_USER", "u"), ("EMAIL_DOMAIN", "d.example")];
        read(&formed).unwrap().mail.mail_from == "u@d.example"
    }),
    ("OTEL_EXPORTER_OTLP_ENDPOINT", "none", |s| s.process.traces.is_none()),
    ("OTEL_EXPORTER_OTLP_HEADERS", "none", |s| {
        format!("{:?}", s.process.traces).contains("headers: []")
    }),
    ("OTEL_RESOURCE_ATTRIBUTES", "none", |s| {
        format!("{:?}", s.process.traces).contains("resource: []")
    }),
    ("OTEL_TRACES_EXPORTER", "`otlp` where an endpoint is set, else none", |s| {
        let set = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318")];
        s.process.traces.is_none() && read(&set).unwrap().process.traces.is_some()
    }),
    ("KAFKA_MAX_POLL_INTERVAL_MS", "`300000`", |_| {
        read(&[("DRAIN_TIMEOUT", "299.9")]).is_ok() && read(&[("DRAIN_TIMEOUT", "300")]).is_err()
    }),
];

/// A line of the document's tables of settings.
#[derive(Debug)]
struct Row {
    name: String,
    default: String,
    /// What is expected, in the words of a refusal; none for properties of Kafka.
    takes: Option<String>,
    unit: String,
}

/// The environment in which these are set beside the least, or instead of it.
fn environment(more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = LEAST.iter().chain(more);
    pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    match path.to_str().unwrap() {
        "./.env.topics" => Ok(b"TOPIC_JOB_RUN_RESULT=from-the-file\n".to_vec()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn read(more: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    Settings::read(&environment(more), &read_file)
}

/// Reads with no topics file to hide defaults.
fn read_without_files(more: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    Settings::read(&environment(more), &|_| Err(io::ErrorKind::NotFound.into()))
}

/// What `mailjob settings --markdown` prints.
fn printed() -> String {
    mailjob::service::settings().settings_in_markdown()
}

/// What is printed, and the properties of Kafka.
fn rows() -> Vec<Row> {
    let mut all = rows_of(&printed());
    all.extend(rows_of(OF_EVERY_SERVICE).into_iter().filter(|row| row.takes.is_none()));
    all
}

/// The lines of each table whose first column is `setting`; a line that names two is two rows.
fn rows_of(document: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut columns: Option<Vec<&str>> = None;
    for line in document.lines() {
        let Some(line) = line.strip_prefix("| ") else {
            columns = columns.filter(|_| line.starts_with("|-"));
            continue;
        };
        let cells: Vec<_> = line.trim_end_matches('|').split('|').map(str::trim).collect();
        let Some(columns) = &columns else {
            columns = Some(cells);
            continue;
        };
        if columns[0] != "setting" {
            continue;
        }
        let cell = |name: &str| columns.iter().position(|it| *it == name).map(|at| cells[at]);
        for name in cells[0].split(", ") {
            rows.push(Row {
                name: name.trim_matches('`').to_owned(),
                default: cell("default").unwrap().to_owned(),
                takes: cell("takes").map(str::to_owned),
                unit: cell("unit").unwrap().to_owned(),
            });
        }
    }
    rows
}

/// Those of the service's own settings, without the files of secrets.
fn own_rows() -> Vec<Row> {
    let is_file = |name: &str| {
        let holds_a_secret =
            ["MAIL_DKIM_", "OTEL_", "PAGE_", "SMTP_"].iter().any(|it| name.starts_with(it));
        holds_a_secret && name.ends_with("_FILE")
    };
    rows().into_iter().filter(|row| row.takes.is_some() && !is_file(&row.name)).collect()
}

/// The text of a value in backticks.
fn literal(cell: &str) -> Option<&str> {
    let text = cell.strip_prefix('`')?.strip_suffix('`')?;
    (!text.contains('`')).then_some(text)
}

/// The lines of a document's tables of settings.
fn lines(document: &str) -> BTreeSet<&str> {
    let names = rows_of(document).into_iter().map(|row| format!("`{}`", row.name));
    let names: BTreeSet<_> = names.collect();
    let of_setting = |line: &&str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        cells.len() == 7 && cells[1].split(", ").all(|name| names.contains(name))
    };
    document.lines().filter(of_setting).collect()
}

#[test]
fn the_documents_have_the_lines_that_the_program_prints() {
    let (printed, own, common) = (printed(), lines(OPERATIONS), lines(OF_EVERY_SERVICE));
    let printed = lines(&printed);
    let undocumented: Vec<_> =
        printed.iter().filter(|line| !own.contains(*line) && !common.contains(*line)).collect();
    assert!(undocumented.is_empty(), "{undocumented:#?}");
    let unprinted: Vec<_> = own.difference(&printed).collect();
    assert!(unprinted.is_empty(), "{unprinted:#?}");
    let twice: Vec<_> = own.intersection(&common).collect();
    assert!(twice.is_empty(), "{twice:#?}");
    // Those of which the defaults are named after the service.
    let others = common.difference(&printed).count();
    assert!(others < 6, "{others} lines of docs/service.md are not printed");
}

#[test]
fn every_setting_is_documented_once_and_nothing_else_is() {
    let read = Settings::names(&environment(&[]), &read_file).unwrap();
    let read: BTreeSet<_> = read.into_iter().collect();
    let rows = rows();
    let documented: BTreeSet<_> = rows.iter().map(|row| row.name.clone()).collect();
    assert_eq!(documented.len(), rows.len(), "a setting is documented twice");
    let is_ours = |row: &&Row| row.takes.is_some() || read.contains(&row.name);
    let ours: BTreeSet<_> = rows.iter().filter(is_ours).map(|row| row.name.clone()).collect();
    assert_eq!(ours, read);
    assert!(read.len() > 35, "{read:?}");
}

#[test]
fn every_default_is_that_of_the_code() {
    for Row { name, default, takes, .. } in own_rows() {
        let base = environment_of(&name);
        let with = |value| read_without_files(&[base, &[(name.as_str(), value)]].concat());
        let unset = read_without_files(base).unwrap();
        let told = TOLD.iter().find(|(told, ..)| *told == name);
        if let Some((_, words, holds)) = told {
            assert_eq!(default, *words, "{name}");
            assert!(holds(&unset), "{name}: its default is not {default}");
        } else if default == "required" {
            let error = read(&[(&name, "")]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name}: found nothing")), "{error}");
        } else if let Some(other) = default.strip_prefix("as ") {
            assert_follows(&name, literal(other).unwrap());
        } else if name == "TOPICS_FILE" {
            let named = read(&[(&name, literal(&default).unwrap())]).unwrap();
            assert_eq!(format!("{named:?}"), format!("{:?}", read(&[]).unwrap()), "{name}");
        } else {
            let value = literal(&default).unwrap_or_else(|| panic!("{name}: default {default}"));
            let set = with(value).unwrap();
            assert_eq!(format!("{set:?}"), format!("{unset:?}"), "{name}: {default}");
            // Otherwise any default would seem to be true.
            if let Ok(other) = with(&another(&takes.unwrap(), value)) {
                assert_ne!(format!("{other:?}"), format!("{unset:?}"), "{name} has no effect here");
            }
        }
    }
}

/// What else must be set for a setting to have an effect.
fn environment_of(name: &str) -> &'static [(&'static str, &'static str)] {
    match name {
        _ if name.starts_with("JOB_LEDGER_") => {
            &[("JOB_DELIVERY", "exactly-once"), ("JOB_LEDGER", "kafka")]
        }
        "OTEL_EXPORTER_OTLP_ENDPOINT" | "OTEL_TRACES_EXPORTER" => &[],
        // As it is, and with a path besides, an endpoint is the same for gRPC alone.
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" => &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")],
        _ if name.starts_with("OTEL_") => &[("OTEL_TRACES_EXPORTER", "otlp")],
        _ if name.ends_with("_MIN_INSYNC_REPLICAS") => {
            &[("TOPIC_JOB_RUN_RESULT_CREATE_REPLICAS", "9")]
        }
        _ => &[],
    }
}

/// Another value of the kind that a setting takes.
fn another(takes: &str, value: &str) -> String {
    if takes.starts_with("a whole number") || takes.starts_with("seconds") {
        return (value.parse::<f64>().unwrap() + 1.0).to_string();
    }
    let mut words = takes.split(" or ");
    words.find(|word| takes.contains(" or ") && *word != value).unwrap_or("another").to_owned()
}

/// What `other` is set to, `name` has too.
fn assert_follows(name: &str, other: &str) {
    let (value, own) = match other {
        "EMAIL_DOMAIN" => ("d.example", "e.example"),
        "OTEL_EXPORTER_OTLP_ENDPOINT" => ("http://c:4317", "http://d:4317"),
        "OTEL_EXPORTER_OTLP_HEADERS" => ("a=1", "b=1"),
        "OTEL_EXPORTER_OTLP_PROTOCOL" => ("grpc", "http/protobuf"),
        _ => ("7", "8"),
    };
    let read = |more: &[_]| read(&[environment_of(name), more].concat());
    let followed = read(&[(other, value)]).unwrap();
    let set = read(&[(other, value), (name, value)]).unwrap();
    assert_eq!(format!("{set:?}"), format!("{followed:?}"), "{name} as {other}");
    let own = read(&[(other, value), (name, own)]).unwrap();
    assert_ne!(format!("{own:?}"), format!("{followed:?}"), "{name} has no effect");
}

#[test]
fn what_a_setting_takes_is_what_a_refusal_expects() {
    for Row { name, takes, .. } in own_rows() {
        let takes = takes.unwrap();
        let beside: &[_] = match name.as_str() {
            "MAIL_DKIM_KEY" => &[("MAIL_DKIM_SELECTOR", "s")],
            name if name.starts_with("MAIL_DKIM_") => {
                &[("MAIL_DKIM_KEY", DKIM_KEY), ("MAIL_DKIM_SELECTOR", "s")]
            }
            _ => &[("SMTP_USER", "u"), ("SMTP_PASSWORD", "p")],
        };
        match read(&[beside, &[(name.as_str(), NONSENSE)]].concat()) {
            Ok(_) => assert_eq!(takes, "text", "{name}"),
            Err(error) => {
                let text = error.to_string();
                // A secret is not shown.
                let found = match name.as_str() {
                    "MAIL_DKIM_KEY" => "no private key in PEM".to_owned(),
                    "PAGE_TOKEN" => format!("{} characters", NONSENSE.len()),
                    name if name.ends_with("_HEADERS") => "something else".to_owned(),
                    _ => format!("{NONSENSE:?}"),
                };
                let expected = format!("{name}: found {found}, expected {takes}");
                assert!(text.starts_with(&expected), "{name}: {takes}\n{text}");
                let rest = &text[expected.len()..];
                assert!(rest.is_empty() || rest.starts_with(':'), "{name}: {takes}\n{text}");
            }
        }
    }
}

#[test]
fn every_number_has_a_unit_and_nothing_else_has() {
    for Row { name, takes, unit, .. } in own_rows() {
        let takes = takes.unwrap();
        let is_port = name.ends_with("_PORT");
        let is_number = takes.starts_with("a whole number") && !is_port;
        assert_eq!(unit == "s", takes.starts_with("seconds"), "{name}: unit {unit}");
        assert_eq!(!unit.is_empty(), is_number || unit == "s", "{name}: unit {unit}");
    }
}

#[test]
fn the_properties_of_kafka_with_a_default_of_ours_are_documented() {
    let given: BTreeSet<_> = KAFKA_CONFIG
        .lines()
        .take_while(|line| !line.contains("cfg(test)"))
        .filter(|line| !line.contains(".set("))
        .flat_map(|line| line.split("(\"").skip(1))
        .filter_map(|rest| rest.split_once("\", \""))
        .filter_map(|(name, rest)| Some((name, rest.split_once("\")")?.0)))
        .map(|(name, value)| {
            let name = name.to_ascii_uppercase().replace('.', "_");
            (format!("KAFKA_{name}"), format!("`{value}`"))
        })
        .collect();
    let properties = rows().into_iter().filter(|row| row.takes.is_none());
    let documented: BTreeSet<_> = properties.map(|row| (row.name, row.default)).collect();
    assert_eq!(documented, given);
}
