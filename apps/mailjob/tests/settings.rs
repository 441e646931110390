//! The settings: where they come from, what they default to, and what ends the start.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use jobstream::kafka::NewTopic;
use jobstream::sinks::ledger::LedgerLimits;
use jobstream::sinks::smtp::TlsMode;
use jobstream::topology::{Ambiguous, Limits, Retry};
use mailjob::settings::{Delivery, LogFormat, Settings, SettingsError};
use mailjob::topology::Topics;
use tracing::Level;

/// The least with which the service starts.
const LEAST: [(&str, &str); 3] = [
    ("KAFKA_BROKERS", "kafka:9092"),
    ("MAIL_SERVER_HOST", "postfix"),
    ("MAIL_FROM", "a@b.example"),
];

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn read(environment: &[(&str, &str)], files: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let files = map(files);
    Settings::read(&map(environment), &|path: &Path| {
        let text = files.get(path.to_str().unwrap());
        text.map(|text| text.clone().into_bytes()).ok_or_else(|| io::ErrorKind::NotFound.into())
    })
}

/// The settings of the least environment with these beside it.
fn with(more: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    read(&[&LEAST[..], more].concat(), &[])
}

fn refusal(more: &[(&str, &str)]) -> String {
    let text = with(more).unwrap_err().to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn the_defaults_are_those_of_the_service_that_this_replaces() {
    let settings = with(&[]).unwrap();
    assert_eq!(settings.topics.topics, Topics::default());
    assert_eq!(settings.topics.group, "topic-job-run-consumer-emailexecutor");
    assert!(settings.topics.create);
    for topic in &settings.topics.outputs {
        assert_eq!((topic.partitions, topic.replicas), (1, 1));
    }
    assert_eq!(settings.job.workers, 1);
    assert_eq!(settings.job.delivery, Delivery::AtLeastOnce);
    assert_eq!(settings.job.retry, Retry::default());
    assert_eq!(settings.job.limits, Limits::default());
    assert_eq!(settings.job.limits.shutdown_timeout, Duration::from_secs(25));
    assert_eq!(settings.mail.relays[0].port, 25);
    assert_eq!(settings.mail.relays[0].tls, TlsMode::Opportunistic);
    assert_eq!(settings.mail.relays[0].login, None);
    assert_eq!(settings.process.metrics_address, None);
    assert_eq!(
        (settings.process.log.level, settings.process.log.format),
        (Level::INFO, LogFormat::Text)
    );
    assert_eq!(settings.process.warnings, [""; 0]);
}

#[test]
fn metrics_have_an_address_or_the_port_of_the_service_that_this_replaces() {
    let address = |more: &[(&str, &str)]| {
        with(more).unwrap().process.metrics_address.map(|address| address.to_string())
    };
    let port = ("EMAIL_SERVICE_PORT", "8082");
    for (more, expected) in [
        (&[port] as &[_], "0.0.0.0:8082"),
        (&[port, ("METRICS_ADDRESS", "127.0.0.1")], "127.0.0.1:8082"),
        (&[port, ("METRICS_ADDRESS", "::1")], "[::1]:8082"),
        (&[port, ("METRICS_ADDRESS", "127.0.0.1:0")], "127.0.0.1:0"),
        (&[("METRICS_ADDRESS", "[::]:9090")], "[::]:9090"),
    ] {
        assert_eq!(address(more).as_deref(), Some(expected), "{more:?}");
    }
}

#[test]
fn the_shipped_topics_file_says_what_the_defaults_are() {
    let shipped = include_str!("../../../.env.topics");
    let with_file = read(&LEAST, &[("./.env.topics", shipped)]).unwrap();
    let without = with(&[]).unwrap();
    assert_eq!(with_file.topics.topics, without.topics.topics);
    assert_eq!(with_file.topics.group, without.topics.group);
    assert_eq!(with_file.topics.outputs, without.topics.outputs);
    assert_eq!(with_file.process.warnings, without.process.warnings);
}

#[test]
fn the_environment_goes_before_dotenv_and_dotenv_before_the_topics_file() {
    let environment = [&LEAST[..], &[("TOPIC_JOB_RUN", "one"), ("LOGLEVEL", "")]].concat();
    let files = [
        (".env", "TOPIC_JOB_RUN=two\nTOPIC_JOB_RUN_RESULT=\"two-r\"\nTOPICS_FILE=t\nLOGLEVEL=warn"),
        ("t", "TOPIC_JOB_RUN=three\nTOPIC_JOB_RUN_RESULT=three-r\nTOPIC_JOB_RUN_DEAD_LETTER='d'"),
    ];
    let settings = read(&environment, &files).unwrap();
    let Topics { jobs, results, dead_letters } = settings.topics.topics;
    assert_eq!([&*jobs, &*results, &*dead_letters], ["one", "two-r", "d"]);
    assert_eq!(settings.process.log.level, Level::WARN, "an empty value is no value");
}

#[test]
fn a_topics_file_that_is_named_and_missing_ends_the_start() {
    let text = refusal(&[("TOPICS_FILE", "no/such/file")]);
    assert!(text.starts_with("TOPICS_FILE: found \"no/such/file\", expected a file"), "{text}");
}

#[test]
fn quotes_around_a_value_of_the_environment_are_taken_off_except_around_a_secret() {
    let settings = with(&[
        ("MAIL_TLS", "\"starttls\""),
        ("SMTP_LOGIN", "\"user\""),
        ("SMTP_PASSWORD", "'secret'"),
    ]);
    let mail = settings.unwrap().mail;
    assert_eq!(mail.relays[0].tls, TlsMode::StartTls);
    assert_eq!(mail.relays[0].login.clone().unwrap().password.expose(), "'secret'");
}

#[test]
fn each_setting_that_is_required_is_named_when_it_is_missing() {
    for (missing, _) in LEAST {
        let rest: Vec<_> = LEAST.into_iter().filter(|(name, _)| *name != missing).collect();
        let text = read(&rest, &[]).unwrap_err().to_string();
        assert!(text.starts_with(&format!("{missing}: found nothing, expected ")), "{text}");
    }
}

#[test]
fn a_wrong_value_is_named_with_what_is_expected() {
    let long_topic = "x".repeat(250);
    for (name, value, expected) in [
        ("KAFKA_BROKERS", "a:1,,b:2", "the brokers as host:port"),
        ("MAIL_SERVER_PORT", "smtp", "a whole number from 1 to 65535"),
        ("MAIL_SERVER_PORT", "0", "a whole number from 1 to 65535"),
        ("EMAIL_SERVICE_PORT", "65536", "a whole number from 1 to 65535"),
        ("METRICS_ADDRESS", "127.0.0.1", "an address as ip:port"),
        ("TOPIC_JOB_RUN", "a b", "a topic's name"),
        ("TOPIC_JOB_RUN", &long_topic, "a topic's name"),
        ("TOPIC_JOB_RUN_RESULT", "topic-job-run", "another topic than TOPIC_JOB_RUN"),
        ("TOPIC_JOB_RUN_CONSUMER_WORKER_COUNT", "0", "a whole number from 1 to 256"),
        ("TOPIC_JOB_RUN_RESULT_CREATE_PARTITIONS", "-1", "a whole number from 1 to"),
        ("TOPIC_JOB_RUN_RESULT_CREATE_REPLICAS", "many", "a whole number from 1 to"),
        ("TOPIC_CREATE", "maybe", "true or false"),
        ("JOB_DELIVERY", "twice", "at-least-once or exactly-once"),
        ("JOB_AMBIGUOUS", "drop", "resend or park"),
        ("JOB_IN_FLIGHT", "0", "a whole number from 1 to"),
        ("JOB_RETRY_ATTEMPTS", "0", "a whole number from 1 to"),
        ("JOB_RETRY_DEADLINE", "-1", "seconds from 0 to"),
        ("JOB_RETRY_DELAY", "NaN", "seconds from 0.001 to"),
        ("SHUTDOWN_TIMEOUT", "25s", "seconds from 0 to"),
        ("MAIL_CONNECTIONS", "0", "a whole number from 1 to"),
        ("MAIL_RATE", "0", "a whole number from 1 to"),
        ("MAIL_TLS", "ssl", "opportunistic or starttls or implicit or none"),
        ("MAIL_FROM", "nobody", "an address"),
        ("MAIL_ALLOWED_FROM_DOMAINS", "a..b", "domains, separated by commas"),
        ("MAIL_ALLOW_PLAINTEXT_AUTH", "1", "true or false"),
        ("INSTANCE_ID", "pod/1", "up to 200 of"),
        ("LOGLEVEL", "loud", "ERROR or WARN"),
        ("LOG_FORMAT", "xml", "text or json"),
    ] {
        let mut environment = map(&LEAST);
        environment.insert(name.to_owned(), value.to_owned());
        let error = Settings::read(&environment, &|_| Err(io::ErrorKind::NotFound.into()));
        let text = error.unwrap_err().to_string();
        assert!(text.starts_with(&format!("{name}: found \"")), "{text}");
        assert!(text.contains(&format!("expected {expected}")), "{text}");
    }
}

#[test]
fn settings_that_do_not_go_together_end_the_start() {
    let text = refusal(&[("DRAIN_TIMEOUT", "300")]);
    assert!(text.contains("DRAIN_TIMEOUT") && text.contains("max.poll.interval.ms"), "{text}");
    let text = refusal(&[("JOB_RETRY_DELAY", "9"), ("JOB_RETRY_DELAY_MAX", "8")]);
    assert!(text.starts_with("JOB_RETRY_DELAY_MAX: found 8 s, expected at least"), "{text}");
}

#[test]
fn a_ledger_needs_exactly_once_delivery_and_has_limits_of_its_own() {
    let text = refusal(&[("JOB_LEDGER", "kafka")]);
    assert!(text.starts_with("JOB_LEDGER: found \"kafka\" with JOB_DELIVERY"), "{text}");
    let exactly_once = [("JOB_LEDGER", "kafka"), ("JOB_DELIVERY", "exactly-once")];
    let ledger = |more: &[(&str, &str)]| with(&[&exactly_once[..], more].concat()).unwrap();
    assert_eq!(ledger(&[]).job.ledger, Some(LedgerLimits::default()));
    let limited = ledger(&[("JOB_LEDGER_RETENTION", "90"), ("JOB_LEDGER_ENTRIES", "5")]);
    let in_doubt = ledger(&[("JOB_LEDGER_IN_DOUBT", "1024")]).job.ledger.unwrap().in_doubt_max;
    assert_eq!((LedgerLimits::default().in_doubt_max, in_doubt), (256, 1024));
    let limits = limited.job.ledger.unwrap();
    assert_eq!((limits.retention, limits.entries_max), (Duration::from_secs(90), 5));
    assert_eq!(with(&[("JOB_LEDGER", "none")]).unwrap().job.ledger, None);
    assert_eq!(with(&[]).unwrap().job.ledger, None);
}

#[test]
fn the_ledgers_topic_is_compacted() {
    let settings = with(&[("TOPIC_JOB_RUN_LEDGER_CREATE_REPLICAS", "3")]).unwrap();
    let ledger = &settings.topics.ledger;
    assert_eq!((&*ledger.name, ledger.replicas), ("topic-job-run-ledger", 3));
    assert_eq!(ledger.settings, [("cleanup.policy".to_owned(), "compact".to_owned())]);
}

#[test]
fn no_two_topics_are_the_same_and_both_variables_are_named() {
    let names = [
        "TOPIC_JOB_RUN",
        "TOPIC_JOB_RUN_RESULT",
        "TOPIC_JOB_RUN_DEAD_LETTER",
        "TOPIC_JOB_RUN_LEDGER",
    ];
    for (index, second) in names.iter().enumerate() {
        for first in &names[..index] {
            let text = refusal(&[(first, "one"), (second, "one")]);
            let expected = format!("{second}: found \"one\", expected another topic than {first}");
            assert_eq!(text, expected);
        }
    }
    let default = refusal(&[("TOPIC_JOB_RUN_DEAD_LETTER", "topic-job-run-result")]);
    assert!(default.ends_with("expected another topic than TOPIC_JOB_RUN_RESULT"), "{default}");
}

#[test]
fn times_are_in_seconds() {
    let settings = with(&[("SHUTDOWN_TIMEOUT", "0.5"), ("JOB_RETRY_DEADLINE", "90")]).unwrap();
    assert_eq!(settings.job.limits.shutdown_timeout, Duration::from_millis(500));
    assert_eq!(settings.job.retry.deadline, Duration::from_secs(90));
}

#[test]
fn the_words_of_choices_are_taken_in_any_case() {
    let settings = with(&[
        ("JOB_DELIVERY", "Exactly-Once"),
        ("JOB_AMBIGUOUS", "PARK"),
        ("LOGLEVEL", "debug"),
        ("LOG_FORMAT", "JSON"),
        ("MAIL_TLS", "Implicit"),
    ]);
    let settings = settings.unwrap();
    assert_eq!(settings.job.delivery, Delivery::ExactlyOnce);
    assert_eq!(settings.job.retry.ambiguous, Ambiguous::Park);
    assert_eq!(
        (settings.process.log.level, settings.process.log.format),
        (Level::DEBUG, LogFormat::Json)
    );
    assert_eq!(settings.mail.relays[0].tls, TlsMode::Implicit);
}

#[test]
fn dead_letters_get_as_many_replicas_as_results() {
    let more = [
        ("TOPIC_JOB_RUN_RESULT_CREATE_PARTITIONS", "6"),
        ("TOPIC_JOB_RUN_RESULT_CREATE_REPLICAS", "3"),
        ("TOPIC_JOB_RUN_DEAD_LETTER_CREATE_PARTITIONS", "2"),
    ];
    let [results, dead_letters] = with(&more).unwrap().topics.outputs;
    assert_eq!((results.partitions, results.replicas), (6, 3));
    assert_eq!((dead_letters.partitions, dead_letters.replicas), (2, 3));
}

#[test]
fn as_many_replicas_must_be_in_sync_as_is_set_and_never_more_than_there_are() {
    let in_sync = |more: &[(&str, &str)]| -> Vec<_> {
        let topics = with(more).unwrap().topics;
        let [results, dead_letters] = topics.outputs;
        let of = |topic: &NewTopic| {
            let found = topic.settings.iter().find(|(name, _)| name == "min.insync.replicas");
            found.map(|(_, value)| value.clone())
        };
        [results, dead_letters, topics.ledger].iter().map(of).collect()
    };
    let (two, one) = (Some("2".to_owned()), Some("1".to_owned()));
    let three = ("TOPIC_JOB_RUN_RESULT_CREATE_REPLICAS", "3");
    let results = ("TOPIC_JOB_RUN_RESULT_CREATE_MIN_INSYNC_REPLICAS", "2");
    assert_eq!(in_sync(&[three]), [None, None, None]);
    assert_eq!(in_sync(&[three, results]), [two.clone(), two.clone(), None]);
    let fewer = ("TOPIC_JOB_RUN_DEAD_LETTER_CREATE_REPLICAS", "1");
    assert_eq!(in_sync(&[three, results, fewer]), [two.clone(), one, None]);
    let ledger = [
        ("TOPIC_JOB_RUN_LEDGER_CREATE_REPLICAS", "3"),
        ("TOPIC_JOB_RUN_LEDGER_CREATE_MIN_INSYNC_REPLICAS", "2"),
    ];
    assert_eq!(in_sync(&ledger), [None, None, two]);
    let text = refusal(&[results]);
    let expected = "TOPIC_JOB_RUN_RESULT_CREATE_MIN_INSYNC_REPLICAS: found \"2\", expected at most \
                    TOPIC_JOB_RUN_RESULT_CREATE_REPLICAS, which is 1";
    assert_eq!(text, expected);
}

/// The environment of the service that this replaces, and one setting more.
fn original(more: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    let environment = [
        ("KAFKA_BROKERS", "e-kafka1:9092"),
        ("MAIL_SERVER_HOST", "postfix"),
        ("EMAIL_DOMAIN", "example.com"),
        ("SMTP_USER", "user"),
        ("SMTP_PASSWORD", "password"),
    ];
    read(&[&environment[..], more].concat(), &[])
}

#[test]
fn login_sender_and_domains_are_formed_from_the_originals_settings() {
    let mail = original(&[]).unwrap().mail;
    assert_eq!(mail.relays[0].login.as_ref().unwrap().user, "user@example.com");
    assert_eq!(mail.mail_from, "user@example.com");
    assert_eq!(mail.allowed_from_domains, ["example.com"]);

    let own = original(&[
        ("SMTP_LOGIN", "AKIA"),
        ("MAIL_FROM", "noreply@b.example"),
        ("MAIL_ALLOWED_FROM_DOMAINS", "a.example, b.example"),
    ]);
    let mail = own.unwrap().mail;
    assert_eq!(mail.relays[0].login.as_ref().unwrap().user, "AKIA");
    assert_eq!(mail.mail_from, "noreply@b.example");
    assert_eq!(mail.allowed_from_domains, ["a.example", "b.example"]);
}

#[test]
fn a_password_and_no_tls_need_leave() {
    let text = original(&[("MAIL_TLS", "none")]).unwrap_err().to_string();
    assert!(text.starts_with("MAIL_TLS: found \"none\""), "{text}");
    assert!(text.contains("MAIL_ALLOW_PLAINTEXT_AUTH=true"), "{text}");
    let allowed = original(&[("MAIL_TLS", "none"), ("MAIL_ALLOW_PLAINTEXT_AUTH", "true")]);
    assert!(allowed.unwrap().mail.relays[0].allow_plaintext_auth);
}

#[test]
fn half_a_login_is_named() {
    let text = refusal(&[("SMTP_PASSWORD", "secret")]);
    assert!(text.starts_with("SMTP_USER: ") && !text.contains("\"secret\""), "{text}");
    let text = refusal(&[("SMTP_LOGIN", "user")]);
    assert!(text.starts_with("SMTP_PASSWORD: "), "{text}");
    let settings = with(&[("SMTP_USER", "a@b.example")]).unwrap();
    assert_eq!(settings.mail.relays[0].login, None);
    assert_eq!(settings.process.warnings.len(), 1, "{:?}", settings.process.warnings);
}

#[test]
fn a_secret_comes_from_a_file_too_but_not_from_both() {
    let files = [("p", "s3cret\n"), ("k", "pass word\r\n")];
    let more = [
        ("SMTP_USER", "a@b.example"),
        ("SMTP_PASSWORD_FILE", "p"),
        ("KAFKA_SASL_PASSWORD_FILE", "k"),
    ];
    let settings = read(&[&LEAST[..], &more].concat(), &files).unwrap();
    assert_eq!(settings.mail.relays[0].login.clone().unwrap().password.expose(), "s3cret");
    assert_eq!(settings.process.kafka.properties().collect::<Vec<_>>(), ["sasl.password"]);
    assert_eq!(settings.process.warnings, [""; 0]);

    for name in ["SMTP_PASSWORD", "KAFKA_SASL_PASSWORD"] {
        let file = format!("{name}_FILE");
        let both = [&LEAST[..], &more[..1], &[(name, "x"), (&*file, "p")]].concat();
        let text = read(&both, &files).unwrap_err().to_string();
        assert_eq!(text, format!("{name}: found both {name} and {file}, expected one of them"));
    }
    let text = refusal(&[("SMTP_USER", "a@b.example"), ("SMTP_PASSWORD_FILE", "none")]);
    assert!(text.starts_with("SMTP_PASSWORD_FILE: found \"none\""), "{text}");
}

#[test]
fn any_name_of_kafka_sets_the_property_that_it_spells() {
    let more = [("KAFKA_SECURITY_PROTOCOL", "SASL_SSL"), ("KAFKA_COMPRESSION_TYPE", "zstd")];
    let settings = with(&more).unwrap();
    let properties: Vec<_> = settings.process.kafka.properties().collect();
    assert_eq!(properties, ["compression.type", "security.protocol"]);
}

#[test]
fn properties_that_the_promises_rest_on_end_the_start() {
    for name in [
        "KAFKA_ACKS",
        "KAFKA_REQUEST_REQUIRED_ACKS",
        "KAFKA_ENABLE_AUTO_COMMIT",
        "KAFKA_ENABLE_AUTO_OFFSET_STORE",
        "KAFKA_ENABLE_IDEMPOTENCE",
        "KAFKA_ISOLATION_LEVEL",
        "KAFKA_GROUP_ID",
        "KAFKA_GROUP_INSTANCE_ID",
        "KAFKA_TRANSACTIONAL_ID",
        "KAFKA_BOOTSTRAP_SERVERS",
    ] {
        let text = refusal(&[(name, "1")]);
        assert!(text.starts_with(&format!("{name}: found the property ")), "{text}");
    }
}

#[test]
fn unknown_names_only_warn() {
    let settings = with(&[("MAIL_SERVER", "x"), ("JOB_RETRIES", "3"), ("PATH", "/bin")]).unwrap();
    let warned = ["JOB_RETRIES: unknown setting", "MAIL_SERVER: unknown setting"];
    assert_eq!(settings.process.warnings, warned);
}

#[test]
fn an_authority_that_is_none_is_named() {
    let environment = [&LEAST[..], &[("MAIL_TLS_CA_FILE", "ca")]].concat();
    let text = read(&environment, &[("ca", "no certificate")]).unwrap_err().to_string();
    assert!(text.starts_with("MAIL_TLS_CA_FILE: found "), "{text}");
}

#[test]
fn no_secret_is_shown() {
    let more = [
        ("SMTP_USER", "a@b.example"),
        ("SMTP_PASSWORD", "s3cret"),
        ("KAFKA_SASL_PASSWORD", "s3cret"),
        ("OTEL_TRACES_EXPORTER", "otlp"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=s3cret"),
    ];
    assert!(!format!("{:?}", with(&more).unwrap()).contains("s3cret"));
    let text = refusal(&[("OTEL_EXPORTER_OTLP_HEADERS", "s3cret")]);
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn traces_are_off_unless_an_exporter_or_an_endpoint_is_set() {
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
    for (more, is_on) in [
        (&[][..], false),
        (&[("OTEL_SERVICE_NAME", "mailer")], false),
        (&[("OTEL_TRACES_EXPORTER", "otlp")], true),
        (&[endpoint], true),
        (&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "https://collector/traces")], true),
        (&[endpoint, ("OTEL_TRACES_EXPORTER", "none")], false),
        (&[endpoint, ("OTEL_SDK_DISABLED", "true")], false),
        (&[("OTEL_TRACES_EXPORTER", "none"), ("OTEL_UNHEARD_OF", "x")], false),
    ] {
        let settings = with(more).unwrap();
        assert_eq!(settings.process.traces.is_some(), is_on, "{more:?}");
        assert_eq!(settings.process.warnings, [""; 0]);
    }
}
