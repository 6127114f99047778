//! Stores in RocksDB: a database per task, a column family per node, one memory budget per process.
//!
//! Invariant: what is read is what was written, or an error: each value carries a CRC32C over key and value. A store
//! that does not open, has another format or other nodes than asked for is wiped and opened empty; the changelog
//! restores it. Nothing is synced: the position is written last, and point-in-time recovery keeps a prefix of the
//! writes, so after any crash a store holds at least what its position says. After a write that failed RocksDB refuses all
//! others for as long as the database is open: it is opened again, and read only while that fails; every row that was
//! acknowledged must be there then. This file knows no changelog.

mod open;
mod options;
#[cfg(test)]
mod tests;

use super::memory::{prefix_end, unknown_node};
use super::varint::Reader;
use super::{Change, Error, Result, SavedPosition, Store, StoreFigures, Stores, Visit, directory};
use ::rocksdb::{
    ColumnFamily, DB, DBPinnableSlice, ErrorKind, ReadOptions, WriteBatch, properties,
};
use open::OpenTasks;
use options::Shared;
use std::cell::Cell;
use std::path::{Path, PathBuf};

/// Memory of all stores of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoreBudget {
    /// Blocks, indexes, filters, and the write buffers on top of each other: the whole of it.
    pub block_cache_bytes: usize,
    /// The part of it that unflushed writes may take.
    pub write_buffer_bytes: usize,
}

/// The stores of one process, in one directory that nobody else uses.
pub struct RocksStores {
    directory: PathBuf,
    shared: Shared,
    open: OpenTasks,
}

impl RocksStores {
    /// `directory` must be locked by the caller (see [`directory::StateDirectory`]); it is created.
    ///
    /// # Errors
    /// The directory cannot be created.
    pub fn open(directory: &Path, budget: StoreBudget) -> Result<Self> {
        std::fs::create_dir_all(directory)
            .map_err(|e| Error::Io(format!("{}: {e}", directory.display())))?;
        Ok(RocksStores {
            directory: directory.to_owned(),
            shared: Shared::new(budget),
            open: OpenTasks::default(),
        })
    }
}

impl Stores for RocksStores {
    fn memory(&self) -> usize {
        self.shared.memory()
    }

    fn open(&self, task: &str, nodes: &[&str]) -> Result<Box<dyn Store>> {
        let claim = self.open.claim(task)?;
        let place = open::Place {
            path: self.directory.join(directory::task_directory(task)),
            nodes: super::memory::sorted(nodes)
                .into_iter()
                .map(str::to_owned)
                .collect(),
            shared: self.shared.clone(),
        };
        let db = open::open_or_wipe(&place)?;
        Ok(Box::new(RocksStore {
            acknowledged: Cell::new(db.latest_sequence_number()),
            db: Some(db),
            place,
            _claim: claim,
            reads: Cell::new(0),
            writes: 0,
        }))
    }
}

/// Bytes of a write batch: large enough to be cheap, small enough for the write-ahead log's buffers.
const BATCH_BYTES: usize = 1 << 20;
/// Keys per lookup: bounds the blocks that are pinned at a time.
const GET_BATCH: usize = 1024;
const CRC_LEN: usize = 4;
const POSITION: &[u8] = b"position";

struct RocksStore {
    /// Absent only after a reopening that failed.
    db: Option<DB>,
    /// RocksDB's sequence number after the last write that succeeded.
    acknowledged: Cell<u64>,
    place: open::Place,
    _claim: open::Claim,
    reads: Cell<u64>,
    writes: u64,
}

impl RocksStore {
    fn db(&self) -> Result<&DB> {
        self.db
            .as_ref()
            .ok_or_else(|| Error::Io("the store could not be opened again".into()))
    }

    /// Everything that was written to the database has succeeded.
    fn acknowledge(&self, db: &DB) {
        self.acknowledged.set(db.latest_sequence_number());
    }

    fn family(&self, node: &str) -> Result<(&DB, &ColumnFamily)> {
        let db = self.db()?;
        let family = db
            .cf_handle(&open::family_name(node))
            .ok_or_else(|| unknown_node(node))?;
        Ok((db, family))
    }
}

impl Store for RocksStore {
    fn get_many(&self, node: &str, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        let (db, family) = self.family(node)?;
        self.reads.set(self.reads.get() + keys.len() as u64);
        let options = ReadOptions::default();
        let mut values = Vec::with_capacity(keys.len());
        for keys in keys.chunks(GET_BATCH) {
            let found = db.batched_multi_get_cf_opt(family, keys.iter().copied(), false, &options);
            for (key, value) in keys.iter().zip(found) {
                let value: Option<DBPinnableSlice<'_>> = value.map_err(failed)?;
                values.push(
                    value
                        .map(|v| checked(key, &v).map(<[u8]>::to_vec))
                        .transpose()?,
                );
            }
        }
        Ok(values)
    }

