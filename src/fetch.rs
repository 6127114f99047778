//! Kafka records as they are fetched: one partition's records as columns of slices over one buffer.
//!
//! Invariant: offsets rise strictly inside a fetch; every slice lies inside the buffer. Both librdkafka and a
//! native client can fill a `Fetch` without allocating per record. This file does no I/O and decodes nothing.

use std::fmt;
use std::sync::Arc;

/// One partition of one topic.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    pub topic: Arc<str>,
    pub partition: i32,
}

impl TopicPartition {
    pub fn new(topic: impl Into<Arc<str>>, partition: i32) -> Self {
        TopicPartition {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

impl fmt::Debug for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A byte range of the fetch's buffer; `start == u32::MAX` stands for a null key or value.
#[derive(Clone, Copy)]
struct Slice {
    start: u32,
    len: u32,
}

const NULL: Slice = Slice {
    start: u32::MAX,
    len: 0,
};

impl Slice {
    fn is_some(&self) -> bool {
        self.start != u32::MAX
    }
}

/// Bytes that a fetch can hold; whoever appends blocks sees to it.
pub const MAX_BYTES: usize = u32::MAX as usize - 1;

/// A block of bytes that was appended to a fetch, and the fetch's columns, to which the records in it are pushed.
pub struct Block<'a> {
    bytes: &'a [u8],
    start: u32,
    offsets: &'a mut Vec<i64>,
    timestamps: &'a mut Vec<i64>,
    keys: &'a mut Vec<Slice>,
    values: &'a mut Vec<Slice>,
}

impl<'a> Block<'a> {
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Makes room for so many records.
    pub fn reserve(&mut self, records: usize) {
        self.offsets.reserve(records);
        self.timestamps.reserve(records);
        self.keys.reserve(records);
        self.values.reserve(records);
    }

    /// Adds a record whose key and value are ranges of the block's bytes, the key first, after those of the records before;
    /// `timestamp` is in ms since 1970, -1 where the record has none.
    #[inline]
    pub fn push(
        &mut self,
        offset: i64,
        timestamp: i64,
        key: Option<std::ops::Range<usize>>,
        value: Option<std::ops::Range<usize>>,
    ) {
        debug_assert!(self.offsets.last().is_none_or(|last| *last < offset));
        self.offsets.push(offset);
        self.timestamps.push(timestamp);
        let key = self.slice(key);
        self.keys.push(key);
        let value = self.slice(value);
        self.values.push(value);
    }

    #[inline]
    fn slice(&self, range: Option<std::ops::Range<usize>>) -> Slice {
        let Some(range) = range else { return NULL };
        debug_assert!(range.start <= range.end && range.end <= self.bytes.len());
        Slice {
            start: self.start.wrapping_add(range.start as u32),
            len: range.end.wrapping_sub(range.start) as u32,
        }
    }
}

/// Records of one partition, in offset order.
pub struct Fetch {
    pub at: TopicPartition,
    offsets: Vec<i64>,
    timestamps: Vec<i64>,
    keys: Vec<Slice>,
    values: Vec<Slice>,
    data: Vec<u8>,
}

impl Fetch {
    pub fn new(at: TopicPartition) -> Self {
        Fetch {
            at,
            offsets: vec![],
            timestamps: vec![],
            keys: vec![],
            values: vec![],
            data: vec![],
        }
    }

    /// Appends a record; `timestamp` is in ms since 1970, -1 where the record has none.
    pub fn push(&mut self, offset: i64, timestamp: i64, key: Option<&[u8]>, value: Option<&[u8]>) {
        debug_assert!(self.offsets.last().is_none_or(|last| *last < offset));
        self.offsets.push(offset);
        self.timestamps.push(timestamp);
        let key = self.append(key);
        self.keys.push(key);
        let value = self.append(value);
        self.values.push(value);
    }

    fn append(&mut self, bytes: Option<&[u8]>) -> Slice {
        let Some(bytes) = bytes else { return NULL };
        let start = self.data.len() as u32;
        self.data.extend_from_slice(bytes);
        Slice {
            start,
            len: bytes.len() as u32,
        }
    }

    /// Appends a block of bytes and the records that lie in it, all or nothing: `fill` appends the bytes to the buffer, whose
    /// present contents it leaves alone, and `find` pushes the records. Bytes in which no record is found are not kept.
    pub fn append_block<E>(
        &mut self,
        fill: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
        find: impl FnOnce(&mut Block<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (records, start) = (self.offsets.len(), self.data.len());
        let done = fill(&mut self.data).and_then(|()| {
            debug_assert!(self.data.len() <= MAX_BYTES);
            find(&mut Block {
                bytes: self.data.get(start..).unwrap_or_default(),
                start: start as u32,
                offsets: &mut self.offsets,
                timestamps: &mut self.timestamps,
                keys: &mut self.keys,
                values: &mut self.values,
            })
        });
        if done.is_err() {
            self.offsets.truncate(records);
            self.timestamps.truncate(records);
            self.keys.truncate(records);
            self.values.truncate(records);
        }
        if self.offsets.len() == records {
            self.data.truncate(start);
        }
        done
    }

    /// Appends some records of another fetch: their bytes are copied in one piece, gaps between them included.
    pub fn append_records(&mut self, from: &Fetch, records: std::ops::Range<usize>) {
        let (keys, values) = (&from.keys[records.clone()], &from.values[records.clone()]);
        // Slices lie in the buffer in the order of the records, a key before its value.
        let held = |(key, value): (&Slice, &Slice)| [*key, *value].into_iter().find(Slice::is_some);
        let first = keys.iter().zip(values).find_map(held);
        let held = |(key, value): (&Slice, &Slice)| [*value, *key].into_iter().find(Slice::is_some);
        let last = keys.iter().zip(values).rev().find_map(held);
        let start = first.map_or(0, |slice| slice.start);
        let end = last.map_or(0, |slice| slice.start + slice.len);
        let at = self.data.len() as u32;
        let moved = |slice: &Slice| match slice.is_some() {
            true => Slice {
                start: slice.start - start + at,
                ..*slice
            },
            false => NULL,
        };
        self.keys.extend(keys.iter().map(moved));
        self.values.extend(values.iter().map(moved));
        self.offsets
            .extend_from_slice(&from.offsets[records.clone()]);
        self.timestamps.extend_from_slice(&from.timestamps[records]);
        self.data
            .extend_from_slice(&from.data[start as usize..end as usize]);
    }

    /// Makes room for so many records, and bytes of theirs.
    pub fn reserve(&mut self, records: usize, bytes: usize) {
        self.offsets.reserve(records);
        self.timestamps.reserve(records);
        self.keys.reserve(records);
        self.values.reserve(records);
        self.data.reserve(bytes);
    }

    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Bytes held: keys and values, and what stands between them in blocks that were appended whole.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// The same of some records only.
    pub fn bytes_of(&self, records: std::ops::Range<usize>) -> u64 {
        let len = |slice: &Slice| u64::from(slice.len);
        let keys = self.keys[records.clone()].iter().map(len);
        keys.chain(self.values[records].iter().map(len)).sum()
    }

    pub fn offset(&self, record: usize) -> i64 {
        self.offsets[record]
    }

    /// The offset after the last record, or `None` where there is none.
    pub fn next_offset(&self) -> Option<i64> {
        self.offsets.last().map(|last| last + 1)
    }

    /// Kafka's timestamp in ms since 1970, -1 where the record has none.
    pub fn timestamp(&self, record: usize) -> i64 {
        self.timestamps[record]
    }

    pub fn key(&self, record: usize) -> Option<&[u8]> {
        self.slice(self.keys[record])
    }

    pub fn value(&self, record: usize) -> Option<&[u8]> {
        self.slice(self.values[record])
    }

    fn slice(&self, slice: Slice) -> Option<&[u8]> {
        if slice.start == u32::MAX {
            return None;
        }
        let start = slice.start as usize;
        Some(&self.data[start..start + slice.len as usize])
    }

    /// Index of the first record at or after `offset`.
    pub fn first_from(&self, offset: i64) -> usize {
        self.offsets.partition_point(|o| *o < offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row<'a> = (i64, Option<&'a [u8]>, Option<&'a [u8]>);

    fn rows(fetch: &Fetch) -> Vec<Row<'_>> {
        let row = |i| (fetch.offset(i), fetch.key(i), fetch.value(i));
        (0..fetch.len()).map(row).collect()
    }

    fn sample() -> Fetch {
        let mut fetch = Fetch::new(TopicPartition::new("t", 0));
        fetch.push(3, 30, Some(b"k"), Some(b"v"));
        fetch
    }

    #[test]
    fn a_block_is_appended_whole_or_not_at_all() {
        let mut fetch = sample();
        let fill = |data: &mut Vec<u8>| {
            data.extend_from_slice(b"..key.value.");
            Ok(())
        };
        for wrong in [true, false] {
            let done = fetch.append_block(fill, |block| {
                assert_eq!(block.bytes(), b"..key.value.");
                block.push(5, 50, Some(2..5), None);
                block.push(6, 60, Some(5..5), Some(6..11));
                if wrong { Err("wrong") } else { Ok(()) }
            });
            assert_eq!(
                (done.is_err(), fetch.len()),
                (wrong, if wrong { 1 } else { 3 })
            );
            assert_eq!(fetch.bytes(), if wrong { 2 } else { 14 });
        }
        let empty: &[u8] = b"";
        let expected: [Row<'_>; 3] = [
            (3, Some(b"k"), Some(b"v")),
            (5, Some(b"key"), None),
            (6, Some(empty), Some(b"value")),
        ];
        assert_eq!(rows(&fetch), expected);
        assert_eq!((fetch.timestamp(2), fetch.bytes_of(0..3)), (60, 10));
        // Bytes without a record in them are not kept.
        assert_eq!(fetch.append_block(fill, |_| Ok(())), Ok(()));
        assert_eq!(fetch.bytes(), 14);
    }

    #[test]
    fn records_of_another_fetch_are_the_same_wherever_they_are_cut() {
        let mut from = sample();
        from.push(4, 40, None, None);
        from.push(5, 50, None, Some(b"only a value"));
        from.push(6, 60, Some(b"only a key"), None);
        from.push(7, 70, Some(b""), Some(b""));
        from.push(8, 80, None, None);
        for start in 0..=from.len() {
            for end in start..=from.len() {
                let mut into = Fetch::new(TopicPartition::new("t", 0));
                into.push(1, 10, Some(b"before"), None);
                into.append_records(&from, start..end);
                assert_eq!(rows(&into)[1..], rows(&from)[start..end]);
                assert_eq!(into.bytes_of(1..into.len()), from.bytes_of(start..end));
            }
        }
    }
}
