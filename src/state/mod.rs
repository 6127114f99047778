//! Keyed state: encodings of keys and values, the blocks of internal topics, and the stores.
//!
//! Invariant: every byte that reaches RocksDB or Kafka is in a versioned encoding of our own with golden files. A
//! store holds committed rows only, and is never ahead of Kafka. This layer knows neither windows nor tasks.

pub mod block;
pub mod chunked;
pub mod directory;
pub mod keys;
pub mod memory;
pub mod partition;
pub mod rocksdb;
pub mod values;
mod varint;
pub mod window_key;

#[cfg(test)]
mod contract;
#[cfg(test)]
mod hex;

/// A failed operation on a store or an encoding.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes are not what was written: wipe the store and restore it.
    #[error("{what} is damaged: {message}")]
    Damaged { what: &'static str, message: String },
    /// The disk or RocksDB refuses: full, no rights.
    #[error("state store: {0}")]
    Io(String),
    /// Written by a newer version of the program.
    #[error("{what} has format version {found}; this program reads up to {known}")]
    TooNew {
        what: &'static str,
        found: u8,
        known: u8,
    },
}

impl Error {
    pub(crate) fn damaged(what: &'static str, message: impl Into<String>) -> Self {
        Error::Damaged {
            what,
            message: message.into(),
        }
    }
}

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Up to which block of the changelog a store holds every change (it may hold some of later ones).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavedPosition {
    /// Offset of the task's last block.
    pub offset: i64,
    pub epoch: u64,
    pub nonce: u64,
}

/// One change of a node's state, absolute and therefore idempotent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change<'a> {
    Put {
        key: &'a [u8],
        value: &'a [u8],
    },
    Delete {
        key: &'a [u8],
    },
    /// Deletes every key that begins with `prefix`. Order against puts matters.
    Clear {
        prefix: &'a [u8],
    },
}

/// Rows as they are scanned: key and value; return `false` to stop.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<bool> + 'a;

/// Committed rows of one task, ordered by key bytes within each node. Values carry a checksum in the store.
pub trait Store: Send {
    fn get_many(&self, node: &str, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>>;
    /// Visits rows whose key begins with `prefix` and is greater than `after` (whole key), in key order.
    fn scan(
        &self,
        node: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<()>;
    /// Writes a part of a save. Not durable, and not visible as a position, before `set_position`.
    fn write(&mut self, node: &str, changes: &mut dyn Iterator<Item = Change<'_>>) -> Result<()>;
    /// Ends a save.
    fn set_position(&mut self, position: SavedPosition) -> Result<()>;
    fn position(&self) -> Result<Option<SavedPosition>>;
    /// After a write that failed: makes the store writable again where its medium is, without losing a row. What it holds can
    /// be read meanwhile.
    ///
    /// # Errors
    /// The medium refuses still; [`Error::Damaged`] where rows that were written are gone.
    fn recover(&mut self) -> Result<()> {
        Ok(())
    }
    /// Removes every row and the position.
    fn wipe(&mut self) -> Result<()>;
    /// Rows (estimated) and bytes on disk or in memory, and reads and writes of rows since opening.
    fn figures(&self) -> StoreFigures;
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreFigures {
    pub rows: u64,
    pub bytes: u64,
    pub reads: u64,
    pub writes: u64,
}

/// Opens the stores of tasks. `nodes` names the node states (column families).
pub trait Stores: Send + Sync {
    /// A store that cannot be opened or is damaged is wiped and opened empty, and that is logged.
    fn open(&self, task: &str, nodes: &[&str]) -> Result<Box<dyn Store>>;
    /// Memory that all stores hold, beside what is counted elsewhere, in bytes.
    fn memory(&self) -> usize;
}
