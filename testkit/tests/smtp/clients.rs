//! Clients that we did not write.

use std::path::PathBuf;

use jobstream_testkit::smtp::{Act, Misfortune, Moment, SmtpServer, Tls};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls as LettreTls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use tempfile::TempDir;
use tokio::process::Command;

/// A server with STARTTLS and a login, and a file with its CA.
async fn server(tls: Tls) -> (SmtpServer, TempDir, PathBuf) {
    let server = SmtpServer::builder().tls(tls).login("user", "secret").listen().await.unwrap();
    let folder = TempDir::new().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, server.ca_pem().unwrap()).unwrap();
    (server, folder, ca)
}

async fn succeeds(command: &mut Command) -> String {
    let output = command.output().await.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let (out, errors) = (output.stdout, output.stderr);
    let said = [out, errors].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

#[tokio::test]
#[ignore = "needs Python"]
async fn pythons_smtplib_is_served() {
    let (server, _folder, ca) = server(Tls::StartTls).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/smtplib_client.py");
    let port = server.address().port().to_string();
    succeeds(Command::new("python3").arg(script).arg(port).arg(ca)).await;
    let mails = server.inbox().mails();
    let subjects: Vec<_> = mails.iter().filter_map(|mail| mail.subject()).collect();
    assert_eq!(subjects, ["plain", "8-bit", "utf8", "starttls", "pipelined"]);
    assert!(mails[0].raw.ends_with(b"\r\n\r\n.dot\r\n..\r\nend\r\n"));
    assert_eq!(mails[0].recipients, ["one@b.example", "two@b.example"]);
    assert_eq!(mails[1].text().as_deref(), Some("grüße\r\n"));
    assert_eq!(
        (mails[2].sender.as_str(), mails[2].recipients[0].as_str()),
        ("grüße@a.example", "bücher@b.example")
    );
    assert_eq!((mails[3].tls, mails[3].login.as_deref()), (true, Some("user")));
}

#[tokio::test]
#[ignore = "needs swaks"]
async fn swaks_is_served() {
    let login = ["--auth-user", "user", "--auth-password", "secret"];
    for (tls, options) in [
        (Tls::StartTls, vec![]),
        (Tls::StartTls, vec!["--pipeline"]),
        (Tls::StartTls, [&["--auth", "PLAIN"], &login[..]].concat()),
        (Tls::StartTls, [&["-tls", "--auth", "LOGIN"], &login[..]].concat()),
        (Tls::Implicit, vec!["--tls-on-connect"]),
    ] {
        let (server, _folder, ca) = server(tls).await;
        let encrypted = options.iter().any(|option| option.contains("-tls"));
        let mut command = Command::new("swaks");
        command.args([
            "--server",
            &server.address().to_string(),
            "--to",
            "a@b.example,c@b.example",
        ]);
        command.args(["--from", "me@a.example", "--body", ".\n..\ntext"]).args(&options);
        if encrypted {
            command.arg("--tls-verify").arg("--tls-ca-path").arg(ca);
        }
        let said = succeeds(&mut command).await;
        let mails = server.inbox().mails();
        assert_eq!(mails.len(), 1, "{options:?}: {said}");
        assert_eq!((mails[0].tls, mails[0].recipients.len()), (encrypted, 2), "{options:?}");
        assert_eq!(mails[0].login.is_some(), options.contains(&"--auth"), "{options:?}");
        let text = mails[0].text().unwrap();
        assert_eq!(text.trim_end(), ".\r\n..\r\ntext", "{options:?}");
    }
}

fn message() -> Message {
    let builder = Message::builder()
        .from("me@a.example".parse().unwrap())
        .to("you@b.example".parse().unwrap())
        .subject("grüße");
    builder.body("a text\r\n.with a dot\r\n".to_owned()).unwrap()
}

async fn lettre_sends(server: &SmtpServer, tls: impl FnOnce(TlsParameters) -> LettreTls) -> bool {
    let ca = Certificate::from_pem(server.ca_pem().unwrap().as_bytes()).unwrap();
    let parameters =
        TlsParameters::builder("localhost".to_owned()).add_root_certificate(ca).build();
    AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("localhost")
        .port(server.address().port())
        .tls(tls(parameters.unwrap()))
        .credentials(Credentials::new("user".to_owned(), "secret".to_owned()))
        .build()
        .send(message())
        .await
        .is_ok()
}

#[tokio::test]
async fn lettre_is_served_in_clear_and_encrypted() {
    let (starttls, _folder, _) = server(Tls::StartTls).await;
    assert!(lettre_sends(&starttls, |_| LettreTls::None).await);
    assert!(lettre_sends(&starttls, LettreTls::Required).await);
    let (implicit, _folder, _) = server(Tls::Implicit).await;
    assert!(lettre_sends(&implicit, LettreTls::Wrapper).await);
    let mails = [starttls.inbox().mails(), implicit.inbox().mails()].concat();
    assert_eq!(mails.iter().map(|mail| mail.tls).collect::<Vec<_>>(), [false, true, true]);
    for mail in mails {
        assert_eq!(
            (mail.login.as_deref(), mail.subject().as_deref()),
            (Some("user"), Some("grüße"))
        );
        // lettre sends a CRLF before the final dot even where the text ends with one.
        assert_eq!(mail.text().as_deref(), Some("a text\r\n.with a dot\r\n\r\n"));
    }
}

#[tokio::test]
async fn lettre_cannot_know_of_a_mail_that_was_accepted_without_an_answer() {
    let (server, _folder, _) = server(Tls::StartTls).await;
    server.misfortunes().push(Misfortune::at(Moment::Dot).then(Act::AcceptThenDisconnect));
    assert!(!lettre_sends(&server, LettreTls::Required).await);
    assert_eq!(server.inbox().count(), 1);
}

#[tokio::test]
async fn lettre_reads_a_reply_that_comes_octet_by_octet() {
    let (server, _folder, _) = server(Tls::StartTls).await;
    server.misfortunes().push(Misfortune::at(Moment::Any).then(Act::SplitReply));
    assert!(lettre_sends(&server, |_| LettreTls::None).await);
}
