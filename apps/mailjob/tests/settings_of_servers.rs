//! The settings that say where servers are and how to speak with them: what no server could be
//! reached by, or what would be lost in silence, ends the start.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use mailjob::settings::{Settings, SettingsError};

/// The least with which the service starts.
const LEAST: [(&str, &str); 3] = [
    ("KAFKA_BROKERS", "kafka:9092"),
    ("MAIL_SERVER_HOST", "postfix"),
    ("MAIL_FROM", "a@b.example"),
];

/// The least environment with these beside it, or instead of it.
fn environment(more: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = LEAST.iter().chain(more);
    pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn with(more: &[(&str, &str)]) -> Result<Settings, SettingsError> {
    Settings::read(&environment(more), &|_| Err(io::ErrorKind::NotFound.into()))
}

fn refusal(more: &[(&str, &str)]) -> String {
    let text = with(more).unwrap_err().to_string();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn brokers_are_addresses_and_nothing_that_librdkafka_would_pass_over() {
    for (brokers, taken) in [
        ("a:1, b.example.com:65535", "a:1,b.example.com:65535"),
        ("[::1]:9092,kafka_1", "[::1]:9092,kafka_1"),
    ] {
        let settings = with(&[("KAFKA_BROKERS", brokers)]).unwrap();
        assert!(format!("{:?}", settings.kafka).contains(&format!("{taken:?}")), "{brokers}");
    }
    for (brokers, found) in [
        ("PLAINTEXT://a:9092", "PLAINTEXT://a:9092"),
        ("a:1,http://b:2/", "http://b:2/"),
        ("a:1;b:2", "a:1;b:2"),
        ("a:1,b:99999", "b:99999"),
        ("a:1 b:2", "a:1 b:2"),
        ("[a:1,b:2]", "[a:1"),
        ("a:1,[::1:9092", "[::1:9092"),
        ("::1:9092", "::1:9092"),
        ("a:1,", "a:1,"),
        ("a:", "a:"),
    ] {
        let text = refusal(&[("KAFKA_BROKERS", brokers)]);
        let expected = format!("KAFKA_BROKERS: found {found:?}, expected the brokers as host:port");
        assert!(text.starts_with(&expected), "{text}");
    }
}

#[test]
fn a_mail_server_has_its_port_in_one_setting_and_no_mode_of_tls_takes_a_url() {
    for (host, port, expected) in [
        ("mail", None, ("mail", 25)),
        ("mail", Some("26"), ("mail", 26)),
        ("mail.example.com:587", None, ("mail.example.com", 587)),
        ("192.0.2.1:465", None, ("192.0.2.1", 465)),
        ("[2001:db8::1]:465", None, ("2001:db8::1", 465)),
        ("[::1]", Some("26"), ("::1", 26)),
        ("::1", None, ("::1", 25)),
    ] {
        let port = port.map(|port| ("MAIL_SERVER_PORT", port));
        let more: Vec<_> = port.into_iter().chain([("MAIL_SERVER_HOST", host)]).collect();
        let mail = with(&more).unwrap().mail;
        assert_eq!((&*mail.host, mail.port), expected, "{more:?}");
    }
    let both = refusal(&[("MAIL_SERVER_HOST", "mail:587"), ("MAIL_SERVER_PORT", "587")]);
    let expected =
        "MAIL_SERVER_HOST: found \"mail:587\" beside MAIL_SERVER_PORT, expected the port";
    assert!(both.starts_with(expected), "{both}");
    for tls in ["none", "opportunistic", "starttls", "implicit"] {
        for host in
            ["smtp://mail:25", "mail server", "mail\t", "mail:0", "[mail]:25", "mail/", "a@mail"]
        {
            let text = refusal(&[("MAIL_SERVER_HOST", host), ("MAIL_TLS", tls)]);
            let expected = format!("MAIL_SERVER_HOST: found {host:?}, expected a host's name");
            assert!(text.starts_with(&expected), "{tls}: {text}");
        }
    }
}

#[test]
fn a_partition_never_stands_still_for_its_reset_and_no_log_level_hides_a_reset() {
    for (name, values) in [
        ("KAFKA_AUTO_OFFSET_RESET", ["error", "none", "EARLIEST"]),
        ("KAFKA_LOG_LEVEL", ["3", "0", "info"]),
    ] {
        for value in values {
            let text = refusal(&[(name, value)]);
            let expected = format!("{name}: found {value:?}, expected ");
            assert!(text.starts_with(&expected), "{text}");
        }
    }
    for (reset, warnings) in [("earliest", 0), ("latest", 1), ("end", 1)] {
        let settings = with(&[("KAFKA_AUTO_OFFSET_RESET", reset), ("KAFKA_LOG_LEVEL", "6")]);
        let warned = jobstream_service::accept(&settings.unwrap().kafka).unwrap().warnings;
        assert_eq!(warned.len(), warnings, "{reset}: {warned:?}");
        for warning in warned {
            assert!(
                warning.starts_with("KAFKA_AUTO_OFFSET_RESET: records can be lost"),
                "{warning}"
            );
        }
    }
}

#[test]
fn what_an_editor_writes_before_a_secret_is_no_part_of_it() {
    let utf_16: Vec<u8> = "s3cret".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked_utf_16 = [&[0xff, 0xfe], &*utf_16].concat();
    for (file, found) in [
        (b"\xef\xbb\xbfs3cret".to_vec(), "a byte order mark"),
        (utf_16, "UTF-16"),
        (marked_utf_16, "UTF-16 with a byte order mark"),
    ] {
        for name in ["SMTP_PASSWORD_FILE", "KAFKA_SASL_PASSWORD_FILE"] {
            let environment = environment(&[("SMTP_USER", "u@b.example"), (name, "p")]);
            let refused = Settings::read(&environment, &|path: &Path| {
                let is_secret = path.to_str() == Some("p");
                is_secret.then(|| file.clone()).ok_or_else(|| io::ErrorKind::NotFound.into())
            });
            let text = refused.unwrap_err().to_string();
            assert!(text.starts_with(&format!("{name}: found ")) && text.contains(found), "{text}");
            assert!(!text.contains("s3cret") && text.lines().count() == 1, "{text}");
        }
    }
    let text = refusal(&[("SMTP_USER", "u@b.example"), ("SMTP_PASSWORD", "\u{feff}s3cret")]);
    assert!(text.starts_with("SMTP_PASSWORD: found a byte order mark"), "{text}");
}

#[test]
fn statistics_that_come_too_rarely_for_readiness_are_warned_of() {
    for (interval, is_warned) in [("200", false), ("10000", false), ("0", true), ("60000", true)] {
        let settings = with(&[("KAFKA_STATISTICS_INTERVAL_MS", interval)]).unwrap();
        let warned = jobstream_service::accept(&settings.kafka).unwrap().warnings;
        let is_named = |it: &String| it.starts_with("KAFKA_STATISTICS_INTERVAL_MS: found ");
        assert_eq!(warned.iter().any(is_named), is_warned, "{interval}: {warned:?}");
    }
}
