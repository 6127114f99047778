//! Which partition a key belongs to: exactly what Kafka's Java clients compute.
//!
//! Invariant: for the same key bytes this is the partition that a Java producer would choose, for ever: output topics
//! stay co-partitioned with other programs', and a rescaled or restarted application finds its state.

const SEED: u32 = 0x9747_b28c;
const M: u32 = 0x5bd1_e995;

/// The partition of `key` out of `partitions` (at least 1).
pub fn partition_of(key: &[u8], partitions: i32) -> i32 {
    // Kafka's `toPositive` cuts the sign off; the absolute value would place keys differently.
    (murmur2(key) & 0x7fff_ffff) % partitions.max(1)
}

/// Kafka's variant of murmur2, 32 bits.
pub fn murmur2(data: &[u8]) -> i32 {
    let mut h = SEED ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let tail = words.remainder();
    if !tail.is_empty() {
        for (i, byte) in tail.iter().enumerate() {
            h ^= u32::from(*byte) << (8 * i);
        }
        h = h.wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    (h ^ (h >> 15)) as i32
}

#[cfg(test)]
mod tests {
    use super::{murmur2, partition_of};

    #[test]
    fn hashes_are_those_of_kafkas_own_tests() {
        let vectors: [(&str, i32); 6] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
        ];
        for (key, hash) in vectors {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
    }

    #[test]
    fn a_negative_hash_loses_its_sign_bit_and_is_not_negated() {
        // murmur2("21") is negative: with the sign bit cut 1173551340, negated 973932308.
        assert_eq!(partition_of(b"21", 16), 1_173_551_340 % 16);
        assert_eq!(partition_of(b"21", 7), 1_173_551_340 % 7);
        assert_eq!(partition_of(b"abc", 10), 7);
    }

    #[test]
    fn bytes_above_127_are_unsigned_in_words_and_in_the_tail() {
        // Java masks each byte with 0xff: sign extension would give other partitions for every text beyond ASCII.
        let all: Vec<u8> = (0u8..=255).chain([0xff, 0xfe, 0xfd]).collect();
        let reference = |data: &[u8]| {
            let mut h = 0x9747_b28c_u32 ^ data.len() as u32;
            let n = data.len() / 4 * 4;
            for i in (0..n).step_by(4) {
                let b = |j: usize| u32::from(data[i + j]);
                let mut k = b(0) + (b(1) << 8) + (b(2) << 16) + (b(3) << 24);
                k = k.wrapping_mul(0x5bd1_e995);
                k ^= k >> 24;
                k = k.wrapping_mul(0x5bd1_e995);
                h = h.wrapping_mul(0x5bd1_e995) ^ k;
            }
            let rest = data.len() % 4;
            if rest >= 3 {
                h ^= u32::from(data[n + 2]) << 16;
            }
            if rest >= 2 {
                h ^= u32::from(data[n + 1]) << 8;
            }
            if rest >= 1 {
                h = (h ^ u32::from(data[n])).wrapping_mul(0x5bd1_e995);
            }
            h ^= h >> 13;
            h = h.wrapping_mul(0x5bd1_e995);
            (h ^ (h >> 15)) as i32
        };
        for end in 0..=all.len() {
            assert_eq!(murmur2(&all[..end]), reference(&all[..end]), "{end} bytes");
            assert_eq!(
                murmur2(&all[all.len() - end..]),
                reference(&all[all.len() - end..])
            );
        }
    }
}
