//! Blocks: one Kafka message of an internal topic, holding many partials or state changes of one task.
//!
//! Invariant: a block is self-describing (magic, format version, kind), checked by a CRC32C, and never larger than
//! the limit it was cut for, unless a single row is. Compression is Kafka's business.

mod changes;
mod frame;
mod partials;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use changes::encode_changes;
pub use partials::encode_partials;

use super::values::{ByteColumn, StateColumn, StateType};
use super::{Error, Result};
use frame::Kind;

/// What every block says about its origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Plan fingerprint of the writing sub-topology.
    pub fingerprint: u64,
    /// The writing task: sub-topology and partition.
    pub sub_topology: String,
    pub partition: i32,
    /// How many tasks the writing sub-topology has.
    pub producers: u32,
    pub epoch: u64,
    pub nonce: u64,
    /// Watermark of the writing task (ms); `i64::MIN` before the first.
    pub watermark: i64,
    pub idle: bool,
    /// This is block `part` of `parts` that the transaction writes to this partition.
    pub part: u32,
    pub parts: u32,
}

#[cfg(test)]
impl Header {
    /// A header of the first task of this sub-topology, for tests.
    pub fn sample(sub_topology: &str) -> Header {
        Header {
            fingerprint: 0,
            sub_topology: sub_topology.to_string(),
            partition: 0,
            producers: 1,
            epoch: 1,
            nonce: 1,
            watermark: 0,
            idle: false,
            part: 0,
            parts: 1,
        }
    }
}

/// Partial aggregates of one shard: parallel columns, one entry per key and window.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Partials {
    /// End of the window, exclusive, ms.
    pub window_ends: Vec<i64>,
    /// Encoded group keys.
    pub keys: ByteColumn,
    /// Rows folded into each entry.
    pub rows: Vec<u64>,
    /// First and last offset of those rows in the partition that the writing task reads; -1 where it reads none.
    pub first_offsets: Vec<i64>,
    pub last_offsets: Vec<i64>,
    pub states: Vec<StateColumn>,
    /// Entries of a single row that came behind its partition's watermark, with the record it came from.
    pub carried: Vec<Carried>,
}

/// The record behind an unfolded row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// Entry of the partials.
    pub entry: u32,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

/// The body of a decoded block.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// For the receiving half of a windowed aggregation. Empty where only the watermark moved.
    Partials(Partials),
    /// Changes of one commit, or a refresh slice; iterate with [`Changes::iter`].
    Changes(Changes),
}

/// Encoded changes, each with the node that it belongs to. Order is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    bytes: Vec<u8>,
    count: u32,
    /// The task's facts, in the last block of a commit.
    pub facts: Option<Vec<u8>>,
}

/// Reads a block. `states` are the types of the partials' state columns (ignored for changes).
///
/// # Errors
/// Damaged or too new; never a panic, never an allocation out of proportion to `bytes`.
pub fn decode(bytes: &[u8], states: &[StateType]) -> Result<(Header, Body)> {
    let (header, kind, mut body) = frame::open(bytes)?;
    let decoded = match kind {
        Kind::Partials => Body::Partials(partials::decode(&mut body, states)?),
        Kind::Changes => Body::Changes(changes::decode(&mut body)?),
    };
    if !body.is_empty() {
        return Err(damaged(format!("{} bytes too many", body.remaining())));
    }
    Ok((header, decoded))
}

fn damaged(message: impl Into<String>) -> Error {
    Error::damaged("block", message)
}
