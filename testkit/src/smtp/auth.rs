//! AUTH (RFC 4954) with the mechanisms PLAIN and LOGIN.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::extension::Extension;
use super::reply::Reply;

const BAD_RESPONSE: Reply = Reply::new(501, "5.5.2", "cannot decode the response");

/// A user and a password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A mechanism that waits for the client's next line.
#[derive(Debug)]
pub(super) enum Challenge {
    Plain,
    LoginUser,
    LoginPassword { user: String },
}

/// Where the exchange stands.
#[derive(Debug)]
pub(super) enum AuthState {
    /// The reply is a 334, and the client's next line is the response to this challenge.
    Prompt(Reply, Challenge),
    /// The client claims to be this user.
    Claim(Login),
    Failed(Reply),
}

impl Challenge {
    /// Begins with the mechanism and the initial response, if there is one.
    pub(super) fn begin(mechanism: &str, initial: Option<&str>) -> AuthState {
        let (challenge, prompt) = match Self::extension(mechanism) {
            Some(Extension::AuthPlain) => (Self::Plain, ""),
            Some(Extension::AuthLogin) => (Self::LoginUser, "VXNlcm5hbWU6"),
            _ => return AuthState::Failed(Reply::new(504, "5.5.4", "unknown mechanism")),
        };
        match initial {
            Some("=") => challenge.decoded(String::new()),
            Some(response) => challenge.answer(response),
            None => AuthState::Prompt(Reply::plain(334, prompt), challenge),
        }
    }

    /// The extension that switches a mechanism.
    pub(super) fn extension(mechanism: &str) -> Option<Extension> {
        match mechanism.to_ascii_uppercase().as_str() {
            "PLAIN" => Some(Extension::AuthPlain),
            "LOGIN" => Some(Extension::AuthLogin),
            _ => None,
        }
    }

    /// Takes the client's response.
    pub(super) fn answer(self, response: &str) -> AuthState {
        if response == "*" {
            return AuthState::Failed(Reply::new(501, "5.7.0", "authentication cancelled"));
        }
        let decoded = STANDARD.decode(response).ok().and_then(|it| String::from_utf8(it).ok());
        decoded.map_or(AuthState::Failed(BAD_RESPONSE), |text| self.decoded(text))
    }

    fn decoded(self, text: String) -> AuthState {
        match self {
            Self::Plain => {
                let parts: Vec<&str> = text.split('\0').collect();
                let [_, user, password] = parts[..] else {
                    return AuthState::Failed(BAD_RESPONSE);
                };
                AuthState::Claim(Login { user: user.to_owned(), password: password.to_owned() })
            }
            Self::LoginUser => {
                let prompt = Reply::plain(334, "UGFzc3dvcmQ6");
                AuthState::Prompt(prompt, Self::LoginPassword { user: text })
            }
            Self::LoginPassword { user } => AuthState::Claim(Login { user, password: text }),
        }
    }
}
