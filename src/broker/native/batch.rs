//! Record batches (magic 2) of one partition, as a Fetch response brings them, to records in a [`Fetch`].
//!
//! Invariant: every visible record at or after the position is handed out once, in offset order, and nothing of a batch whose
//! checksum or contents are wrong is. The usual batch is decompressed straight into the fetch's buffer, where its records then lie;
//! one that has more records than there is room for is decompressed once, and what is over waits for the next call.
//! Does no I/O and sends nothing; the formats of Kafka before 0.11 are refused by name.

mod header;
#[cfg(test)]
pub(super) mod tests;

use super::aborted::Aborted;
use super::codec::Decoder;
use super::records;
use crate::fetch::{Fetch, MAX_BYTES};
use bytes::{Buf, Bytes};
use header::{Header, Look};

/// Bytes that one batch may have when decompressed. Brokers take batches of a megabyte unless told otherwise: what is beyond
/// this is damaged or malicious, and would take the process down.
const BATCH_BYTES: usize = if cfg!(test) { 4 << 20 } else { 256 << 20 };

/// Batches to come are not expected to swell by more than this.
const LIKELY_RATIO: usize = 16;
/// Codecs want room for a whole block of theirs, even if it is not filled.
const SLACK: usize = 64 << 10;

/// Why a batch cannot be read. The same call fails again: the partition cannot be read past this batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Records in a format that no broker writes since 0.11 unless `message.format.version` asks for it.
    #[error(
        "the topic holds records in the format of Kafka before 0.11 (magic {magic}), which the native reader does not know: \
         set `kafka.fetch: librdkafka`, or have the topic written anew without `message.format.version`"
    )]
    OldFormat { magic: i8 },
    /// The batch is not what a broker sends. `offset` is the batch's first.
    #[error("the record batch at offset {offset} is damaged: {what}")]
    Damaged { offset: i64, what: String },
    /// The batch cannot be held in memory.
    #[error("the record batch at offset {offset} has more than {limit} bytes when decompressed")]
    TooLarge { offset: i64, limit: usize },
}

/// The record batches of one partition that one Fetch response brought, read from the front.
pub struct Batches {
    /// Batches not yet taken, the cut one at the end left off.
    rest: Bytes,
    /// Records in them, as their headers say.
    records: usize,
    aborted: Aborted,
    next_offset: Option<i64>,
    leader_epoch: Option<i32>,
    /// What is over of the batch that stood before `rest`.
    open: Option<OpenBatch>,
}

/// A batch that is being handed out in pieces.
struct OpenBatch {
    records: Fetch,
    /// The first record not yet handed out.
    at: usize,
    /// The offset after the batch.
    end: i64,
}

/// What a call may take.
struct Room {
    records: usize,
    bytes: usize,
}

impl Room {
    fn left(&self, fetch: &Fetch) -> usize {
        // A batch of any size must still find its place among the slices' offsets.
        if fetch.bytes() >= self.bytes || fetch.bytes() > MAX_BYTES - BATCH_BYTES {
            return 0;
        }
        self.records.saturating_sub(fetch.len())
    }
}

impl Batches {
    /// `records` as in the response: the last batch may be cut, then it is ignored. `aborted`: producer id and first offset of
    /// the aborted transactions, as in the response, in any order.
    pub fn new(mut records: Bytes, aborted: Vec<(i64, i64)>) -> Self {
        let (mut next_offset, mut leader_epoch) = (None, None);
        let (mut at, mut held) = (0usize, 0usize);
        let end = loop {
            match header::look(records.get(at..).unwrap_or_default()) {
                Look::Cut => break at,
                // Left to `take`, which says what is wrong.
                Look::Bad(_) => break records.len(),
                Look::Batch(header) => {
                    let next = header.next_offset();
                    next_offset = Some(next_offset.map_or(next, |before: i64| before.max(next)));
                    leader_epoch = Some(header.leader_epoch);
                    held = held.saturating_add(header.common.count);
                    at = at.saturating_add(header.bytes);
                }
            }
        };
        records.truncate(end);
        Batches {
            rest: records,
            records: held,
            aborted: Aborted::new(aborted),
            next_offset,
            leader_epoch,
            open: None,
        }
    }

    /// Offset after the last complete batch, from its header alone. `None` where there is no complete batch.
    pub fn next_offset(&self) -> Option<i64> {
        self.next_offset
    }

    /// Partition leader epoch of the last complete batch.
    pub fn leader_epoch(&self) -> Option<i32> {
        self.leader_epoch
    }

    /// Bytes not yet taken: of the response, and of a batch that is decompressed and handed out in pieces.
    pub fn bytes(&self) -> usize {
        let open = self.open.as_ref().map_or(0, |open| open.records.bytes());
        self.rest.len().saturating_add(open)
    }

    /// Records not yet taken, invisible ones included.
    pub fn records(&self) -> usize {
        let open = self.open.as_ref();
        let open = open.map_or(0, |open| open.records.len().saturating_sub(open.at));
        self.records.saturating_add(open)
    }

    /// Nothing is left to take.
    pub fn is_done(&self) -> bool {
        self.open.is_none() && self.rest.is_empty()
    }

