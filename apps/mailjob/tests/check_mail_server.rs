//! What `mailjob check` says of mail servers, while no broker is there.

#![expect(clippy::unwrap_used, reason = "a test")]

use std::path::Path;
use std::time::Duration;

use jobstream_testkit::smtp::{Extension, SmtpServer, Tls};
use tokio::process::Command;
use tokio::time::timeout;

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(120);

/// What `check` prints, on either output, with these settings besides.
async fn check(folder: &Path, server: &SmtpServer, settings: &[(&str, &str)]) -> String {
    let port = server.address().port().to_string();
    let mut check = Command::new(env!("CARGO_BIN_EXE_mailjob"));
    check.arg("check").env_clear().current_dir(folder).kill_on_drop(true);
    check.envs([("KAFKA_BROKERS", "127.0.0.1:1"), ("MAIL_SERVER_HOST", "localhost")]);
    check.envs([("MAIL_SERVER_PORT", port.as_str()), ("MAIL_FROM", "a@b.example")]);
    check.envs(settings.iter().copied());
    let ended = timeout(LIMIT, check.output()).await.expect("an end").unwrap();
    String::from_utf8([ended.stdout, ended.stderr].concat()).unwrap()
}

#[tokio::test]
async fn check_says_that_a_server_which_greets_nobody_speaks_tls_if_it_does() {
    let folder = tempfile::tempdir().unwrap();
    let encrypted = SmtpServer::builder().tls(Tls::Implicit).listen().await.unwrap();
    let silent = SmtpServer::builder().served_limit(0).listen().await.unwrap();
    // Nothing is said of the login.
    let settings = [("MAIL_REPLY_TIMEOUT", "1"), ("MAIL_TLS", "opportunistic")];
    for (server, speaks_tls) in [(&encrypted, true), (&silent, false)] {
        let said = check(folder.path(), server, &settings).await;
        let line = said.lines().find(|line| line.contains("mail server localhost:")).unwrap();
        assert!(line.starts_with("failed") && line.contains("MAIL_TLS=implicit"), "{said}");
        assert_eq!(line.contains("it speaks TLS"), speaks_tls, "{said}");
        assert_eq!(line.contains("no answer within 1 s"), !speaks_tls, "{said}");
    }
}

#[tokio::test]
async fn check_trusts_the_certificate_that_a_server_has_made_for_itself_if_it_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let builder = SmtpServer::builder().tls(Tls::StartTls).self_made_certificate("localhost");
    let server = builder.listen().await.unwrap();
    let said = check(folder.path(), &server, &[]).await;
    assert!(said.contains("MAIL_TLS_CA_FILE takes that very certificate"), "{said}");

    let file = folder.path().join("server.pem");
    std::fs::write(&file, server.ca_pem().unwrap()).unwrap();
    let named = [("MAIL_TLS_CA_FILE", file.to_str().unwrap())];
    let said = check(folder.path(), &server, &named).await;
    assert!(said.contains(": encrypted, no login"), "{said}");

    std::fs::write(&file, "nothing").unwrap();
    let said = check(folder.path(), &server, &named).await;
    assert!(said.contains("MAIL_TLS_CA_FILE: found no certificate in PEM, expected"), "{said}");
}

#[tokio::test]
async fn check_says_that_the_senders_address_needs_what_the_server_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let server = SmtpServer::builder().without(Extension::SmtpUtf8).listen().await.unwrap();
    let said = check(folder.path(), &server, &[("MAIL_FROM", "jos\u{e9}@b.example")]).await;
    assert!(said.contains("the server does not offer SMTPUTF8, and MAIL_FROM"), "{said}");
}
