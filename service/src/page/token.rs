//! What a visitor from another machine must know.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// The fewest characters of a token.
const MIN_CHARS: usize = 16;

/// A secret that is too short to be a token: it has so many characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {0} characters, expected at least {MIN_CHARS}")]
pub struct ShortToken(pub usize);

/// A secret that opens the page. It is never shown.
#[derive(Clone)]
pub struct Token {
    secret: String,
    /// What a browser keeps instead of the secret.
    pass: String,
}

impl Token {
    /// This secret.
    ///
    /// # Errors
    /// If it has fewer than 16 characters.
    pub fn new(secret: impl Into<String>) -> Result<Self, ShortToken> {
        let secret = secret.into();
        match secret.chars().count() {
            chars if chars < MIN_CHARS => Err(ShortToken(chars)),
            _ => Ok(Self::of(secret)),
        }
    }

    fn of(secret: String) -> Self {
        let pass = Self::pass_of(&secret);
        Self { secret, pass }
    }

    /// A secret of 128 random bits.
    ///
    /// # Panics
    /// If the system has no generator.
    pub fn random() -> Self {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).expect("the system has a generator");
        Self::of(format!("{:032x}", u128::from_be_bytes(bits)))
    }

    /// The secret itself, for a visitor that is to be let in.
    pub fn reveal(&self) -> &str {
        &self.secret
    }

    /// What a browser's cookie holds after the first visit.
    pub(super) fn pass(&self) -> &str {
        &self.pass
    }

    /// The pass of a secret, be it this one or another.
    pub(super) fn pass_of(secret: &str) -> String {
        let pass = Sha256::digest(format!("the live page's cookie\0{secret}"));
        pass.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether it is the pass of this secret. Takes as long for any other one of its length.
    pub(super) fn has_pass(&self, pass: &str) -> bool {
        is_equal(pass, &self.pass)
    }
}

fn is_equal(one: &str, other: &str) -> bool {
    let pairs = one.bytes().zip(other.bytes());
    one.len() == other.len() && pairs.fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.has_pass(&other.pass)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_by_its_secret_and_by_its_pass_and_by_nothing_else() {
        let token = Token::new("open sesame, open").unwrap();
        let is = |secret: &str| token.has_pass(&Token::pass_of(secret));
        assert!(is("open sesame, open") && token.has_pass(token.pass()));
        for wrong in
            ["", "open sesame, ope", "open sesame, opem", "open sesame, open ", token.pass()]
        {
            assert!(!is(wrong), "{wrong}");
        }
        for wrong in ["", "open sesame, open", &token.pass()[1..]] {
            assert!(!token.has_pass(wrong), "{wrong}");
        }
        assert!(!format!("{token:?}").contains("sesame"));
        assert_ne!(Token::random(), Token::random());
    }

    #[test]
    fn a_token_has_at_least_16_characters() {
        assert_eq!(Token::new("öffne dich jetzt").unwrap().reveal(), "öffne dich jetzt");
        let short = Token::new("öffne dich jetz").unwrap_err();
        assert_eq!(short.to_string(), "found 15 characters, expected at least 16");
        assert!(Token::new("").is_err());
    }
}
