//! What a visitor from another machine must know.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// A secret that opens the page. It is never shown.
#[derive(Clone)]
pub struct Token {
    secret: String,
    /// What a browser keeps instead of the secret.
    pass: String,
}

impl Token {
    /// This secret.
    pub fn new(secret: impl Into<String>) -> Self {
        let secret = secret.into();
        let pass = Sha256::digest(format!("the live page's cookie\0{secret}"));
        let pass = pass.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { secret, pass }
    }

    /// A secret of 128 random bits.
    ///
    /// # Panics
    /// If the system has no generator.
    pub fn random() -> Self {
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).expect("the system has a generator");
        Self::new(format!("{:032x}", u128::from_be_bytes(bits)))
    }

    /// The secret itself, for whoever is to be let in.
    pub fn reveal(&self) -> &str {
        &self.secret
    }

    /// What a browser's cookie holds after the first visit.
    pub(super) fn pass(&self) -> &str {
        &self.pass
    }

    /// Whether it is this secret. Takes as long for any other one.
    pub(super) fn is(&self, secret: &str) -> bool {
        is_equal(&Self::new(secret).pass, &self.pass)
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
        let token = Token::new("open sesame");
        assert!(token.is("open sesame") && token.has_pass(token.pass()));
        for wrong in ["", "open sesam", "open sesamf", "open sesame ", token.pass()] {
            assert!(!token.is(wrong), "{wrong}");
        }
        for wrong in ["", "open sesame", &token.pass()[1..]] {
            assert!(!token.has_pass(wrong), "{wrong}");
        }
        assert!(!format!("{token:?}").contains("sesame"));
        assert_ne!(Token::random(), Token::random());
    }
}
