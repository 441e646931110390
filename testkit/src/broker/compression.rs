//! The codecs of record batches; the broker only reads them, for records that the traits ask for.

use std::io::Read as _;

use bytes::Bytes;

/// What a batch may have decompressed, at most; one with more is read as if it were empty.
const DECOMPRESSED_MAX_BYTES: u64 = 64 << 20;

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    /// The codec of this number in a batch's attributes; the number if there is none.
    pub(crate) const fn numbered(number: i16) -> Result<Self, i16> {
        match number {
            0 => Ok(Self::None),
            1 => Ok(Self::Gzip),
            2 => Ok(Self::Snappy),
            3 => Ok(Self::Lz4),
            4 => Ok(Self::Zstd),
            other => Err(other),
        }
    }
}

/// The records of a batch; nothing if they can't be had.
pub(super) fn decompress(codec: Codec, packed: Bytes) -> Option<Bytes> {
    match codec {
        Codec::None => Some(packed),
        Codec::Gzip => read(flate2::read::MultiGzDecoder::new(&packed[..])),
        Codec::Snappy => snappy(&packed),
        Codec::Lz4 => read(lz4_flex::frame::FrameDecoder::new(&packed[..])),
        Codec::Zstd => read(ruzstd::decoding::StreamingDecoder::new(&packed[..]).ok()?),
    }
}

fn read(reader: impl std::io::Read) -> Option<Bytes> {
    let mut records = Vec::new();
    let read = reader.take(DECOMPRESSED_MAX_BYTES + 1).read_to_end(&mut records).ok()?;
    (read as u64 <= DECOMPRESSED_MAX_BYTES).then(|| records.into())
}

/// Java's clients write blocks with a header of their own, librdkafka one plain block.
fn snappy(packed: &[u8]) -> Option<Bytes> {
    const MAGIC: &[u8] = b"\x82SNAPPY\0";
    const HEADER_BYTES: usize = 16;
    if !packed.starts_with(MAGIC) {
        return snappy_block(packed).map(Into::into);
    }
    let mut rest = packed.get(HEADER_BYTES..)?;
    let mut records = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
        records.extend(snappy_block(after.get(..length)?)?);
        if records.len() as u64 > DECOMPRESSED_MAX_BYTES {
            return None;
        }
        rest = &after[length..];
    }
    Some(records.into())
}

fn snappy_block(block: &[u8]) -> Option<Vec<u8>> {
    let length = snap::raw::decompress_len(block).ok()?;
    if length as u64 > DECOMPRESSED_MAX_BYTES {
        return None;
    }
    snap::raw::Decoder::new().decompress_vec(block).ok()
}
