//! Private keys, and their public halves as the DNS has them.

use ring::digest::{SHA256, digest};
use ring::error::KeyRejected;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

/// `SEQUENCE { OBJECT IDENTIFIER rsaEncryption, NULL }` (RFC 3279 section 2.3.1).
const RSA_ENCRYPTION: [u8; 15] =
    [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// A private key.
pub(super) enum Key {
    Rsa(Box<RsaKeyPair>, SystemRandom),
    Ed25519(Ed25519KeyPair),
}

impl Key {
    /// Reads the one private key of a text in PEM; says what was found, where it is none.
    pub(super) fn from_pem(pem: &str) -> Result<Self, String> {
        let mut keys = PrivateKeyDer::pem_slice_iter(pem.as_bytes());
        let Some(Ok(key)) = keys.next() else { return Err("no private key in PEM".to_owned()) };
        if keys.next().is_some() {
            return Err("several private keys in PEM".to_owned());
        }
        match key {
            PrivateKeyDer::Pkcs1(key) => Self::rsa(RsaKeyPair::from_der(key.secret_pkcs1_der())),
            PrivateKeyDer::Pkcs8(key) => {
                let der = key.secret_pkcs8_der();
                // OpenSSL writes no public key beside the private one.
                match Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
                    Ok(key) => Ok(Self::Ed25519(key)),
                    Err(_) => Self::rsa(RsaKeyPair::from_pkcs8(der)),
                }
            }
            _ => Err("a key of an elliptic curve".to_owned()),
        }
    }

    fn rsa(key: Result<RsaKeyPair, KeyRejected>) -> Result<Self, String> {
        match key {
            Ok(key) => Ok(Self::Rsa(Box::new(key), SystemRandom::new())),
            Err(error) => Err(match error.to_string().as_str() {
                "TooSmall" => {
                    "an RSA key of less than 2048 bits, or with the exponent 3".to_owned()
                }
                "TooLarge" => "an RSA key of more than 4096 bits".to_owned(),
                "WrongAlgorithm" => "a key of another algorithm".to_owned(),
                error => format!("a key that is broken ({error})"),
            }),
        }
    }

    pub(super) const fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(..) => "rsa-sha256",
            Self::Ed25519(_) => "ed25519-sha256",
        }
    }

    /// What stands at `k=` and, in base64, at `p=` of the record in the DNS: a
    /// `SubjectPublicKeyInfo` for RSA, the 32 octets alone for Ed25519 (RFC 8463 section 4).
    pub(super) fn public(&self) -> (&'static str, Vec<u8>) {
        match self {
            Self::Rsa(key, _) => {
                let bits = [&[0], key.public_key().as_ref()].concat();
                let bits = der(0x03, &bits);
                ("rsa", der(0x30, &[&RSA_ENCRYPTION[..], &bits].concat()))
            }
            Self::Ed25519(key) => ("ed25519", key.public_key().as_ref().to_vec()),
        }
    }

    /// The signature of what is signed. Ed25519 signs its SHA-256 (RFC 8463 section 3).
    pub(super) fn sign(&self, signed: &[u8]) -> Vec<u8> {
        match self {
            Self::Rsa(key, random) => {
                let mut signature = vec![0; key.public().modulus_len()];
                // Chance hides the key from who measures the time; the signature has none of it.
                key.sign(&RSA_PKCS1_SHA256, random, signed, &mut signature)
                    .unwrap_or_else(|_| unreachable!("the buffer is as long as the modulus"));
                signature
            }
            Self::Ed25519(key) => key.sign(digest(&SHA256, signed).as_ref()).as_ref().to_vec(),
        }
    }
}

/// A value of ASN.1 in DER (X.690), of less than 64 KiB.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let length: &[u8] = match (high, low) {
        (0, 0..0x80) => &[low],
        (0, _) => &[0x81, low],
        _ => &[0x82, high, low],
    };
    [&[tag], length, content].concat()
}
