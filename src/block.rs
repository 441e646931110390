//! Memory that small byte strings share, so that each is not an allocation of its own.

use bytes::{Bytes, BytesMut};

/// Bytes of a block.
const BLOCK_BYTES: usize = 8 << 10;
/// What is copied at once and has more bytes than this has memory of its own: less than a sixth of a
/// block stays unused.
const SHARED_BYTES_MAX: usize = BLOCK_BYTES / 6;

/// Where copies lie, one after another. Its memory stays as long as any of them does.
#[derive(Debug, Default)]
pub(crate) struct Block(BytesMut);

impl Block {
    /// Copies a key and a value.
    pub(crate) fn copies(&mut self, parts: [Option<&[u8]>; 2]) -> [Option<Bytes>; 2] {
        let mut own = BytesMut::new();
        let memory = self.memory(&mut own, parts.iter().flatten().map(|part| part.len()).sum());
        parts.map(|part| {
            memory.extend_from_slice(part?);
            Some(memory.split().freeze())
        })
    }

    /// Copies the parts of one byte string.
    pub(crate) fn concat(&mut self, parts: &[&[u8]]) -> Bytes {
        let mut own = BytesMut::new();
        let memory = self.memory(&mut own, parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| memory.extend_from_slice(part));
        memory.split().freeze()
    }

    /// Where so many bytes have room.
    fn memory<'a>(&'a mut self, own: &'a mut BytesMut, bytes: usize) -> &'a mut BytesMut {
        if bytes > SHARED_BYTES_MAX {
            own.reserve(bytes);
            return own;
        }
        if self.0.capacity() < bytes {
            self.0 = BytesMut::with_capacity(BLOCK_BYTES);
        }
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_strings_share_a_block_and_a_large_one_between_them_has_its_own() {
        let mut block = Block::default();
        let large = [0; SHARED_BYTES_MAX + 1];
        let (mut small, mut larger) = (Vec::new(), Vec::new());
        for number in 0..=u8::MAX {
            small.push(block.copies([Some(&[number]), Some(&[number; 99])]));
            larger.push(block.concat(&[&large, &[number]]));
        }
        let place = |copies: &[Option<Bytes>; 2]| copies[0].as_ref().unwrap().as_ptr() as usize;
        let followed = small.windows(2).filter(|two| place(&two[0]) + 100 == place(&two[1]));
        assert!(followed.count() >= 240, "81 lie in a block");
        for (number, ([key, value], larger)) in small.iter().zip(&larger).enumerate() {
            let number = u8::try_from(number).unwrap();
            assert_eq!(key.as_deref(), Some(&[number][..]));
            assert_eq!(value.as_deref(), Some(&[number; 99][..]));
            assert_eq!(larger[..], [&large[..], &[number]].concat());
        }
    }

    #[test]
    fn an_empty_string_is_told_from_none() {
        assert_eq!(Block::default().copies([Some(b""), None]), [Some(Bytes::new()), None]);
        assert_eq!(Block::default().concat(&[]), Bytes::new());
    }

    #[test]
    fn the_parts_of_a_string_lie_behind_those_of_the_one_before() {
        let mut block = Block::default();
        let strings = [block.concat(&[b"a", b"", b"bc"]), block.concat(&[b"d"])];
        assert_eq!(strings, ["abc", "d"]);
        assert_eq!(strings[0].as_ptr() as usize + 3, strings[1].as_ptr() as usize);
    }
}
