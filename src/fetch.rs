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

    pub fn len(&self) -> usize {
        self.offsets.len()
    }

    pub fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Bytes of keys and values held.
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