    /// Appends visible records at or after `position` to `fetch`, until it holds `max_records` records, or at least `max_bytes`
    /// bytes of data, or nothing is left. Returns the new position: after the last record taken, and after everything invisible
    /// that is known to follow it (control batches, aborted records, empty batches, gaps that compaction left); once
    /// [`is_done`](Self::is_done), that is [`next_offset`](Self::next_offset). A gap at the front of a batch shows only when the
    /// batch is opened.
    ///
    /// A bad batch is reported by the first call that would begin with it: a call that gets anywhere before it returns `Ok`.
    pub fn take(
        &mut self,
        position: i64,
        max_records: usize,
        max_bytes: usize,
        decoder: &mut Decoder,
        fetch: &mut Fetch,
    ) -> Result<i64, BatchError> {
        let room = Room {
            records: max_records,
            bytes: max_bytes,
        };
        // A fetch's offsets rise, whatever the caller says.
        let start = position.max(fetch.next_offset().unwrap_or(position));
        let mut reached = start;
        loop {
            match self.step(&mut reached, &room, decoder, fetch) {
                Ok(true) => {}
                Ok(false) => return Ok(reached),
                Err(_) if reached > start => return Ok(reached),
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes from one batch, or passes it by; whether to go on.
    fn step(
        &mut self,
        position: &mut i64,
        room: &Room,
        decoder: &mut Decoder,
        fetch: &mut Fetch,
    ) -> Result<bool, BatchError> {
        if let Some(open) = &mut self.open {
            let emptied = open.take(position, room, fetch);
            if emptied {
                self.open = None;
            }
            return Ok(emptied);
        }
        let header = match header::look(&self.rest) {
            Look::Cut => return Ok(false),
            Look::Bad(error) => return Err(error),
            Look::Batch(header) => header,
        };
        self.aborted.reach(header.common.last_offset);
        let aborted = header.is_transactional() && self.aborted.contains(header.producer);
        let visible = !header.is_control()
            && !aborted
            && header.common.count > 0
            && header.common.last_offset >= *position;
        let left = room.left(fetch);
        if visible && left == 0 {
            *position = header.common.base_offset.max(*position);
            return Ok(false);
        }
        let compressed = header.records(&self.rest)?;
        if header.is_control() && header.aborts(compressed, decoder)? {
            self.aborted.end(header.producer);
        }
        if visible && header.common.count <= left {
            append(&header, compressed, *position, decoder, fetch)?;
            if fetch.len() <= header.common.count {
                make_ready(&header, self.rest.len(), left, room, fetch);
            }
        } else if visible {
            let mut records = Fetch::new(fetch.at.clone());
            append(&header, compressed, *position, decoder, &mut records)?;
            self.open = Some(OpenBatch {
                records,
                at: 0,
                end: header.next_offset(),
            });
        }
        self.rest.advance(header.bytes);
        self.records = self.records.saturating_sub(header.common.count);
        if self.rest.is_empty() {
            // An empty slice would keep the response in memory.
            self.rest = Bytes::new();
        }
        if self.open.is_none() {
            *position = header.next_offset().max(*position);
        }
        Ok(true)
    }
}

impl OpenBatch {
    /// Moves records to `fetch`; whether that was the last of them.
    fn take(&mut self, position: &mut i64, room: &Room, fetch: &mut Fetch) -> bool {
        let start = self.at.max(self.records.first_from(*position));
        let most = start
            .saturating_add(room.left(fetch))
            .min(self.records.len());
        let mut bytes = room.bytes.saturating_sub(fetch.bytes()) as u64;
        let mut end = start;
        if self.records.bytes_of(start..most) < bytes {
            end = most;
        }
        while end < most && bytes > 0 {
            bytes = bytes.saturating_sub(self.records.bytes_of(end..end + 1));
            end += 1;
        }
        fetch.append_records(&self.records, start..end);
        self.at = end;
        let emptied = end == self.records.len();
        let next = match emptied {
            true => self.end,
            false => self.records.offset(end),
        };
        *position = next.max(*position);
        emptied
    }
}

/// Appends the records of a batch at or after `from`, or none of them.
fn append(
    header: &Header,
    compressed: &[u8],
    from: i64,
    decoder: &mut Decoder,
    fetch: &mut Fetch,
) -> Result<(), BatchError> {
    fetch.append_block(
        |data| {
            decoder
                .decompress(header.codec, compressed, BATCH_BYTES, data)
                .map_err(|error| header.unreadable(error))
        },
        |block| {
            records::find(block, &header.common, from)
                .map_err(|what| damaged(header.common.base_offset, what))
        },
    )
}

/// After the first batch: makes room for those that follow, as if they were like it, for growing step by step would copy
/// everything about once. `rest` is what the response still has, the first batch included.
fn make_ready(header: &Header, rest: usize, left: usize, room: &Room, fetch: &mut Fetch) {
    let batches = (rest / header.bytes.max(1)).min(left / header.common.count.max(1));
    let bytes = fetch.bytes().saturating_mul(batches.saturating_sub(1));
    // A first batch that swells enormously says nothing about the others.
    let bytes = bytes.min(rest.saturating_mul(LIKELY_RATIO)).min(room.bytes);
    let records = bytes / (fetch.bytes() / fetch.len().max(1)).max(1);
    if bytes > 0 {
        fetch.reserve(
            records,
            bytes.saturating_add(bytes / 8).saturating_add(SLACK),
        );
    }
}

fn damaged(offset: i64, what: impl ToString) -> BatchError {
    BatchError::Damaged {
        offset,
        what: what.to_string(),
    }
}
