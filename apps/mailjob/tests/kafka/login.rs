//! Postfix with TLS, and a login of the original's environment.

use std::path::Path;
use std::process::Command;

use crate::load::SAMPLE;
use crate::postfix::Postfix;
use crate::sample::delivered;
use crate::stage::{Stage, error_text, output_text};

/// A certificate for this machine, `cert.pem` in a folder, and lines of `main.cf` that say so.
fn with_certificate(folder: &Path) -> String {
    let [pem, key] = ["cert.pem", "key.pem"].map(|name| folder.join(name));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=mail"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .args([Path::new("-out"), &pem, Path::new("-keyout"), &key])
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{}", error_text(&made));
    format!(
        "smtpd_tls_security_level = encrypt\nsmtpd_tls_received_header = yes\n\
         smtpd_tls_cert_file = {}\nsmtpd_tls_key_file = {}\n",
        pem.display(),
        key.display(),
    )
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn a_mail_goes_to_postfix_by_starttls() {
    let folder = tempfile::tempdir().unwrap();
    let settings = with_certificate(folder.path());
    let postfix = Postfix::start_with("example.com", &settings).await;
    let mut stage = Stage::new(postfix.address()).await;
    stage.set("MAIL_TLS_CA_FILE", &folder.path().join("cert.pem").to_string_lossy());
    let check = stage.ended(&["check"]).await;
    assert!(output_text(&check).contains(": encrypted, no login"), "{}", output_text(&check));
    let service = stage.start("log");
    stage.submit(SAMPLE).await;
    assert_eq!(stage.results_of(1).await[0].outcome().status, 4);
    service.terminate().await.succeeded();
    let mails = delivered(&postfix.mails(), 1).await;
    assert!(mails[0].contains("(using TLSv1.3 with cipher "), "{}", mails[0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Kafka"]
async fn the_originals_environment_logs_in_to_postfix_by_starttls() {
    for mechanism in ["PLAIN", "LOGIN"] {
        let folder = tempfile::tempdir().unwrap();
        let settings = with_certificate(folder.path()) + "smtpd_tls_auth_only = yes\n";
        let login = Postfix::start_with_login("example.com", &settings, mechanism, "secret");
        let postfix = login.await;
        let mut stage = Stage::new(postfix.address()).await;
        stage.unset("MAIL_FROM");
        for (name, value) in [
            ("MAIL_SERVER_HOST", "localhost"),
            ("EMAIL_DOMAIN", "example.com"),
            ("SMTP_USER", "user"),
            ("SMTP_PASSWORD", "secret"),
        ] {
            stage.set(name, value);
        }
        // No setting of the service: what the machine trusts.
        stage.set("SSL_CERT_FILE", &folder.path().join("cert.pem").to_string_lossy());
        let check = stage.ended(&["check"]).await;
        assert!(output_text(&check).contains(": encrypted, logged in"), "{}", output_text(&check));
        let service = stage.start("log");
        stage.submit(SAMPLE).await;
        assert_eq!(stage.results_of(1).await[0].outcome().status, 4);
        service.terminate().await.succeeded();
        let mails = delivered(&postfix.mails(), 1).await;
        let sender = "(Authenticated sender: user@example.com)";
        assert!(mails[0].contains(sender), "no {sender:?} in\n{}", mails[0]);

        stage.set("SMTP_PASSWORD", "wrong");
        let check = stage.ended(&["check"]).await;
        assert_eq!(check.status.code(), Some(1));
        assert!(output_text(&check).contains("found reply 535"), "{}", output_text(&check));
    }
}
