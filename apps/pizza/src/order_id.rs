//! The id of an order, which is the key of its records.

use std::fmt;
use std::str::{self, FromStr};

use serde::{Deserialize, Serialize};

/// The number of characters of an id.
const CHARS: usize = 5;

/// Five hexadecimal characters in lower case, such as `3c91b`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrderId([u8; CHARS]);

/// Bytes that are no order's id: so many. They are not shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("found {0} bytes, expected an order's id: five characters of 0-9 and a-f")]
pub struct OrderIdError(usize);

impl OrderId {
    /// The id that the lowest 20 bits spell; random bits draw a random one.
    pub fn from_bits(bits: u32) -> Self {
        let digit = |index: usize| {
            let nibble = bits >> (4 * (CHARS - 1 - index)) & 0xf;
            char::from_digit(nibble, 16).map_or(b'0', |digit| digit as u8)
        };
        Self(std::array::from_fn(digit))
    }

    /// Its characters.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_else(|_| unreachable!("hexadecimal digits are ASCII"))
    }

    /// Its characters, as a record's key.
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl TryFrom<&[u8]> for OrderId {
    type Error = OrderIdError;

    fn try_from(bytes: &[u8]) -> Result<Self, OrderIdError> {
        let is_digit = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        match <[u8; CHARS]>::try_from(bytes) {
            Ok(digits) if digits.iter().all(is_digit) => Ok(Self(digits)),
            _ => Err(OrderIdError(bytes.len())),
        }
    }
}

impl FromStr for OrderId {
    type Err = OrderIdError;

    fn from_str(text: &str) -> Result<Self, OrderIdError> {
        Self::try_from(text.as_bytes())
    }
}

impl TryFrom<String> for OrderId {
    type Error = OrderIdError;

    fn try_from(text: String) -> Result<Self, OrderIdError> {
        text.parse()
    }
}

impl From<OrderId> for String {
    fn from(id: OrderId) -> Self {
        id.as_str().to_owned()
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OrderId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_bits_are_five_characters() {
        assert_eq!(OrderId::from_bits(0x3c91b).as_str(), "3c91b");
        assert_eq!(OrderId::from_bits(0xfff0_0001).as_str(), "00001");
    }

    #[test]
    fn only_five_hexadecimal_characters_are_an_id() {
        assert_eq!("3c91b".parse(), Ok(OrderId::from_bits(0x3c91b)));
        for text in ["", "3c91", "3c91b0", "3C91B", "3c91g", "ä91b"] {
            assert!(text.parse::<OrderId>().is_err(), "{text}");
        }
    }
}
