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

#[tokio::test]
async fn check_prints_the_record_that_the_dns_must_have_for_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let server = SmtpServer::builder().listen().await.unwrap();
    let key = folder.path().join("key.pem");
    std::fs::write(&key, include_str!("../../../tests/keys/rsa.pem")).unwrap();
    let settings =
        [("MAIL_DKIM_KEY_FILE", key.to_str().unwrap()), ("MAIL_DKIM_SELECTOR", "mail-1")];
    let said = check(folder.path(), &server, &settings).await;
    let begin = "ok      DKIM: signs with rsa-sha256, and the DNS must have: \
                 mail-1._domainkey.b.example. IN TXT \"v=DKIM1; k=rsa; p=MII";
    let line = said.lines().find(|line| line.starts_with(begin)).expect(&said);
    let strings: Vec<_> = line.split('"').skip(1).step_by(2).collect();
    assert_eq!((strings.len(), strings[0].len()), (2, 255), "{line}");

    std::fs::write(&key, "secret").unwrap();
    let said = check(folder.path(), &server, &settings).await;
    assert!(said.contains("MAIL_DKIM_KEY_FILE: found no private key in PEM, expected"), "{said}");
}

#[tokio::test]
async fn check_asks_each_relay_and_says_which_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let [good, encrypted] = [SmtpServer::builder(), SmtpServer::builder().tls(Tls::StartTls)];
    let (good, encrypted) = (good.listen().await.unwrap(), encrypted.listen().await.unwrap());
    let names = [&good, &encrypted].map(|server| format!("localhost:{}", server.address().port()));
    let hosts = names.join(",");
    let relays = folder.path().join("relays.toml");
    std::fs::write(&relays, format!("['{}']\ntls = 'starttls'\n", names[1])).unwrap();
    // Of the helper's settings, the empty one is none.
    let settings = [
        ("MAIL_SERVER_HOST", &*hosts),
        ("MAIL_SERVER_PORT", ""),
        ("MAIL_RELAYS_FILE", relays.to_str().unwrap()),
    ];
    let said = check(folder.path(), &good, &settings).await;
    let line = |name: &str| {
        let of_relay = |line: &&str| line.contains(&format!("mail server {name}: "));
        said.lines().find(of_relay).unwrap_or_else(|| panic!("{said}"))
    };
    assert!(line(&names[0]).starts_with("ok ") && line(&names[0]).contains("not encrypted"));
    assert!(line(&names[1]).starts_with("failed ") && line(&names[1]).contains("certificate"));
}
