//! TLS on a socket: a certificate must be of the host, and of an authority that is known.

use std::net::SocketAddr;
use std::sync::Arc;

use jobstream::sinks::JobErrorKind;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use webhook::{Webhook, WebhookSettings};

use jobstream_service::outbound::{Tcp, Trust};

use crate::receiver::{Act, Receiver};
use crate::support::{execute, now, settings, to};

/// A receiver with a certificate of this name: its port, and its certificate in PEM.
async fn listen(receiver: Arc<Receiver>, name: &str) -> (SocketAddr, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = signing_key.serialize_der().try_into().unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            // A client that trusts nobody goes away.
            if let Ok(stream) = acceptor.accept(stream).await {
                tokio::spawn(receiver.clone().serve(stream));
            }
        }
    });
    (address, cert.pem())
}

fn trusting(pem: Option<&str>) -> WebhookSettings {
    let mut settings = settings();
    settings.allow_private = true;
    settings.trust = Trust::new(pem.map(str::as_bytes)).unwrap();
    settings
}

#[tokio::test]
async fn a_certificate_must_be_of_the_host_and_of_a_known_authority() {
    let receiver = Receiver::always(Act::answer(200));
    let (address, pem) = listen(receiver.clone(), "localhost").await;
    let (local, numeric) =
        (format!("https://localhost:{}/", address.port()), format!("https://{address}/"));
    for (trusted, url) in [(None, &local), (Some(&*pem), &numeric)] {
        let sink = Webhook::new(trusting(trusted), Arc::<Tcp>::default(), Arc::new(now));
        let error = execute(&sink, &to(url)).await.unwrap_err();
        assert_eq!(error.kind(), JobErrorKind::Transient);
        assert!(error.reason().starts_with("TLS: "), "{error}");
    }
    assert!(receiver.posted().is_empty());
    let sink = Webhook::new(trusting(Some(&pem)), Arc::<Tcp>::default(), Arc::new(now));
    assert_eq!(execute(&sink, &to(&local)).await.unwrap().status, Some(200));
    assert_eq!(receiver.posted().len(), 1);
    let with_key = format!("{pem}{}", include_str!("../../../../tests/keys/ed25519.pem"));
    assert_eq!(Trust::new(Some(with_key.as_bytes())).unwrap_err(), "a private key");
}
