//! The settings that say where servers are and how to speak with them: what no server could be
//! reached by, or what would be lost in silence, ends the start.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use jobstream::sinks::smtp::{Login, RelayConfig, TlsMode};
use mailjob::settings::{Settings, SettingsError};
use proptest::{prop_assert, proptest};

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
        assert!(
            format!("{:?}", settings.process.kafka).contains(&format!("{taken:?}")),
            "{brokers}"
        );
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
        assert_eq!((&*mail.relays[0].host, mail.relays[0].port), expected, "{more:?}");
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
fn several_mail_servers_stand_in_order_and_none_twice() {
    let names = |more: &[(&str, &str)]| -> Vec<String> {
        with(more).unwrap().mail.relays.iter().map(RelayConfig::name).collect()
    };
    let hosts = ("MAIL_SERVER_HOST", "mx1:587, [2001:db8::1]:465,mx2");
    assert_eq!(names(&[hosts]), ["mx1:587", "[2001:db8::1]:465", "mx2:25"]);
    let port = ("MAIL_SERVER_PORT", "26");
    assert_eq!(names(&[hosts, port]), ["mx1:587", "[2001:db8::1]:465", "mx2:26"]);
    let login = [("SMTP_USER", "u@b.example"), ("SMTP_PASSWORD", "s3cret")];
    let all = with(&[&[hosts][..], &login].concat()).unwrap().mail.relays;
    assert!(all.iter().all(|relay| relay.login == Some(Login::new("u@b.example", "s3cret"))));
    let many = vec!["mx"; 17].join(",");
    for (hosts, expected) in [
        ("mx1,mx1:25", "MAIL_SERVER_HOST: found mx1:25 twice, expected each server once"),
        ("mx1,MX1", "MAIL_SERVER_HOST: found MX1:25 twice, expected each server once"),
        ("mx1,", "MAIL_SERVER_HOST: found \"mx1,\", expected a host's name"),
        ("mx1,,mx2", "MAIL_SERVER_HOST: found \"mx1,,mx2\", expected a host's name"),
        ("mx1,a@b", "MAIL_SERVER_HOST: found \"mx1,a@b\", expected a host's name"),
        (&many, "MAIL_SERVER_HOST: found \"mx,"),
    ] {
        let text = refusal(&[("MAIL_SERVER_HOST", hosts)]);
        assert!(text.starts_with(expected), "{text}");
    }
    let both = refusal(&[("MAIL_SERVER_HOST", "mx1:1,mx2:2"), port]);
    assert!(both.contains("beside MAIL_SERVER_PORT"), "{both}");
}

/// What the settings are with a login for all, two servers and this file of relays.
fn with_relays(text: &str) -> Result<Settings, SettingsError> {
    let more = [
        ("MAIL_SERVER_HOST", "mx1,mx2:587"),
        ("MAIL_RELAYS_FILE", "relays.toml"),
        ("SMTP_USER", "u@b.example"),
        ("SMTP_PASSWORD", "s3cret"),
    ];
    let pem = include_str!("../../../tests/keys/rsa.pem");
    Settings::read(&environment(&more), &|path: &Path| match path.to_str() {
        Some("relays.toml") => Ok(text.as_bytes().to_vec()),
        Some("password") => Ok(b"of-mx2-s3cret\n".to_vec()),
        Some("key.pem") => Ok(pem.as_bytes().to_vec()),
        _ => Err(io::ErrorKind::NotFound.into()),
    })
}

#[test]
fn a_file_says_what_is_so_for_one_mail_server_and_not_for_all() {
    let text = "[\"mx1\"]\nlogin = false\n\n['mx2:587']\ntls = 'starttls'\nuser = 'AKIA'\n\
                password_file = 'password'\nconnections = 20\nrate = 0x0e\n";
    let relays = with_relays(text).unwrap().mail.relays;
    let [first, second] = &relays[..] else { panic!("{relays:?}") };
    assert_eq!((&first.login, first.tls), (&None, TlsMode::Opportunistic));
    assert_eq!(first.connections_max.get(), 8);
    assert_eq!(second.login, Some(Login::new("AKIA", "of-mx2-s3cret")));
    assert_eq!((second.tls, second.connections_max.get()), (TlsMode::StartTls, 20));
    assert_eq!(second.mails_per_second_max.map(std::num::NonZero::get), Some(14));
    let unsaid = with_relays("# nothing\n").unwrap().mail.relays;
    assert!(unsaid.iter().all(|relay| relay.login.is_some()));
}

