//! Memory that small byte strings share, so that each is not an allocation of its own.
//!
//! Thousands of records and results are in flight at once, so memory that is freed has long left
//! the processor's caches, and an allocation of its own for each of them costs more than copying
//! its bytes. On Kafka, with records of 1 KiB, a record takes 9.8 us of CPU with blocks and 10.8 us
//! without. A block stays as long as anything in it does, so blocks are small.

use bytes::{Bytes, BytesMut};

/// Bytes of a block.
const BLOCK_BYTES: usize = 8 << 10;
/// A string of more bytes than this has memory of its own: less than a sixth of a block stays
/// unused.
const SHARED_BYTES_MAX: usize = BLOCK_BYTES / 6;

/// Where copies lie, one after another. Its memory stays as long as any of them does.
#[derive(Debug, Default)]
pub(crate) struct Block(BytesMut);

impl Block {
    /// Copies the parts of one byte string.
    pub(crate) fn concat(&mut self, parts: &[&[u8]]) -> Bytes {
        let bytes = parts.iter().map(|part| part.len()).sum();
        let mut own = BytesMut::new();
        let memory = if bytes > SHARED_BYTES_MAX {
            own.reserve(bytes);
            &mut own
        } else {
            if self.0.capacity() < bytes {
                self.0 = BytesMut::with_capacity(BLOCK_BYTES);
            }
            &mut self.0
        };
        parts.iter().for_each(|part| memory.extend_from_slice(part));
        memory.split().freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_strings_share_a_block_and_a_large_one_between_them_has_its_own() {
        let mut block = Block::default();
        let large = [0; SHARED_BYTES_MAX];
        let (mut small, mut larger) = (Vec::new(), Vec::new());
        for number in 0..=u8::MAX {
            small.push(block.concat(&[&[number], &[number; 99]]));
            larger.push(block.concat(&[&large, &[number]]));
        }
        let place = |copy: &Bytes| copy.as_ptr() as usize;
        let followed = small.windows(2).filter(|two| place(&two[0]) + 100 == place(&two[1]));
        assert!(followed.count() >= 240, "81 lie in a block");
        for (number, (small, larger)) in small.iter().zip(&larger).enumerate() {
            let number = u8::try_from(number).unwrap();
            assert_eq!(small[..], [number; 100]);
            assert_eq!(larger[..], [&large[..], &[number]].concat());
        }
    }

    #[test]
    fn the_parts_of_a_string_lie_behind_those_of_the_one_before() {
        let mut block = Block::default();
        let strings = [block.concat(&[b"a", b"", b"bc"]), block.concat(&[]), block.concat(&[b"d"])];
        assert_eq!(strings, ["abc", "", "d"]);
        assert_eq!(strings[0].as_ptr() as usize + 3, strings[2].as_ptr() as usize);
    }
}
