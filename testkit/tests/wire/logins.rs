//! Logins by SASL.

use bytes::Bytes;
use jobstream_testkit::broker::Broker;
use jobstream_testkit::wire::Listener;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    ApiVersionsRequest, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
};
use kafka_protocol::protocol::StrBytes;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::client::{Client, error, frame, metadata};

async fn listener() -> Listener {
    let broker = Broker::new();
    broker.listener().login("me", "secret").listen("127.0.0.1:0").await.unwrap()
}

async fn choose(client: &mut Client, mechanism: &'static str) -> Option<ResponseError> {
    let request =
        SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism));
    let response = client.ask(&request, 1).await;
    assert_eq!(response.mechanisms.len(), 3);
    error(response.error_code)
}

async fn authenticate(client: &mut Client, message: &'static str) -> SaslAuthenticateResponse {
    let request = SaslAuthenticateRequest::default().with_auth_bytes(Bytes::from(message));
    client.ask(&request, 2).await
}

async fn is_served(client: &mut Client) -> bool {
    client.0.write_all(&frame(&metadata("jobs"), 9)).await.unwrap();
    client.0.read_i32().await.is_ok()
}

#[tokio::test]
async fn who_has_logged_in_is_served() {
    let listener = listener().await;
    let mut client = Client::connect(listener.address()).await;
    client.ask(&ApiVersionsRequest::default(), 0).await;
    assert_eq!(choose(&mut client, "PLAIN").await, None);
    let response = authenticate(&mut client, "\0me\0secret").await;
    assert_eq!(response.error_code, 0);
    assert!(is_served(&mut client).await);
    assert_eq!(listener.refusals(), Vec::<String>::new());
}

#[tokio::test]
async fn a_wrong_password_an_unknown_mechanism_and_no_login_are_refused() {
    let listener = listener().await;
    for message in ["\0me\0wrong", "\0you\0secret", "me", "\0me"] {
        let mut client = Client::connect(listener.address()).await;
        assert_eq!(choose(&mut client, "PLAIN").await, None);
        let response = authenticate(&mut client, message).await;
        let failed = Some(ResponseError::SaslAuthenticationFailed);
        assert_eq!(error(response.error_code), failed, "{message:?}");
        assert!(!is_served(&mut client).await, "{message:?}");
    }
    let mut client = Client::connect(listener.address()).await;
    let unsupported = Some(ResponseError::UnsupportedSaslMechanism);
    assert_eq!(choose(&mut client, "GSSAPI").await, unsupported);
    let mut client = Client::connect(listener.address()).await;
    assert!(!is_served(&mut client).await);
    assert!(listener.refusals().last().unwrap().contains("Metadata comes before a login"));
}

#[tokio::test]
async fn a_proof_of_another_password_is_refused() {
    let listener = listener().await;
    for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let mut client = Client::connect(listener.address()).await;
        assert_eq!(choose(&mut client, mechanism).await, None);
        let response = authenticate(&mut client, "n,,n=me,r=abc").await;
        let text = String::from_utf8(response.auth_bytes.to_vec()).unwrap();
        assert!(text.starts_with("r=abc") && text.ends_with(",i=4096"), "{text}");
        let response = authenticate(&mut client, "c=biws,r=abc,p=AAAA").await;
        let failed = Some(ResponseError::SaslAuthenticationFailed);
        assert_eq!(error(response.error_code), failed);
        assert!(!is_served(&mut client).await);
    }
}
