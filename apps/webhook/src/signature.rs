//! Signatures as [Standard Webhooks](https://www.standardwebhooks.com) have them: HMAC-SHA256 over
//! `ID.TIMESTAMP.BODY`.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ring::hmac::{Context, HMAC_SHA256, Key};

/// The prefix of a secret.
const PREFIX: &str = "whsec_";
/// The lengths of a secret, in bytes, that the specification allows.
const LENGTHS_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// The secrets that webhooks are signed with; with none they are not signed.
#[derive(Clone, Default)]
pub struct Secrets(Vec<Key>);

impl Secrets {
    /// Reads secrets that white space or commas separate: each is `whsec_` and base64.
    ///
    /// # Errors
    /// Which one is wrong, and what is expected; nothing of its content.
    pub fn parse(text: &str) -> Result<Self, String> {
        let separator = |c: char| c == ',' || c.is_whitespace();
        let secrets = text.split(separator).filter(|secret| !secret.is_empty());
        let keys = (1..).zip(secrets).map(|(number, secret)| {
            let encoded = secret
                .strip_prefix(PREFIX)
                .ok_or_else(|| format!("one without {PREFIX} (number {number})"))?;
            let bytes = BASE64_STANDARD
                .decode(encoded)
                .map_err(|_| format!("one that is no base64 after {PREFIX} (number {number})"))?;
            if !LENGTHS_BYTES.contains(&bytes.len()) {
                return Err(format!("one of {} bytes (number {number})", bytes.len()));
            }
            Ok(Key::new(HMAC_SHA256, &bytes))
        });
        keys.collect::<Result<_, _>>().map(Self)
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is signed.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of `webhook-signature`: a signature by each secret, so that a receiver that knows one
    /// of them can verify it; none without secrets. `timestamp` is in seconds since 1970.
    pub fn sign(&self, id: &str, timestamp: u64, body: &[u8]) -> Option<String> {
        let signatures = self.0.iter().map(|key| {
            let mut context = Context::with_key(key);
            context.update(format!("{id}.{timestamp}.").as_bytes());
            context.update(body);
            format!("v1,{}", BASE64_STANDARD.encode(context.sign()))
        });
        let signatures = signatures.collect::<Vec<_>>().join(" ");
        (!signatures.is_empty()).then_some(signatures)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} secrets", self.0.len())
    }
}
