//! Signatures of mails (DKIM: RFC 6376, and RFC 8463 for Ed25519).
//!
//! The signer is our own: those of the libraries stamp the time (`t=`), and a second attempt would
//! be another mail. Everything else is a function of the mail and the key: RSA signs by PKCS #1
//! v1.5 and Ed25519 without chance, so that the signature is one too.
//!
//! Every header field is signed, `From` once more than it is there, so that nobody can add one; and
//! the body as a whole. Both are in the canonical form `relaxed`, which bears that a relay folds
//! headers anew, or changes spaces at the end of a line.

mod canonical;
mod key;

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, digest};

use super::address::{AddressError, a_labels};
use super::secret::Secret;
use key::Key;

/// The most octets of a line of the signature.
const LINE_OCTETS: usize = 76;

/// Signs the mails of a domain. Clones share the key; `Debug` does not show it.
#[derive(Clone)]
pub struct Dkim {
    domain: String,
    selector: String,
    key: Arc<Key>,
}

/// Why nothing can be signed so. It never shows the key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DkimError {
    /// The selector is no name in the DNS.
    #[error("selector: {found:?}: {error}")]
    Selector {
        /// What was found.
        found: String,
        /// Why it is none.
        error: AddressError,
    },
    /// The domain is none.
    #[error("domain: {found:?}: {error}")]
    Domain {
        /// What was found.
        found: String,
        /// Why it is none.
        error: AddressError,
    },
    /// The key can't be used: what was found.
    #[error(
        "key: found {0}, expected an RSA key of 2048 to 4096 bits or an Ed25519 key, in PEM (PKCS #8 \
         or PKCS #1) without a password"
    )]
    Key(String),
}

impl Dkim {
    /// Signs for `domain` (`d=`) with the private key in `pem`, whose public half stands in the DNS
    /// below `selector` (`s=`), which is in ASCII. A domain beyond it becomes A-labels.
    ///
    /// The key is RSA with 2,048 to 4,096 bits (RFC 8301) or Ed25519, in PKCS #8 or PKCS #1.
    ///
    /// # Errors
    /// See [`DkimError`].
    pub fn new(selector: &str, domain: &str, pem: &Secret) -> Result<Self, DkimError> {
        let selector = match selector.is_ascii() {
            true => a_labels(selector),
            false => Err(AddressError::Domain),
        }
        .map_err(|error| DkimError::Selector { found: selector.to_owned(), error })?;
        let domain = a_labels(domain)
            .map_err(|error| DkimError::Domain { found: domain.to_owned(), error })?;
        let key = Key::from_pem(pem.expose()).map_err(DkimError::Key)?;
        Ok(Self {
            domain: domain.to_ascii_lowercase(),
            selector: selector.to_ascii_lowercase(),
            key: Arc::new(key),
        })
    }

    /// The algorithm, as it stands in signatures: `rsa-sha256` or `ed25519-sha256`.
    pub fn algorithm(&self) -> &'static str {
        self.key.algorithm()
    }

    /// The name in the DNS at which the public key must be found.
    pub fn record_name(&self) -> String {
        format!("{}._domainkey.{}", self.selector, self.domain)
    }

    /// The TXT record that must be there (RFC 6376 section 3.6.1). A string of the DNS has 255
    /// octets at most: a longer record is several strings, which readers put together.
    pub fn record(&self) -> String {
        let (kind, public) = self.key.public();
        format!("v=DKIM1; k={kind}; p={}", STANDARD.encode(public))
    }

    /// The header field `DKIM-Signature` of a mail, with its CRLF. `head` has the mail's header
    /// fields, each with its CRLF, no name twice.
    pub(super) fn sign(&self, head: &str, body: &[u8]) -> String {
        let mut signed = String::with_capacity(head.len() + 512);
        let mut names = Vec::new();
        for (name, value) in canonical::fields(head) {
            canonical::write_field(&mut signed, name, value);
            signed.push_str("\r\n");
            names.push(name);
            // Oversigned (RFC 6376 section 8.15): there is no second one.
            if name.eq_ignore_ascii_case("From") {
                names.push(name);
            }
        }
        let mut field = format!(
            "v=1; a={}; c=relaxed/relaxed;\r\n d={}; s={};\r\n h=",
            self.algorithm(),
            self.domain,
            self.selector
        );
        write_list(&mut field, &names);
        let hash = digest(&SHA256, &canonical::body(body));
        field.extend([";\r\n bh=", &STANDARD.encode(hash), ";\r\n b="]);
        canonical::write_field(&mut signed, "DKIM-Signature", &field);
        let signature = STANDARD.encode(self.key.sign(signed.as_bytes()));
        let mut header = String::with_capacity(field.len() + signature.len() + 64);
        header.extend(["DKIM-Signature: ", &field]);
        let mut rest = &*signature;
        while rest.len() > LINE_OCTETS - " b=".len() {
            let (line, behind) = rest.split_at(LINE_OCTETS - " b=".len());
            header.extend([line, "\r\n "]);
            rest = behind;
        }
        header.extend([rest, "\r\n"]);
        header
    }
}

/// Names with colons between them, folded.
fn write_list(field: &mut String, names: &[&str]) {
    let mut column = " h=".len();
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            field.push(':');
            column += 1;
            if column + name.len() + 1 > LINE_OCTETS {
                field.push_str("\r\n  ");
                column = 2;
            }
        }
        field.push_str(name);
        column += name.len();
    }
}

impl fmt::Debug for Dkim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dkim")
            .field("domain", &self.domain)
            .field("selector", &self.selector)
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}
