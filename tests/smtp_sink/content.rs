//! What arrives is what was in the job.

use std::sync::Arc;

use jobstream::sinks::smtp::SUBJECT_LIMIT_BYTES;
use jobstream::sinks::{JobErrorKind, JobSink as _};
use jobstream_testkit::smtp::{Mail, SmtpServer};
use proptest::prelude::{Strategy, any, prop_oneof};
use proptest::test_runner::{Config, TestRunner};

use super::peer::{config, job_with, paused, server, sink};

/// The mail of one job, as it arrived; sent twice, with the same bytes.
async fn arrived(server: &Arc<SmtpServer>, subject: &str, message: &str) -> Arc<Mail> {
    let sink = sink(server, &config());
    let (job, record) = job_with("1", "a@example.com", "b@example.net", subject, message);
    for _ in 0..2 {
        sink.execute(&job, &record).await.unwrap_or_else(|error| panic!("{error}"));
    }
    let mails = server.inbox().take();
    assert_eq!(mails[0].raw, mails[1].raw);
    Arc::clone(&mails[0])
}

/// The text with every line end as CRLF.
fn canonical(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n").replace('\n', "\r\n")
}

fn decoded(mail: &Mail) -> Vec<u8> {
    mail.parsed().expect("a mail").parts[0].contents().to_vec()
}

async fn check(subject: &str, message: &str) {
    let server = server();
    let mail = arrived(&server, subject, message).await;
    let raw = String::from_utf8(mail.raw.to_vec()).expect("nothing but ASCII");
    assert!(raw.is_ascii() && !raw.contains('\0'));
    assert!(raw.split("\r\n").all(|line| line.len() <= 998 && !line.contains(['\r', '\n'])));
    assert_eq!(mail.subject().unwrap_or_default(), subject, "the subject");
    let (text, expected) = (decoded(&mail), canonical(message));
    let text = String::from_utf8(text).expect("the text is UTF-8");
    assert!(
        text == expected || text == format!("{expected}\r\n"),
        "expected {expected:?}, found {text:?} in {raw:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn texts_of_every_shape_arrive() {
    let long = "x".repeat(5000);
    let long_umlauts = "\u{fc}".repeat(5000);
    for message in [
        "",
        ".",
        ".\r\n",
        "\r\n.\r\n",
        "..\n.",
        "\n",
        "\r",
        "\r\r\n\n",
        "a\rb\nc\r\nd",
        "a\0b",
        "\0",
        "trailing space \nand tab\t\n",
        "=3D=\n= \n",
        "From me\n>From you\n",
        "caf\u{e9}\n.\n",
        "\u{1f355} \u{1f355}\r\n.\r\n\u{1f355}",
        "\x1b[31m\x07\x7f",
        &long,
        &long_umlauts,
        &format!("{long}\n.\n{long}"),
        &"line\n".repeat(3000),
        "\u{feff}bom",
        "\u{2028}\u{85}",
    ] {
        check("", message).await;
    }
}

#[tokio::test(start_paused = true)]
async fn subjects_of_every_shape_arrive() {
    for subject in [
        "plain",
        "subject ",
        " two  spaces ",
        "=?utf-8?q?not=20me?=",
        "caf\u{e9}",
        "\u{1f355}",
        &"word ".repeat(200),
        &"x".repeat(3000),
        &"\u{65e5}\u{672c}".repeat(2000),
        "a: b; c=\"d\"",
        &"x".repeat(SUBJECT_LIMIT_BYTES),
    ] {
        check(subject, "text").await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_control_character_in_subject_or_address_fails_the_job() {
    let server = server();
    let sink = sink(&server, &config());
    for code in (0..0x20u8).chain([0x7f]) {
        let c = char::from(code);
        for (source, to, subject) in [
            ("a@example.com".to_owned(), "b@example.net".to_owned(), format!("x{c}y")),
            ("a@example.com".to_owned(), format!("b{c}@example.net"), String::new()),
            (format!("a@exam{c}ple.com"), "b@example.net".to_owned(), String::new()),
        ] {
            let (job, record) = job_with("1", &source, &to, &subject, "");
            let error = sink.execute(&job, &record).await.unwrap_err();
            assert_eq!(error.kind(), JobErrorKind::Permanent);
        }
    }
    assert_eq!(server.connections().total, 0);
}

#[tokio::test(start_paused = true)]
async fn quoted_and_international_addresses_arrive_in_envelope_and_headers() {
    let server = server();
    let sink = sink(&server, &config());
    for (to, domain_as_sent) in [
        ("\"a b\"@example.net", "\"a b\"@example.net"),
        ("\"a@b\\\"c\"@example.net", "\"a@b\\\"c\"@example.net"),
        ("user@b\u{fc}cher.example", "user@xn--bcher-kva.example"),
        ("jos\u{e9}@b\u{fc}cher.example", "jos\u{e9}@xn--bcher-kva.example"),
    ] {
        let (job, record) = job_with("1", to, to, "", "");
        sink.execute(&job, &record).await.unwrap();
        let mail = Arc::clone(&server.inbox().take()[0]);
        assert_eq!(mail.recipients, [domain_as_sent]);
        let raw = String::from_utf8(mail.raw.to_vec()).unwrap();
        assert!(raw.contains(&format!("\r\nTo: {domain_as_sent}\r\n")), "{raw}");
        assert!(raw.contains(&format!("\r\nReply-To: {domain_as_sent}\r\n")), "{raw}");
        assert_eq!(
            mail.parameters.iter().any(|p| p == "SMTPUTF8"),
            !to.split('@').next().unwrap().is_ascii()
        );
    }
}

#[test]
fn any_text_and_any_subject_arrive() {
    let line = prop_oneof![any::<String>(), "[ -~]{0,100}", "\\.{1,3}", "[ \\t=]{0,5}"];
    let end = prop_oneof!["\r\n", "\r", "\n", ""];
    let text = proptest::collection::vec((line, end), 0..20)
        .prop_map(|lines| lines.into_iter().map(|(line, end)| line + &end).collect::<String>());
    let subject = any::<String>()
        .prop_map(|subject| subject.chars().filter(|c| !c.is_control()).collect::<String>());
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&(subject, text), |(subject, text)| {
            paused(check(&subject, &text));
            Ok(())
        })
        .unwrap_or_else(|error| panic!("{error}"));
}
