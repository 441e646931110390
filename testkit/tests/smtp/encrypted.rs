//! STARTTLS, implicit TLS and AUTH.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jobstream_testkit::smtp::{Extension, Misfortune, Moment, SmtpServer, SmtpServerBuilder, Tls};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::client::{Client, connected};

async fn handshake<S>(
    server: &SmtpServer,
    name: &'static str,
    stream: S,
) -> std::io::Result<TlsStream<S>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut roots = RootCertStore::empty();
    let pem = server.ca_pem().unwrap().as_bytes();
    roots.add(CertificateDer::from_pem_slice(pem).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from(name).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

fn plain(user: &str, password: &str) -> String {
    STANDARD.encode(format!("\0{user}\0{password}"))
}

fn with_login() -> SmtpServerBuilder {
    SmtpServer::builder().login("user", "secret").require_login()
}

#[tokio::test]
async fn starttls_begins_anew_under_tls() {
    let builder = with_login().tls(Tls::StartTls).require_tls().login_needs_tls();
    let (server, mut client) = connected(builder).await;
    let offer = client.say("EHLO me").await;
    assert!(offer.contains("STARTTLS") && !offer.contains("AUTH"), "{offer}");
    assert_eq!(client.code("MAIL FROM:<>").await, 530);
    assert_eq!(client.code(format!("AUTH PLAIN {}", plain("user", "secret"))).await, 530);
    assert_eq!(client.code("STARTTLS now").await, 501);
    assert_eq!(client.code("STARTTLS").await, 220);
    let stream = handshake(&server, "localhost", client.into_stream()).await.unwrap();
    let mut client = Client::new(stream);
    assert_eq!(client.code("MAIL FROM:<>").await, 530);
    let offer = client.say("EHLO me").await;
    assert!(!offer.contains("STARTTLS") && offer.contains("AUTH PLAIN LOGIN"), "{offer}");
    assert_eq!(client.code("STARTTLS").await, 503);
    assert_eq!(client.code(format!("AUTH PLAIN {}", plain("user", "secret"))).await, 235);
    assert_eq!(client.mail("you@b.example", "hi").await, 250);
    let mail = &server.inbox().mails()[0];
    assert_eq!((mail.tls, mail.login.as_deref()), (true, Some("user")));
}

#[tokio::test]
async fn what_was_sent_in_clear_is_never_obeyed_after_the_handshake() {
    let (server, mut client) = connected(SmtpServer::builder().tls(Tls::StartTls)).await;
    client.code("EHLO me").await;
    client
        .send("STARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@a.example>\r\nRCPT TO:<you@b.example>\r\n")
        .await;
    assert_eq!(client.reply().await, "220 2.0.0 go ahead");
    let stream = handshake(&server, "localhost", client.into_stream()).await.unwrap();
    let mut client = Client::new(stream);
    assert_eq!(client.say("NOOP").await, "250 2.0.0 ok");
    assert_eq!(client.say("DATA").await, "503 5.5.1 expected MAIL first");
    assert!(server.conversation().iter().all(|exchange| !exchange.command.contains("evil")));
}

#[tokio::test]
async fn implicit_tls_comes_before_the_greeting_for_the_names_in_the_certificate_only() {
    let builder = SmtpServer::builder().tls(Tls::Implicit).tls_names(["mx.example", "127.0.0.1"]);
    let server = builder.in_memory().unwrap();
    for (name, fits) in [("mx.example", true), ("127.0.0.1", true), ("localhost", false)] {
        let stream = handshake(&server, name, server.connect().unwrap()).await;
        assert_eq!(stream.is_ok(), fits, "{name}");
        if let Ok(stream) = stream {
            let mut client = Client::new(stream);
            assert_eq!(client.reply().await, "220 localhost ESMTP jobstream-testkit");
            assert_eq!(client.mail("you@b.example", "hi").await, 250);
        }
    }
    assert!(server.inbox().mails().iter().all(|mail| mail.tls));
}

#[tokio::test]
async fn starttls_can_be_refused_and_is_unknown_without_a_certificate() {
    let refused = Misfortune::at(Moment::StartTls).reply(454, "4.7.0 not now");
    let (_server, mut client) =
        connected(SmtpServer::builder().tls(Tls::StartTls).misfortune(refused)).await;
    client.code("EHLO me").await;
    assert_eq!(client.say("STARTTLS").await, "454 4.7.0 not now");
    assert_eq!(client.mail("you@b.example", "hi").await, 250);
    let (_server, mut client) = connected(SmtpServer::builder()).await;
    assert_eq!(client.code("STARTTLS").await, 502);
}

#[tokio::test]
async fn a_login_works_by_either_mechanism_with_or_without_initial_response() {
    let user = STANDARD.encode("user");
    let secret = STANDARD.encode("secret");
    let both = plain("user", "secret");
    for lines in [
        vec![(format!("AUTH PLAIN {both}"), 235)],
        vec![("auth plain".to_owned(), 334), (both, 235)],
        vec![("AUTH LOGIN".to_owned(), 334), (user.clone(), 334), (secret.clone(), 235)],
        vec![(format!("AUTH LOGIN {user}"), 334), (secret, 235)],
    ] {
        let (_server, mut client) = connected(with_login()).await;
        assert!(client.say("EHLO me").await.ends_with("AUTH PLAIN LOGIN"));
        assert_eq!(client.code("MAIL FROM:<>").await, 530);
        for (line, code) in lines {
            assert_eq!(client.code(&line).await, code, "{line}");
        }
        assert_eq!(client.code("AUTH PLAIN").await, 503);
        assert_eq!(client.code("MAIL FROM:<>").await, 250);
    }
}

#[tokio::test]
async fn a_login_that_is_wrong_is_refused() {
    let (_server, mut client) = connected(with_login().without(Extension::AuthLogin)).await;
    assert_eq!(client.code(format!("AUTH PLAIN {}", plain("user", "secret"))).await, 503);
    assert!(client.say("EHLO me").await.ends_with("AUTH PLAIN"));
    for (line, code) in [
        (format!("AUTH PLAIN {}", plain("user", "wrong")), 535),
        (format!("AUTH PLAIN {}", plain("", "")), 535),
        ("AUTH PLAIN =".to_owned(), 501),
        ("AUTH PLAIN !".to_owned(), 501),
        ("AUTH PLAIN a b".to_owned(), 501),
        ("AUTH".to_owned(), 501),
        ("AUTH LOGIN".to_owned(), 504),
        ("AUTH CRAM-MD5".to_owned(), 504),
    ] {
        assert_eq!(client.code(&line).await, code, "{line}");
    }
    assert_eq!((client.code("AUTH PLAIN").await, client.code("*").await), (334, 501));
    assert_eq!(client.code("MAIL FROM:<>").await, 530);
}
