//! The original's environment: a user and a password, and a server that offers STARTTLS or not.

use jobstream_testkit::smtp::{SmtpServer, Tls};

use crate::load::SAMPLE;
use crate::stage::{Stage, error_text, mails};

#[tokio::test(flavor = "multi_thread")]
async fn a_login_needs_tls_and_where_there_is_none_the_way_out_is_named() {
    let builder = SmtpServer::builder().login("user@example.com", "secret").require_login();
    let plain = builder.clone().listen().await.unwrap();
    let mut stage = Stage::new(plain.address()).await;
    stage.unset("MAIL_FROM");
    for (name, value) in
        [("EMAIL_DOMAIN", "example.com"), ("SMTP_USER", "user"), ("SMTP_PASSWORD", "secret")]
    {
        stage.set(name, value);
    }
    let mut service = stage.start("log");
    stage.submit(SAMPLE).await;
    service.said("MAIL_ALLOW_PLAINTEXT_AUTH=true", 1).await;
    let check = stage.ended(&["check"]).await;
    assert_eq!(check.status.code(), Some(1));
    service.terminate().await.succeeded();
    assert_eq!(plain.inbox().count(), 0);
    let said = |line: &str| plain.conversation().iter().any(|at| format!("{at:?}").contains(line));
    assert!(said("EHLO") && !said("AUTH PLAIN") && !said("AUTH LOGIN"));

    let encrypted = builder.tls(Tls::StartTls).tls_names(["127.0.0.1"]).listen().await.unwrap();
    std::fs::write(stage.path("ca.pem"), encrypted.ca_pem().unwrap()).unwrap();
    stage.set("MAIL_SERVER_PORT", &encrypted.address().port().to_string());
    let untrusted = stage.ended(&["run"]).await;
    assert_eq!(untrusted.status.code(), Some(1));
    let errors = error_text(&untrusted);
    assert!(errors.contains("MAIL_TLS_CA_FILE") && errors.lines().count() == 1, "{errors}");
    stage.set("MAIL_TLS_CA_FILE", "ca.pem");
    let service = stage.start("log");
    mails(&encrypted, 1).await;
    assert_eq!(stage.results_of(1).await[0].outcome().status, 4);
    service.terminate().await.succeeded();

    stage.set("MAIL_SERVER_PORT", &plain.address().port().to_string());
    stage.set("MAIL_ALLOW_PLAINTEXT_AUTH", "true");
    let service = stage.start("log");
    stage.submit(SAMPLE).await;
    mails(&plain, 1).await;
    service.terminate().await.succeeded();
}
