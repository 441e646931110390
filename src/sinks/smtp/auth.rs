//! The login: AUTH PLAIN (RFC 4616) and LOGIN.
//!
//! No reply's text ever leaves this file, since servers repeat what they were sent.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::config::Login;
use super::conversation::{Conversation, NoAnswer};
use super::fault::{ServerFault, ServerFaultKind};
use super::observer::Phase;
use super::reply::Reply;

/// Logs in, by PLAIN if it is offered, else by LOGIN.
pub(super) async fn log_in(
    conversation: &mut Conversation,
    login: &Login,
    limit: Duration,
) -> Result<(), ServerFault> {
    let extensions = conversation.extensions;
    let password = login.password.expose();
    if extensions.auth_plain {
        let response = STANDARD.encode(format!("\0{}\0{password}", login.user));
        step(conversation, "AUTH PLAIN", &format!("AUTH PLAIN {response}\r\n"), 235, limit).await
    } else if extensions.auth_login {
        let line = |text: &str| format!("{}\r\n", STANDARD.encode(text));
        step(conversation, "AUTH LOGIN", "AUTH LOGIN\r\n", 334, limit).await?;
        step(conversation, "AUTH LOGIN, user", &line(&login.user), 334, limit).await?;
        step(conversation, "AUTH LOGIN, password", &line(password), 235, limit).await
    } else {
        let reason = "the server offers neither AUTH PLAIN nor AUTH LOGIN, and a login is set";
        Err(ServerFault::new(Phase::Auth, ServerFaultKind::Mechanism, reason))
    }
}

async fn step(
    conversation: &mut Conversation,
    name: &str,
    line: &str,
    expected_code: u16,
    limit: Duration,
) -> Result<(), ServerFault> {
    let fault = |kind, reason| Err(ServerFault::new(Phase::Auth, kind, reason));
    match conversation.command(line, limit).await {
        Ok(Reply { code, .. }) if code == expected_code => Ok(()),
        Ok(Reply { code, .. }) => {
            let refused_login = code / 100 == 5 && code != 530;
            let kind =
                if refused_login { ServerFaultKind::Login } else { ServerFaultKind::Refused };
            fault(kind, format!("{name}: found reply {code}, expected {expected_code}"))
        }
        Err(NoAnswer::Unexpected(reply)) => fault(ServerFaultKind::Refused, reply.code.to_string()),
        Err(no_answer) => fault(ServerFaultKind::Unreachable, format!("{name}: {no_answer}")),
    }
}
