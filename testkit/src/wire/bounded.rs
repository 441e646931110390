//! Decoding that takes no more memory than the bytes at hand can fill.
//!
//! The decoder of `kafka-protocol` reserves what an array's length claims. Here no length is larger
//! than the bytes that are left, and every element takes one of them at least.

use bytes::{Buf, Bytes, TryGetError};
use kafka_protocol::messages::ApiKey;
use kafka_protocol::protocol::buf::ByteBuf;
use kafka_protocol::protocol::{Decodable, HeaderVersion};

/// Decodes a request. What follows it is passed over, as Kafka does: librdkafka asks for all topics
/// with three bytes too many (Metadata 13).
///
/// # Errors
/// Says what is wrong with the bytes.
pub(crate) fn decode<Q: Decodable + HeaderVersion>(
    body: &Bytes,
    version: i16,
) -> Result<Q, String> {
    const FLEXIBLE_HEADER: i16 = 2;
    if Q::header_version(version) < FLEXIBLE_HEADER {
        // Lengths of four bytes look like any number: a first pass takes none for larger than one
        // more than the rest, whatever it is, and runs out of bytes if that was an array's.
        let capped = Bounded { bytes: body.clone(), varint: 0, shift: 0, caps: true };
        read::<Q>(capped, version)?;
    }
    read(Bounded { bytes: body.clone(), varint: 0, shift: 0, caps: false }, version)
}

fn read<Q: Decodable>(mut bytes: Bounded, version: i16) -> Result<Q, String> {
    Q::decode(&mut bytes, version).map_err(|error| error.to_string())
}

/// The header's version of a request, if there is such an API.
pub(super) fn header_version(api: ApiKey, version: i16) -> i16 {
    api.request_header_version(version)
}

struct Bounded {
    bytes: Bytes,
    /// The varint that is being read, as far as it is.
    varint: u64,
    shift: u32,
    /// Whether a number of four bytes is at most one more than the bytes that are left.
    caps: bool,
}

impl Buf for Bounded {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }

    /// A length of a varint comes byte by byte.
    fn try_get_u8(&mut self) -> Result<u8, TryGetError> {
        let byte = self.bytes.try_get_u8()?;
        self.varint |= u64::from(byte & 0x7f) << self.shift;
        // A length is stored with one added, so that 0 can say that there is none.
        if self.varint > self.bytes.len() as u64 + 1 && self.shift > 0 {
            return Err(TryGetError {
                requested: self.varint as usize,
                available: self.remaining(),
            });
        }
        if byte < 0x80 {
            (self.varint, self.shift) = (0, 0);
        } else {
            self.shift = (self.shift + 7).min(56);
        }
        Ok(byte)
    }

    fn try_get_i32(&mut self) -> Result<i32, TryGetError> {
        let number = self.bytes.try_get_i32()?;
        let left = i32::try_from(self.bytes.len() + 1).unwrap_or(i32::MAX);
        Ok(if self.caps { number.min(left) } else { number })
    }
}

impl ByteBuf for Bounded {
    fn peek_bytes(&mut self, range: std::ops::Range<usize>) -> Bytes {
        self.bytes.slice(range)
    }

    fn get_bytes(&mut self, size: usize) -> Bytes {
        self.bytes.split_to(size)
    }
}
