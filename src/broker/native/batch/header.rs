//! The header of a record batch: 61 bytes, big-endian, before the records.
//!
//! Invariant: a header that is handed out describes a complete batch, whose offsets are in order and have a successor; its checksum
//! holds only once [`Header::records`] was asked. The checksum covers everything from the attributes on, not what stands before
//! them: first offset, length, leader epoch and magic number are what the broker writes anew.

use super::super::codec::{Codec, CodecError, Decoder};
use super::super::records::{self, Common};
use super::{BATCH_BYTES, BatchError, damaged};

/// First offset and length, which the length does not count.
const PREFIX: usize = 12;
/// The prefix, leader epoch and magic number: as much as every format since 0.8 has in this place.
const UNTIL_MAGIC: usize = 17;
/// Where the attributes stand, from which the checksum counts.
const ATTRIBUTES: usize = 21;
const HEADER: usize = 61;

/// What stands at the front of some bytes.
pub(super) enum Look {
    Batch(Header),
    /// Nothing, or the beginning of a batch.
    Cut,
    Bad(BatchError),
}

pub(super) struct Header {
    pub common: Common,
    /// Of the whole batch.
    pub bytes: usize,
    pub leader_epoch: i32,
    pub codec: Codec,
    pub producer: i64,
    attributes: i16,
    checksum: u32,
}

/// Reads numbers from a header. Beyond its end there are zeros, but [`look`] takes care that nobody reads there.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (number, rest) = self.0.split_first_chunk().unwrap_or((&[0; N], &[]));
        self.0 = rest;
        *number
    }

    fn i16(&mut self) -> i16 {
        i16::from_be_bytes(self.bytes())
    }

    fn i32(&mut self) -> i32 {
        i32::from_be_bytes(self.bytes())
    }

    fn i64(&mut self) -> i64 {
        i64::from_be_bytes(self.bytes())
    }
}

/// Reads the batch at the front of `bytes`, without its checksum.
pub(super) fn look(bytes: &[u8]) -> Look {
    let mut reader = Reader(bytes);
    if bytes.len() < PREFIX {
        return Look::Cut;
    }
    let (offset, length) = (reader.i64(), reader.i32());
    let Ok(length) = usize::try_from(length) else {
        return Look::Bad(damaged(offset, "a negative length"));
    };
    let whole = length.saturating_add(PREFIX);
    if whole < UNTIL_MAGIC {
        return Look::Bad(damaged(offset, "shorter than a batch can be"));
    }
    if bytes.len() < whole {
        return Look::Cut;
    }
    let leader_epoch = reader.i32();
    let magic = i8::from_be_bytes(reader.bytes());
    match magic {
        2 => {}
        0 | 1 => return Look::Bad(BatchError::OldFormat { magic }),
        _ => return Look::Bad(damaged(offset, format!("magic number {magic}"))),
    }
    if whole < HEADER {
        return Look::Bad(damaged(offset, "shorter than its header"));
    }
    match rest_of_header(&mut reader, offset) {
        Ok(header) => Look::Batch(Header {
            bytes: whole,
            leader_epoch,
            ..header
        }),
        Err(what) => Look::Bad(damaged(offset, what)),
    }
}

fn rest_of_header(reader: &mut Reader<'_>, offset: i64) -> Result<Header, &'static str> {
    let checksum = u32::from_be_bytes(reader.bytes());
    let attributes = reader.i16();
    let last_delta = reader.i32();
    let (base_timestamp, max_timestamp) = (reader.i64(), reader.i64());
    let producer = reader.i64();
    let (_epoch, _sequence) = (reader.i16(), reader.i32());
    let count = usize::try_from(reader.i32()).map_err(|_| "a negative number of records")?;
    if offset < 0 || last_delta < 0 {
        return Err("a negative offset");
    }
    // The offset after the last one is a number, too.
    let last_offset = offset
        .checked_add(i64::from(last_delta))
        .filter(|last| *last < i64::MAX)
        .ok_or("an offset beyond all numbers")?;
    Ok(Header {
        common: Common {
            base_offset: offset,
            last_offset,
            count,
            base_timestamp,
            append_time: (attributes & 8 != 0).then_some(max_timestamp),
        },
        bytes: 0,
        leader_epoch: 0,
        codec: Codec::of(attributes).ok_or("an unknown compression")?,
        producer,
        attributes,
        checksum,
    })
}

impl Header {
    pub fn next_offset(&self) -> i64 {
        self.common.last_offset.saturating_add(1)
    }

    pub fn is_transactional(&self) -> bool {
        self.attributes & 16 != 0
    }

    pub fn is_control(&self) -> bool {
        self.attributes & 32 != 0
    }

    /// The records as they stand in the batch, which must be what the header was read from, once its checksum is found right.
    pub fn records<'a>(&self, batch: &'a [u8]) -> Result<&'a [u8], BatchError> {
        let batch = batch.get(..self.bytes).unwrap_or_default();
        let checked = batch.get(ATTRIBUTES..).unwrap_or_default();
        if crc32c::crc32c(checked) != self.checksum {
            return Err(damaged(self.common.base_offset, "its checksum is wrong"));
        }
        Ok(batch.get(HEADER..).unwrap_or_default())
    }

    /// Whether a control batch ends a transaction by aborting it. One that compaction has emptied says nothing any more.
    pub fn aborts(&self, compressed: &[u8], decoder: &mut Decoder) -> Result<bool, BatchError> {
        if self.common.count == 0 {
            return Ok(false);
        }
        let mut bytes = Vec::new();
        decoder
            .decompress(self.codec, compressed, BATCH_BYTES, &mut bytes)
            .map_err(|error| self.unreadable(error))?;
        let key =
            records::first_key(&bytes).map_err(|what| damaged(self.common.base_offset, what))?;
        match key {
            // A version, and the type: 0 aborts, 1 commits, others have to do with no transaction.
            Some([_, _, 0, 0, ..]) => Ok(true),
            Some([_, _, _, _, ..]) => Ok(false),
            _ => Err(damaged(
                self.common.base_offset,
                "a control record without a type",
            )),
        }
    }

    pub fn unreadable(&self, error: CodecError) -> BatchError {
        let offset = self.common.base_offset;
        match error {
            CodecError::TooLarge { limit } => BatchError::TooLarge { offset, limit },
            error => damaged(offset, error),
        }
    }
}
