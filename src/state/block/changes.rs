//! Changes of state in blocks: cut at change boundaries, kept in order, the facts in the last block.
//!
//! Invariant: concatenating the changes of all blocks of a commit gives the changes that were pushed, in their order.
//! A change is its kind, its node, the key and, for a put, the value; lengths are varints.

use super::frame::{self, Kind};
use super::{Changes, Header, damaged};
use crate::state::varint::{Reader, put, put_bytes, put_optional_bytes};
use crate::state::{Change, Result};
use std::ops::Range;

const PUT: u8 = 0;
const DELETE: u8 = 1;
const CLEAR: u8 = 2;

impl Changes {
    /// `node` is the index of the node's state within the task.
    pub fn push(&mut self, node: u8, change: Change<'_>) {
        let (kind, key) = match change {
            Change::Put { key, .. } => (PUT, key),
            Change::Delete { key } => (DELETE, key),
            Change::Clear { prefix } => (CLEAR, prefix),
        };
        self.bytes.extend_from_slice(&[kind, node]);
        put_bytes(&mut self.bytes, key);
        if let Change::Put { value, .. } = change {
            put_bytes(&mut self.bytes, value);
        }
        self.count += 1;
    }

    /// Encoded size in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many changes.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Drops the changes and the facts and keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
        self.facts = None;
    }

    /// # Errors
    /// [`crate::state::Error::Damaged`] where the bytes are not what was pushed; then the iteration ends.
    pub fn iter(&self) -> impl Iterator<Item = Result<(u8, Change<'_>)>> {
        let mut reader = Reader::new(&self.bytes);
        let mut left = self.count;
        let mut failed = false;
        std::iter::from_fn(move || {
            if failed || (left == 0 && reader.is_empty()) {
                return None;
            }
            let change = left.checked_sub(1).and_then(|rest| {
                left = rest;
                take(&mut reader)
            });
            failed = change.is_none();
            Some(change.ok_or_else(|| damaged("a change of state")))
        })
    }
}

fn take<'a>(reader: &mut Reader<'a>) -> Option<(u8, Change<'a>)> {
    let [kind, node] = reader.array()?;
    let key = reader.bytes()?;
    let change = match kind {
        PUT => Change::Put {
            key,
            value: reader.bytes()?,
        },
        DELETE => Change::Delete { key },
        CLEAR => Change::Clear { prefix: key },
        _ => return None,
    };
    Some((node, change))
}

/// Encodes changes into as many blocks as the limit (bytes) wants, at least one; the facts go into the last block.
/// `part` and `parts` of the header are set here. A single change over the limit goes alone.
pub fn encode_changes(header: &Header, changes: &Changes, limit: usize) -> Vec<Vec<u8>> {
    let begin = frame::begin(header, Kind::Changes);
    let facts = changes.facts.as_deref();
    // Count, length and the mark of absent facts take at most 5 + 10 + 1 bytes.
    let capacity = limit.saturating_sub(begin.len() + 16);
    let slices = cut(changes, capacity, facts.map_or(0, |f| f.len() + 10));
    let last = slices.len() - 1;
    let mut blocks: Vec<Vec<u8>> = slices
        .into_iter()
        .enumerate()
        .map(|(i, (count, range))| {
            let facts = facts.filter(|_| i == last);
            let mut block =
                Vec::with_capacity(begin.len() + range.len() + facts.map_or(0, <[u8]>::len) + 26);
            block.extend_from_slice(&begin);
            put(&mut block, u64::from(count));
            put_bytes(&mut block, &changes.bytes[range]);
            put_optional_bytes(&mut block, facts);
            block
        })
        .collect();
    frame::close_all(&mut blocks);
    blocks
}

/// Runs of changes of at most `capacity` bytes, the last of which leaves room for `facts` bytes.
fn cut(changes: &Changes, capacity: usize, facts: usize) -> Vec<(u32, Range<usize>)> {
    let total = changes.bytes.len();
    let mut slices = Vec::new();
    let (mut start, mut end, mut count) = (0, 0, 0);
    if total > capacity {
        let mut reader = Reader::new(&changes.bytes);
        while take(&mut reader).is_some() {
            let next = total - reader.remaining();
            if count > 0 && next - start > capacity {
                slices.push((count, start..end));
                (start, count) = (end, 0);
            }
            (end, count) = (next, count + 1);
        }
    } else {
        (end, count) = (total, changes.count);
    }
    slices.push((count, start..end));
    if count > 0 && end - start + facts > capacity && facts > 0 {
        slices.push((0, end..end));
    }
    slices
}

pub(super) fn decode(reader: &mut Reader<'_>) -> Result<Changes> {
    let mut parts = || {
        let count = u32::try_from(reader.varint()?).ok()?;
        let bytes = reader.bytes()?.to_vec();
        let facts = reader.optional_bytes()?.map(<[u8]>::to_vec);
        Some(Changes {
            bytes,
            count,
            facts,
        })
    };
    parts().ok_or_else(|| damaged("changes"))
}
