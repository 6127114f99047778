//! snappy as Kafka's clients write it: in the framing of the Java library, or bare, which older clients of other languages send.
//!
//! Invariant: room is made only for sizes that the format can reach from the bytes that are there. The stream format of snappy's
//! own authors (`sNaPpY`) is not read: nobody writes it to Kafka.

use super::{Output, Stop, damaged};

/// What the Java library's stream begins with: eight bytes, then its version and the oldest version that reads it, four bytes each.
const JAVA: &[u8] = b"\x82SNAPPY\0";
const JAVA_HEADER: usize = 16;
/// The best a copy can do: 64 bytes from three. A little is left for short data.
const MOST_RATIO: usize = 22;

pub(super) fn decompress(data: &[u8], out: &mut Output<'_>) -> Result<(), Stop> {
    if !data.starts_with(JAVA) {
        return block(data, out);
    }
    let mut rest = data;
    while !rest.is_empty() {
        // Streams may follow one another: a header where a length is due begins the next.
        if rest.starts_with(JAVA) {
            rest = rest.get(JAVA_HEADER..).ok_or_else(short)?;
            continue;
        }
        let (length, after) = rest.split_first_chunk().ok_or_else(short)?;
        let length = u32::from_be_bytes(*length) as usize;
        let (data, after) = after.split_at_checked(length).ok_or_else(short)?;
        block(data, out)?;
        rest = after;
    }
    Ok(())
}

fn block(data: &[u8], out: &mut Output<'_>) -> Result<(), Stop> {
    let size = snap::raw::decompress_len(data).map_err(damaged)?;
    if size > data.len().saturating_mul(MOST_RATIO) {
        return Err(damaged("more bytes promised than it can hold"));
    }
    out.fits(size)?;
    let start = out.bytes.len();
    out.bytes.resize(start.saturating_add(size), 0);
    let into = out.bytes.get_mut(start..).unwrap_or_default();
    snap::raw::Decoder::new()
        .decompress(data, into)
        .map_err(damaged)?;
    Ok(())
}

fn short() -> Stop {
    damaged("it ends too early")
}
