//! The records of a batch (magic 2), from their bytes to columns: varints, lengths, offsets.
//!
//! Invariant: of a batch that is not valid from its first to its last byte, nothing is believed: [`find`] fails, and the caller
//! throws away what it pushed. No length or count is used before it was held against the bytes that are there.
//! Nothing is copied and nothing allocated per record. Compression, checksums and transactions are not known here.

use crate::fetch::Block;
use std::ops::Range;

/// The least a record takes: its length, attributes, timestamp, offset, key, value and number of headers, a byte each.
const LEAST_BYTES: usize = 7;

/// What a batch's header says about all its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Common {
    pub base_offset: i64,
    pub last_offset: i64,
    pub count: usize,
    pub base_timestamp: i64,
    /// The time at which the broker wrote the batch, where the topic counts that.
    pub append_time: Option<i64>,
}

/// Pushes the records at or after `from` that lie in the block.
pub(super) fn find(block: &mut Block<'_>, batch: &Common, from: i64) -> Result<(), &'static str> {
    let bytes = block.bytes();
    if batch.count > bytes.len() / LEAST_BYTES {
        return Err("more records counted than it has room for");
    }
    block.reserve(batch.count);
    let mut at = 0;
    let mut next = batch.base_offset;
    for _ in 0..batch.count {
        let (record, end) = record(bytes, at)?;
        let offset = batch.base_offset.wrapping_add(record.offset_delta);
        if offset < next || offset > batch.last_offset {
            return Err("an offset out of order");
        }
        // Not beyond the batch's last offset, which is known to have a successor.
        next = offset.wrapping_add(1);
        if offset >= from {
            let own = batch.base_timestamp.wrapping_add(record.timestamp_delta);
            let timestamp = batch.append_time.unwrap_or(own);
            block.push(offset, timestamp, record.key, record.value);
        }
        at = end;
    }
    match at == bytes.len() {
        true => Ok(()),
        false => Err("more bytes than its records take"),
    }
}

/// The key of the first record.
pub(super) fn first_key(bytes: &[u8]) -> Result<Option<&[u8]>, &'static str> {
    let (record, _) = record(bytes, 0)?;
    Ok(record.key.and_then(|key| bytes.get(key)))
}

/// One record; key and value are ranges of the bytes it was read from.
struct Record {
    offset_delta: i64,
    timestamp_delta: i64,
    key: Option<Range<usize>>,
    value: Option<Range<usize>>,
}

const CUT: &str = "a record that ends too early";

/// Reads the record at `at`; returns also where the next one begins.
#[inline(always)]
fn record(bytes: &[u8], at: usize) -> Result<(Record, usize), &'static str> {
    let (length, body) = varint(bytes, at)?;
    let end = advance(body, length).ok_or("a record of negative length")?;
    // From here on nothing is read beyond this record.
    let bytes = bytes.get(..end).ok_or(CUT)?;
    // One byte of attributes, which have no meaning yet.
    let (timestamp_delta, at) = varlong(bytes, body.wrapping_add(1))?;
    let (offset_delta, at) = varint(bytes, at)?;
    let (key, at) = blob(bytes, at)?;
    let (value, at) = blob(bytes, at)?;
    let (headers, at) = varint(bytes, at)?;
    if headers != 0 || at != end {
        skip_headers(bytes, at, headers)?;
    }
    let record = Record {
        offset_delta: i64::from(offset_delta),
        timestamp_delta,
        key,
        value,
    };
    Ok((record, end))
}

/// A length and so many bytes; -1 stands for null.
#[inline(always)]
fn blob(bytes: &[u8], at: usize) -> Result<(Option<Range<usize>>, usize), &'static str> {
    let (length, start) = varint(bytes, at)?;
    match advance(start, length) {
        Some(end) if end <= bytes.len() => Ok((Some(start..end), end)),
        Some(_) => Err(CUT),
        None if length == -1 => Ok((None, start)),
        None => Err("a negative length"),
    }
}

#[inline(always)]
fn advance(at: usize, length: i32) -> Option<usize> {
    // A position in a slice and 31 bits: far from the end of 64 bits.
    Some(at.wrapping_add(usize::try_from(length).ok()?))
}

/// Walks over the headers, which must end where the record does.
#[cold]
fn skip_headers(bytes: &[u8], mut at: usize, count: i32) -> Result<(), &'static str> {
    if count < 0 {
        return Err("a negative number of headers");
    }
    for _ in 0..count {
        let (key, after) = blob(bytes, at)?;
        if key.is_none() {
            return Err("a header without a name");
        }
        at = blob(bytes, after)?.1;
    }
    match at == bytes.len() {
        true => Ok(()),
        false => Err("a record longer than its parts"),
    }
}

/// A zigzag number of at most five bytes, and where the next thing begins. Most have one or two bytes.
#[inline(always)]
fn varint(bytes: &[u8], at: usize) -> Result<(i32, usize), &'static str> {
    let (value, at) = match *bytes.get(at..).unwrap_or_default() {
        [a, ..] if a < 0x80 => (u32::from(a), at.wrapping_add(1)),
        [a, b, ..] if b < 0x80 => (two(a, b), at.wrapping_add(2)),
        _ => long(bytes, at, 32).map(|(value, at)| (value as u32, at))?,
    };
    Ok(((value >> 1) as i32 ^ -((value & 1) as i32), at))
}

/// The same of at most ten bytes.
#[inline(always)]
fn varlong(bytes: &[u8], at: usize) -> Result<(i64, usize), &'static str> {
    let (value, at) = match *bytes.get(at..).unwrap_or_default() {
        [a, ..] if a < 0x80 => (u64::from(a), at.wrapping_add(1)),
        [a, b, ..] if b < 0x80 => (u64::from(two(a, b)), at.wrapping_add(2)),
        _ => long(bytes, at, 64)?,
    };
    Ok(((value >> 1) as i64 ^ -((value & 1) as i64), at))
}

#[inline(always)]
fn two(a: u8, b: u8) -> u32 {
    u32::from(a & 0x7F) | u32::from(b) << 7
}

/// A number of `bits` bits, seven to a byte, the lowest first.
#[cold]
fn long(bytes: &[u8], at: usize, bits: u32) -> Result<(u64, usize), &'static str> {
    let mut value = 0u64;
    let mut shift = 0;
    for (read, byte) in bytes.get(at..).unwrap_or_default().iter().enumerate() {
        let part = u64::from(byte & 0x7F);
        if shift >= bits || part >> (bits - shift).min(7) != 0 {
            return Err("a number of too many bytes");
        }
        value |= part << shift;
        if byte & 0x80 == 0 {
            return Ok((value, at.wrapping_add(read).wrapping_add(1)));
        }
        shift += 7;
    }
    Err(CUT)
}