#[test]
fn what_a_file_of_relays_can_not_say_is_named_with_its_line_and_key_and_no_secret() {
    for (text, expected) in [
        ("[mx1]\nlogin = no\n", "MAIL_RELAYS_FILE, line 2: found no TOML ("),
        ("\n[mx3]\n", "MAIL_RELAYS_FILE, line 2, mx3: found a server that is not there, expected"),
        ("[\"mx2:25\"]\n", "MAIL_RELAYS_FILE, line 1, mx2:25: found a server that is not there"),
        ("mx1 = 's3cret'\n", "MAIL_RELAYS_FILE, line 1, mx1: found a string of that name, exp"),
        ("[mx2]\n[\"mx2:587\"]\n", "MAIL_RELAYS_FILE, line "),
        ("[mx1]\npass = 's3cret'\n", "MAIL_RELAYS_FILE, line 2, pass: found a key that is none, "),
        ("[mx1]\nuser = 's3cret'\n", "MAIL_RELAYS_FILE, line 1, password: found nothing, expected"),
        ("[mx1]\npassword = 's3cret'", "MAIL_RELAYS_FILE, line 1, user: found nothing, expected"),
        ("[mx1]\npassword = 5", "MAIL_RELAYS_FILE, line 2, password: found a whole number, exp"),
        ("[mx1]\nuser = ''", "MAIL_RELAYS_FILE, line 2, user: found nothing, expected a text"),
        (
            "[mx1]\nuser = 'u'\npassword = 's3cret'\npassword_file = 'password'\n",
            "MAIL_RELAYS_FILE, line ",
        ),
        ("[mx1]\nlogin = false\nuser = 'u'", "MAIL_RELAYS_FILE, line 1, login: found false besi"),
        ("[mx1]\ntls = 'ssl'", "MAIL_RELAYS_FILE, line 2, tls: found \"ssl\", expected opport"),
        ("[mx1]\ntls = 'none'", "MAIL_RELAYS_FILE, line 1, tls: found \"none\" beside a login"),
        ("[mx1]\nrate = 0", "MAIL_RELAYS_FILE, line 2, rate: found 0, expected a whole number"),
        ("[mx1]\nrate = -1", "MAIL_RELAYS_FILE, line 2, rate: found -1, expected a whole num"),
        ("[mx1]\nconnections = 1.5", "MAIL_RELAYS_FILE, line 2, connections: found a number wi"),
        ("[mx1]\ntls_ca_file = 'x'", "MAIL_RELAYS_FILE, line 2, tls_ca_file: found \"x\", exp"),
        ("[mx1]\ntls_ca_file = 'key.pem'", "MAIL_RELAYS_FILE, line 1, tls_ca_file: found no cer"),
        ("[mx1]\npassword_file = 'x'", "MAIL_RELAYS_FILE, line 2, password_file: found \"x\", e"),
    ] {
        let found = with_relays(text).unwrap_err().to_string();
        assert!(found.starts_with(expected), "{text}: {found}");
        assert!(!found.contains("s3cret") && found.lines().count() == 1, "{found}");
    }
    let missing = refusal(&[("MAIL_RELAYS_FILE", "relays.toml")]);
    assert!(missing.starts_with("MAIL_RELAYS_FILE: found \"relays.toml\", exp"), "{missing}");
}

proptest! {
    #[test]
    fn no_file_of_relays_ends_otherwise_than_by_an_error(text in "\\PC{0,60}|[\\[\\]\"'=.#a-z0-9\n ]{0,80}") {
        let read = with_relays(&text);
        prop_assert!(read.is_ok() || read.unwrap_err().to_string().lines().count() == 1);
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
        let warned =
            jobstream_service::settings::accept(&settings.unwrap().process.kafka).unwrap().warnings;
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
        let warned = jobstream_service::settings::accept(&settings.process.kafka).unwrap().warnings;
        let is_named = |it: &String| it.starts_with("KAFKA_STATISTICS_INTERVAL_MS: found ");
        assert_eq!(warned.iter().any(is_named), is_warned, "{interval}: {warned:?}");
    }
}

#[test]
fn a_key_needs_a_selector_and_takes_the_domain_of_the_sender() {
    const KEY: &str = include_str!("../../../tests/keys/ed25519.pem");
    let key = ("MAIL_DKIM_KEY", KEY);
    let dkim = with(&[key, ("MAIL_DKIM_SELECTOR", "s.2024")]).unwrap().mail.dkim.unwrap();
    assert_eq!(dkim.record_name(), "s.2024._domainkey.b.example");
    let escaped = KEY.replace('\n', "\\n");
    let more = [("MAIL_DKIM_SELECTOR", "s"), ("MAIL_DKIM_DOMAIN", "Mail.b\u{fc}cher.example")];
    let settings = with(&[&[("MAIL_DKIM_KEY", &*escaped)], &more[..]].concat()).unwrap();
    let dkim = settings.mail.dkim.unwrap();
    assert_eq!(dkim.record_name(), "s._domainkey.mail.xn--bcher-kva.example");
    assert!(settings.process.warnings.is_empty(), "{:?}", settings.process.warnings);
    for (more, expected) in [
        (vec![key], "MAIL_DKIM_SELECTOR: found nothing, expected the name in the DNS"),
        (vec![("MAIL_DKIM_SELECTOR", "s")], "MAIL_DKIM_KEY: found nothing, expected an RSA key"),
        (vec![("MAIL_DKIM_DOMAIN", "d.example")], "MAIL_DKIM_KEY: found nothing, expected an RSA"),
        (vec![key, ("MAIL_DKIM_SELECTOR", "a b")], "MAIL_DKIM_SELECTOR: found \"a b\", expected"),
        (
            vec![key, ("MAIL_DKIM_SELECTOR", "s"), ("MAIL_DKIM_DOMAIN", "-")],
            "MAIL_DKIM_DOMAIN: found \"-\", expected",
        ),
        (
            vec![("MAIL_DKIM_KEY", "s3cret"), ("MAIL_DKIM_SELECTOR", "s")],
            "MAIL_DKIM_KEY: found no private key in PEM, expected an RSA key of 2048",
        ),
    ] {
        let text = with(&more).unwrap_err().to_string();
        assert!(text.starts_with(expected) && !text.contains("s3cret"), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}
