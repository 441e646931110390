//! SCRAM (RFC 5802), the server's side, without channel binding.

use std::num::NonZeroU32;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::{digest, hmac, pbkdf2};

/// What Kafka's own tools take.
const ITERATIONS: NonZeroU32 = NonZeroU32::new(4096).unwrap();

/// The hash of a mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha512,
}

impl Hash {
    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &digest::SHA256,
            Self::Sha512 => &digest::SHA512,
        }
    }

    fn hmac(self, key: &[u8], text: &[u8]) -> hmac::Tag {
        let algorithm = match self {
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        };
        hmac::sign(&hmac::Key::new(algorithm, key), text)
    }

    fn salted(self, password: &str, salt: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Self::Sha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::Sha512 => pbkdf2::PBKDF2_HMAC_SHA512,
        };
        let mut salted = vec![0; self.digest().output_len()];
        pbkdf2::derive(algorithm, ITERATIONS, salt, password.as_bytes(), &mut salted);
        salted
    }
}

/// An exchange that waits for the client's proof.
#[derive(Debug)]
pub(super) struct Exchange {
    hash: Hash,
    user: String,
    salt: Vec<u8>,
    nonce: String,
    /// Both first messages, as the proof has them.
    first: String,
}

impl Exchange {
    /// Takes the client's first message; gives the exchange and the answer. None if it can't be read.
    pub(super) fn begin(hash: Hash, message: &str, server_nonce: &str) -> Option<(Self, String)> {
        let bare = message.strip_prefix("n,").or_else(|| message.strip_prefix("y,"))?;
        let (_authorization_id, bare) = bare.split_once(',')?;
        let user = field(bare, "n=")?.replace("=2C", ",").replace("=3D", "=");
        let nonce = format!("{}{server_nonce}", field(bare, "r=")?);
        let salt = server_nonce.as_bytes().to_vec();
        let answer = format!("r={nonce},s={},i={ITERATIONS}", STANDARD.encode(&salt));
        let first = format!("{bare},{answer}");
        Some((Self { hash, user, salt, nonce, first }, answer))
    }

    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// Takes the client's proof; gives the server's. None if it is wrong.
    pub(super) fn finish(&self, message: &str, password: &str) -> Option<String> {
        let (without_proof, proof) = message.rsplit_once(",p=")?;
        let proof = STANDARD.decode(proof).ok()?;
        if field(without_proof, "r=")? != self.nonce {
            return None;
        }
        let auth = format!("{},{without_proof}", self.first);
        let salted = self.hash.salted(password, &self.salt);
        let client_key = self.hash.hmac(&salted, b"Client Key");
        let stored_key = digest::digest(self.hash.digest(), client_key.as_ref());
        let signature = self.hash.hmac(stored_key.as_ref(), auth.as_bytes());
        let expected = client_key.as_ref().iter().zip(signature.as_ref()).map(|(a, b)| a ^ b);
        if !expected.eq(proof) {
            return None;
        }
        let server_key = self.hash.hmac(&salted, b"Server Key");
        let signature = self.hash.hmac(server_key.as_ref(), auth.as_bytes());
        Some(format!("v={}", STANDARD.encode(signature)))
    }
}

/// The value of an attribute.
fn field<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    message.split(',').find_map(|attribute| attribute.strip_prefix(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3, but for what the server chooses.
    #[test]
    fn the_proof_is_that_of_the_standard() {
        let exchange = Exchange {
            hash: Hash::Sha256,
            user: "user".to_owned(),
            salt: STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap_or_default(),
            nonce: "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0".to_owned(),
            first: "n=user,r=rOprNGfwEbeRWgbNEkqO,\
                    r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                    s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
                .to_owned(),
        };
        let message = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                       p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
        let answer = exchange.finish(message, "pencil");
        assert_eq!(answer.as_deref(), Some("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
        assert_eq!(exchange.finish(message, "pen"), None);
    }
}
