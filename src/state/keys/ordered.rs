//! Single values as bytes in the order of the values.
//!
//! Invariant: `take` undoes `put`, and `put` keeps the order within a type. Lengths and escapes are part of the
//! key encoding's version.

use super::VALUE;

/// Ends a text; smaller than every byte that can follow in its place.
const END: u8 = 0;
/// Begins an escaped byte.
const ESCAPE: u8 = 1;

/// A fixed-width value.
pub(super) trait Ordered: Copy {
    /// Appends the marker and the value.
    fn put(self, out: &mut Vec<u8>);
    /// Takes the value (its marker is already gone) off the front.
    fn take(bytes: &mut &[u8]) -> Option<Self>;
}

macro_rules! ordered_integer {
    ($($type:ty, $flip:expr;)*) => {$(
        impl Ordered for $type {
            #[inline]
            fn put(self, out: &mut Vec<u8>) {
                const WIDTH: usize = size_of::<$type>();
                let mut bytes = [VALUE; 1 + WIDTH];
                bytes[1..].copy_from_slice(&(self ^ $flip).to_be_bytes());
                out.extend_from_slice(&bytes);
            }

            #[inline]
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                let (value, rest) = bytes.split_first_chunk()?;
                *bytes = rest;
                Some(Self::from_be_bytes(*value) ^ $flip)
            }
        }
    )*};
}

// Flipping the sign bit puts negative numbers first.
ordered_integer! {
    i8, i8::MIN;
    i16, i16::MIN;
    i32, i32::MIN;
    i64, i64::MIN;
    i128, i128::MIN;
    u8, 0;
    u16, 0;
    u32, 0;
    u64, 0;
}

macro_rules! ordered_float {
    ($($type:ty, $bits:ty, $sign:expr, $nan:expr;)*) => {$(
        impl Ordered for $type {
            #[inline]
            fn put(self, out: &mut Vec<u8>) {
                let one = if self.is_nan() {
                    <$type>::from_bits($nan)
                } else if self == 0.0 {
                    0.0
                } else {
                    self
                };
                let bits = one.to_bits();
                // Negative numbers grow in magnitude with their bits: all bits are flipped, else the sign alone.
                let ordered = if bits & $sign != 0 { !bits } else { bits | $sign };
                ordered.put(out);
            }

            #[inline]
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                let ordered = <$bits as Ordered>::take(bytes)?;
                let bits = if ordered & $sign != 0 { ordered ^ $sign } else { !ordered };
                Some(<$type>::from_bits(bits))
            }
        }
    )*};
}

ordered_float! {
    f32, u32, 1 << 31, 0x7fc0_0000;
    f64, u64, 1 << 63, 0x7ff8_0000_0000_0000;
}

/// Appends the marker and a text or byte string.
#[inline]
pub(super) fn put_text(text: &[u8], out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(VALUE);
    if needs_escape(text) {
        put_escaped(text, out);
    } else {
        out.extend_from_slice(text);
    }
    out.push(END);
}

/// Takes a text (its marker is already gone) off the front; `scratch` holds it where it was escaped.
pub(super) fn take_text<'k: 's, 's>(
    bytes: &mut &'k [u8],
    scratch: &'s mut Vec<u8>,
) -> Option<&'s [u8]> {
    // 00 stands nowhere but at the end: in the text it is escaped.
    let (text, rest) = bytes.split_at_checked(memchr::memchr(END, bytes)?)?;
    *bytes = rest.get(1..)?;
    if memchr::memchr(ESCAPE, text).is_none() {
        return Some(text);
    }
    scratch.clear();
    let mut escaped = false;
    for &byte in text {
        match (escaped, byte) {
            (false, ESCAPE) => escaped = true,
            (false, _) => scratch.push(byte),
            (true, 1 | 2) => {
                scratch.push(byte - 1);
                escaped = false;
            }
            (true, _) => return None,
        }
    }
    if escaped { None } else { Some(scratch) }
}

#[cold]
fn put_escaped(text: &[u8], out: &mut Vec<u8>) {
    for &byte in text {
        if byte <= ESCAPE {
            out.push(ESCAPE);
            out.push(byte + 1);
        } else {
            out.push(byte);
        }
    }
}

/// Whether a byte is 00 or 01, eight bytes at a time: short texts are the hot path.
#[inline]
fn needs_escape(text: &[u8]) -> bool {
    const TWOS: u64 = 0x0202_0202_0202_0202;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let low = |chunk: &[u8; 8]| {
        let word = u64::from_ne_bytes(*chunk);
        word.wrapping_sub(TWOS) & !word & HIGH
    };
    let Some(last) = text.last_chunk::<8>() else {
        return text.iter().any(|b| *b <= ESCAPE);
    };
    // The last eight bytes overlap those before them: no loop over single bytes.
    let mut found = low(last);
    for chunk in text.as_chunks::<8>().0 {
        found |= low(chunk);
    }
    found != 0
}
