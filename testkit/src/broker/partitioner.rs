//! Where a record goes: the hashes that Kafka's clients use.

/// Places records without an explicit partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Partitioner {
    /// librdkafka's default, `consistent_random`: CRC-32 of the key modulo the number of
    /// partitions; a null or an empty key goes anywhere.
    #[default]
    ConsistentRandom,
    /// librdkafka's `murmur2_random`, the Java client's hash: the lower 31 bits of murmur2 modulo
    /// the number of partitions; a null key goes anywhere.
    Murmur2Random,
}

impl Partitioner {
    /// The partition of a key, or `None` if a record with it may go anywhere.
    ///
    /// # Panics
    /// If there are no partitions.
    pub fn partition(self, key: Option<&[u8]>, partitions: i32) -> Option<i32> {
        let key = key?;
        let hash = match self {
            Self::ConsistentRandom if key.is_empty() => return None,
            Self::ConsistentRandom => crc32fast::hash(key),
            Self::Murmur2Random => murmur2(key) & 0x7fff_ffff,
        };
        Some((hash % partitions as u32) as i32)
    }
}

/// `org.apache.kafka.common.utils.Utils.murmur2`.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = word.iter().rev().fold(0, |k, &byte| k << 8 | u32::from(byte)).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        hash ^= rest.iter().rev().fold(0, |k, &byte| k << 8 | u32::from(byte));
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_goes_where_librdkafka_and_where_java_would_place_it() {
        let key = Some("3c91b".as_bytes());
        assert_eq!(Partitioner::ConsistentRandom.partition(key, 6), Some(5));
        assert_eq!(Partitioner::Murmur2Random.partition(key, 6), Some(0));
    }

    /// The values of `UtilsTest.testMurmur2` in Apache Kafka.
    #[test]
    fn murmur2_agrees_with_apache_kafka() {
        assert_eq!(murmur2(b"21").cast_signed(), -973_932_308);
        assert_eq!(murmur2(b"foobar").cast_signed(), -790_332_482);
        assert_eq!(murmur2(b"a-little-bit-long-string").cast_signed(), -985_981_536);
        assert_eq!(murmur2(b"a-little-bit-longer-string").cast_signed(), -1_486_304_829);
        assert_eq!(
            murmur2(b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8").cast_signed(),
            -58_897_971
        );
        assert_eq!(murmur2(b"abc").cast_signed(), 479_470_107);
    }

    #[test]
    fn an_empty_key_is_random_for_librdkafka_and_hashed_by_java() {
        assert_eq!(Partitioner::ConsistentRandom.partition(Some(b""), 6), None);
        assert!(Partitioner::Murmur2Random.partition(Some(b""), 6).is_some());
        assert_eq!(Partitioner::Murmur2Random.partition(None, 6), None);
    }
}