    fn scan(
        &self,
        node: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<()> {
        let (db, family) = self.family(node)?;
        let mut options = ReadOptions::default();
        // A scan reads each row about once: it must not push out the blocks that lookups come back to.
        options.fill_cache(false);
        if let Some(end) = prefix_end(prefix) {
            options.set_iterate_upper_bound(end);
        }
        let mut rows = db.raw_iterator_cf_opt(family, options);
        let after = after.filter(|after| *after >= prefix);
        rows.seek(after.unwrap_or(prefix));
        if after.is_some() && rows.key() == after {
            rows.next();
        }
        while let Some((key, value)) = rows.item() {
            self.reads.set(self.reads.get() + 1);
            // Keys of FF alone have no upper bound, but also nothing behind them.
            if !visit(key, checked(key, value)?)? {
                return Ok(());
            }
            rows.next();
        }
        rows.status().map_err(failed)
    }

    fn write(&mut self, node: &str, changes: &mut dyn Iterator<Item = Change<'_>>) -> Result<()> {
        let mut written = 0;
        let (db, family) = self.family(node)?;
        let mut batch = WriteBatch::default();
        let mut row = Vec::new();
        for change in changes {
            written += 1;
            match change {
                Change::Put { key, value } => {
                    row.clear();
                    row.extend_from_slice(&crc(key, value).to_le_bytes());
                    row.extend_from_slice(value);
                    batch.put_cf(family, key, &row);
                }
                Change::Delete { key } => batch.delete_cf(family, key),
                Change::Clear { prefix } => clear(db, family, prefix, &mut batch)?,
            }
            if batch.size_in_bytes() >= BATCH_BYTES {
                db.write(std::mem::take(&mut batch)).map_err(failed)?;
                self.acknowledge(db);
            }
        }
        if !batch.is_empty() {
            db.write(batch).map_err(failed)?;
        }
        self.acknowledge(db);
        self.writes += written;
        Ok(())
    }

    fn set_position(&mut self, position: SavedPosition) -> Result<()> {
        let mut value = Vec::with_capacity(CRC_LEN + 24);
        value.extend_from_slice(&[0; CRC_LEN]);
        value.extend_from_slice(&position.offset.to_le_bytes());
        value.extend_from_slice(&position.epoch.to_le_bytes());
        value.extend_from_slice(&position.nonce.to_le_bytes());
        let crc = crc(POSITION, &value[CRC_LEN..]);
        value[..CRC_LEN].copy_from_slice(&crc.to_le_bytes());
        let db = self.db()?;
        db.put(POSITION, value).map_err(failed)?;
        self.acknowledge(db);
        Ok(())
    }

    fn position(&self) -> Result<Option<SavedPosition>> {
        let Some(value) = self.db()?.get_pinned(POSITION).map_err(failed)? else {
            return Ok(None);
        };
        let mut reader = Reader::new(checked(POSITION, &value)?);
        let mut position = || {
            Some(SavedPosition {
                offset: i64::from_le_bytes(reader.array()?),
                epoch: u64::from_le_bytes(reader.array()?),
                nonce: u64::from_le_bytes(reader.array()?),
            })
        };
        position()
            .map(Some)
            .ok_or_else(|| Error::damaged("position of a store", "too short"))
    }

    fn recover(&mut self) -> Result<()> {
        // Two at a time would not open.
        self.db = None;
        let (db, refused) = match open::open_again(&self.place) {
            Ok(db) => (db, None),
            Err(error @ Error::Damaged { .. }) => return Err(error),
            Err(error) => (open::open_to_read(&self.place)?, Some(error)),
        };
        let (found, wanted) = (db.latest_sequence_number(), self.acknowledged.get());
        self.db = Some(db);
        if found < wanted {
            let message = format!("opened again, it ends at write {found}; {wanted} had succeeded");
            return Err(Error::damaged("a store", message));
        }
        refused.map_or(Ok(()), Err)
    }

    fn wipe(&mut self) -> Result<()> {
        self.db = None;
        open::remove(&self.place.path)?;
        let db = open::open_or_wipe(&self.place)?;
        self.acknowledge(&db);
        self.db = Some(db);
        Ok(())
    }

    fn figures(&self) -> StoreFigures {
        let mut figures = StoreFigures {
            reads: self.reads.get(),
            writes: self.writes,
            ..StoreFigures::default()
        };
        for node in &self.place.nodes {
            let Ok((db, family)) = self.family(node) else {
                continue;
            };
            // Figures for people: one that RocksDB does not give counts as 0.
            let figure = |name: &properties::PropName| {
                db.property_int_value_cf(family, name)
                    .ok()
                    .flatten()
                    .unwrap_or(0)
            };
            figures.rows += figure(properties::ESTIMATE_NUM_KEYS);
            figures.bytes +=
                figure(properties::LIVE_SST_FILES_SIZE) + figure(properties::SIZE_ALL_MEM_TABLES);
        }
        figures
    }
}

/// Deletes all keys of a prefix, in the order of the batch.
///
/// A range tombstone costs one entry however many rows it covers, and nothing to the readers of other prefixes but a
/// binary search among the tombstones. Scanning over cleared prefixes stays cheap too: a tombstone is jumped over, not
/// stepped through. Compaction drops it together with the rows.
fn clear(db: &DB, family: &ColumnFamily, prefix: &[u8], batch: &mut WriteBatch) -> Result<()> {
    if let Some(end) = prefix_end(prefix) {
        batch.delete_range_cf(family, prefix, &end);
        return Ok(());
    }
    // No key is greater than all of the prefix: the range ends at the last key there is, written or in this batch.
    db.write(std::mem::take(batch)).map_err(failed)?;
    let mut rows = db.raw_iterator_cf(family);
    rows.seek_to_last();
    if let Some(last) = rows.key()
        && last >= prefix
    {
        batch.delete_range_cf(family, prefix, last);
        batch.delete_cf(family, last);
    }
    rows.status().map_err(failed)
}

fn crc(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), value)
}

/// The value without its checksum, which was verified.
fn checked<'a>(key: &[u8], stored: &'a [u8]) -> Result<&'a [u8]> {
    match stored.split_first_chunk::<CRC_LEN>() {
        Some((stored, value)) if u32::from_le_bytes(*stored) == crc(key, value) => Ok(value),
        _ => Err(Error::damaged(
            "a row of a store",
            format!("checksum does not match at key {key:02x?}"),
        )),
    }
}

fn failed(error: ::rocksdb::Error) -> Error {
    match error.kind() {
        ErrorKind::Corruption => Error::damaged("a store", error.into_string()),
        _ => Error::Io(error.into_string()),
    }
}
