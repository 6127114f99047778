//! Variable-length integers, and a reader of bytes that cannot run over their end.
//!
//! Invariant: the reader never panics and never allocates; whatever is cut short or malformed is `None`, and the
//! caller says what was damaged. Integers are LEB128, signed ones zigzag first.

/// Longest encoding of 64 bits.
const MAX_LEN: usize = 10;

pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(super) fn unzigzag(value: u64) -> i64 {
    ((value >> 1) as i64) ^ -((value & 1) as i64)
}

pub(super) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(super) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put(out, zigzag(value));
}

pub(super) fn put_signed_128(out: &mut Vec<u8>, value: i128) {
    let mut rest = ((value << 1) ^ (value >> 127)) as u128;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// A length, then the bytes.
pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// 0 for `None`, else length + 1 and the bytes.
pub(super) fn put_optional_bytes(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put(out, bytes.map_or(0, |b| b.len() as u64 + 1));
    out.extend_from_slice(bytes.unwrap_or_default());
}

/// A whole column. Goes through a buffer on the stack: one capacity check for many values instead of one per byte.
pub(super) fn put_all(out: &mut Vec<u8>, values: impl Iterator<Item = u64>) {
    let mut buffer = [0u8; 512];
    let mut len = 0;
    for mut value in values {
        if len > buffer.len() - MAX_LEN {
            out.extend_from_slice(&buffer[..len]);
            len = 0;
        }
        while value >= 0x80 {
            buffer[len] = value as u8 | 0x80;
            value >>= 7;
            len += 1;
        }
        buffer[len] = value as u8;
        len += 1;
    }
    out.extend_from_slice(&buffer[..len]);
}

/// Reads from the front of a byte string.
#[derive(Clone)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.array::<1>().map(|[b]| b)
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Option<u64> {
        let (&first, rest) = self.rest.split_first()?;
        if first < 0x80 {
            self.rest = rest;
            return Some(u64::from(first));
        }
        self.long_varint(64).map(|v| v as u64)
    }

    #[inline]
    pub(super) fn signed(&mut self) -> Option<i64> {
        self.varint().map(unzigzag)
    }

    pub(super) fn signed_128(&mut self) -> Option<i128> {
        let value = self.long_varint(128)?;
        Some(((value >> 1) as i128) ^ -((value & 1) as i128))
    }

    /// A number of things of at least a byte each: it cannot be larger than what is left, so that nothing is allocated for it in vain.
    pub(super) fn count(&mut self) -> Option<usize> {
        let len = self.varint()?;
        if len > self.rest.len() as u64 {
            None
        } else {
            Some(len as usize)
        }
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.varint()?;
        self.take(usize::try_from(len).ok()?)
    }

    pub(super) fn optional_bytes(&mut self) -> Option<Option<&'a [u8]>> {
        match self.varint()? {
            0 => Some(None),
            len => self.take(usize::try_from(len - 1).ok()?).map(Some),
        }
    }

    fn long_varint(&mut self, bits: u32) -> Option<u128> {
        let mut value = 0u128;
        let mut shift = 0;
        loop {
            let byte = self.byte()?;
            let part = u128::from(byte & 0x7f);
            // The last byte may only carry the bits that are left.
            if shift >= bits || (bits - shift < 7 && part >> (bits - shift) != 0) {
                return None;
            }
            value |= part << shift;
            if byte < 0x80 {
                return Some(value);
            }
            shift += 7;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_integer_of_more_bits_than_it_may_have_is_refused() {
        let mut eleven = vec![0xff; 10];
        eleven.push(0);
        assert_eq!(Reader::new(&eleven).varint(), None);
        let mut too_large = vec![0xff; 9];
        too_large.push(2);
        assert_eq!(Reader::new(&too_large).varint(), None);
        too_large[9] = 1;
        assert_eq!(Reader::new(&too_large).varint(), Some(u64::MAX));
    }

    #[test]
    fn a_length_beyond_the_end_is_refused() {
        assert_eq!(Reader::new(&[3, 1, 2]).bytes(), None);
        assert_eq!(Reader::new(&[3, 1, 2]).count(), None);
        assert_eq!(Reader::new(&[4, 1, 2]).optional_bytes(), None);
        assert_eq!(
            Reader::new(&[3, 1, 2]).optional_bytes(),
            Some(Some(&[1, 2][..]))
        );
        let mut huge = Vec::new();
        put(&mut huge, u64::MAX);
        assert_eq!(Reader::new(&huge).bytes(), None);
    }

    proptest! {
        #[test]
        fn integers_come_back(values in prop::collection::vec(any::<u64>().prop_flat_map(|v| (0..64u32).prop_map(move |s| v >> s)), 0..200), wide: i128) {
            let mut column = Vec::new();
            put_all(&mut column, values.iter().copied());
            let mut single = Vec::new();
            values.iter().for_each(|v| put(&mut single, *v));
            prop_assert_eq!(&column, &single);
            put_signed_128(&mut column, wide);
            let mut reader = Reader::new(&column);
            for value in values {
                prop_assert_eq!(reader.varint(), Some(value));
                prop_assert_eq!(unzigzag(zigzag(value as i64)), value as i64);
            }
            prop_assert_eq!(reader.signed_128(), Some(wide));
            prop_assert!(reader.is_empty());
        }
    }
}
