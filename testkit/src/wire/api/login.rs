//! SaslHandshake and SaslAuthenticate: a login.

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::{
    ApiKey, SaslAuthenticateRequest, SaslAuthenticateResponse, SaslHandshakeRequest,
    SaslHandshakeResponse,
};
use kafka_protocol::protocol::StrBytes;

use crate::wire::call::Call;
use crate::wire::dispatch::Api;
use crate::wire::login::Mechanism;

pub(super) fn apis() -> Vec<Api> {
    vec![
        // In version 0 what follows has no header.
        Api::at_once(ApiKey::SaslHandshake, 1..=1, handshake),
        Api::at_once(ApiKey::SaslAuthenticate, 0..=2, authenticate),
    ]
}

fn handshake(call: &Call, request: &SaslHandshakeRequest) -> SaslHandshakeResponse {
    let response = SaslHandshakeResponse::default();
    if call.cluster().settings().accounts.is_empty() {
        return response.with_error_code(ResponseError::IllegalSaslState.code());
    }
    let mechanisms = Mechanism::NAMES.map(StrBytes::from_static_str).to_vec();
    let response = response.with_mechanisms(mechanisms);
    match Mechanism::named(&request.mechanism) {
        None => response.with_error_code(ResponseError::UnsupportedSaslMechanism.code()),
        Some(mechanism) if call.login().choose(mechanism) => response,
        Some(_) => response.with_error_code(ResponseError::IllegalSaslState.code()),
    }
}

fn authenticate(call: &Call, request: &SaslAuthenticateRequest) -> SaslAuthenticateResponse {
    let cluster = call.cluster();
    let nonce = format!("{:08x}{:016x}", cluster.salt(), cluster.next_nonce());
    let accounts = &cluster.settings().accounts;
    match call.login().answer(&request.auth_bytes, accounts, &nonce) {
        Some(answer) => SaslAuthenticateResponse::default().with_auth_bytes(Bytes::from(answer)),
        None => SaslAuthenticateResponse::default()
            .with_error_code(ResponseError::SaslAuthenticationFailed.code())
            .with_error_message(Some(StrBytes::from_static_str(
                "Authentication failed: Invalid username or password",
            ))),
    }
}
