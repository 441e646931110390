//! The id of a customer.

use std::fmt;

use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};

/// The characters of 128 bits.
const CHARS: usize = 32;

/// The MD5 of a customer's name: 32 hexadecimal characters, of which it keeps the case.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CustomerId(String);

/// Bytes that are no customer's id: so many. They are not shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {0} bytes, expected a customer's id: 32 hexadecimal characters")]
pub struct CustomerIdError(usize);

impl CustomerId {
    /// The id of the customer of that name.
    pub fn of(name: &str) -> Self {
        Self(format!("{:032x}", u128::from_be_bytes(Md5::digest(name).into())))
    }

    /// Its characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its characters as a hexadecimal number.
    pub fn number(&self) -> u128 {
        u128::from_str_radix(&self.0, 16)
            .unwrap_or_else(|_| unreachable!("32 hexadecimal characters are a number"))
    }
}

impl TryFrom<String> for CustomerId {
    type Error = CustomerIdError;

    fn try_from(text: String) -> Result<Self, CustomerIdError> {
        match text.len() == CHARS && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            true => Ok(Self(text)),
            false => Err(CustomerIdError(text.len())),
        }
    }
}

impl From<CustomerId> for String {
    fn from(id: CustomerId) -> Self {
        id.0
    }
}

impl fmt::Display for CustomerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CustomerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CustomerId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_md5_of_the_name() {
        assert_eq!(CustomerId::of("Italo").as_str(), "d94a6c43d9f487c1bef659f05c002213");
    }

    #[test]
    fn only_thirty_two_hexadecimal_characters_are_an_id() {
        for text in
            ["", "d94a", "+94a6c43d9f487c1bef659f05c002213", "ä94a6c43d9f487c1bef659f05c002"]
        {
            assert!(CustomerId::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
