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

/// Logs in, by PLAIN if it is offered, else by LOGIN; also by LOGIN if PLAIN is offered and then
/// unknown (504).
pub(super) async fn log_in(
    conversation: &mut Conversation,
    login: &Login,
    limit: Duration,
) -> Result<(), ServerFault> {
    let extensions = conversation.extensions;
    if !extensions.auth_plain && !extensions.auth_login {
        let reason = "the server offers neither AUTH PLAIN nor AUTH LOGIN, and a login is set";
        return Err(ServerFault::new(Phase::Auth, ServerFaultKind::Mechanism, reason));
    }
    if extensions.auth_plain {
        let answered = plain(conversation, login, limit).await;
        let is_unknown = matches!(&answered, Err(Failed { code: Some(504), .. }));
        if !(is_unknown && extensions.auth_login) {
            return answered.map_err(|failed| failed.fault);
        }
    }
    by_login(conversation, login, limit).await.map_err(|failed| failed.fault)
}

/// A step that failed, and the code of its reply if there was one.
struct Failed {
    code: Option<u16>,
    fault: ServerFault,
}

async fn plain(
    conversation: &mut Conversation,
    login: &Login,
    limit: Duration,
) -> Result<(), Failed> {
    let response = STANDARD.encode(format!("\0{}\0{}", login.user, login.password.expose()));
    step(conversation, "AUTH PLAIN", &format!("AUTH PLAIN {response}\r\n"), 235, limit).await
}

async fn by_login(
    conversation: &mut Conversation,
    login: &Login,
    limit: Duration,
) -> Result<(), Failed> {
    let line = |text: &str| format!("{}\r\n", STANDARD.encode(text));
    let (user, password) = (line(&login.user), line(login.password.expose()));
    step(conversation, "AUTH LOGIN", "AUTH LOGIN\r\n", 334, limit).await?;
    step(conversation, "AUTH LOGIN, user", &user, 334, limit).await?;
    step(conversation, "AUTH LOGIN, password", &password, 235, limit).await
}

async fn step(
    conversation: &mut Conversation,
    name: &str,
    line: &str,
    expected_code: u16,
    limit: Duration,
) -> Result<(), Failed> {
    let failed = |code, kind, reason| {
        Err(Failed { code, fault: ServerFault::new(Phase::Auth, kind, reason) })
    };
    match conversation.command(line, limit).await {
        Ok(Reply { code, .. }) if code == expected_code => Ok(()),
        Ok(Reply { code, .. }) => {
            let kind = match code {
                504 => ServerFaultKind::Mechanism,
                530 => ServerFaultKind::Refused,
                500..=599 => ServerFaultKind::Login,
                _ => ServerFaultKind::Refused,
            };
            failed(
                Some(code),
                kind,
                format!("{name}: found reply {code}, expected {expected_code}"),
            )
        }
        Err(NoAnswer::Unexpected(reply)) => {
            failed(Some(reply.code), ServerFaultKind::Refused, reply.code.to_string())
        }
        Err(no_answer) => {
            failed(None, ServerFaultKind::Unreachable, format!("{name}: {no_answer}"))
        }
    }
}
