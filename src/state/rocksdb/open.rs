//! Opening a task's database: as it is, or wiped and empty.
//!
//! Invariant: a database that is handed out has this program's format and exactly the nodes asked for; it is open once
//! in the process. It is wiped only where it is at fault: a disk that is full or refuses is an error instead.

use super::failed;
use super::options::Shared;
use crate::state::{Error, Result, keys, values};
use ::rocksdb::{ColumnFamilyDescriptor, DB, ErrorKind};
use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

const FORMAT: &[u8] = b"format";
/// Layout of the store, encoding of the keys, encoding of the values.
const VERSIONS: [u8; 3] = [1, keys::VERSION, values::VERSION];

/// Where a database is and what is in it.
pub(super) struct Place {
    pub(super) path: PathBuf,
    /// In ascending order.
    pub(super) nodes: Vec<String>,
    pub(super) shared: Shared,
}

/// A prefix, because RocksDB has a family `default`, which holds format and position here.
pub(super) fn family_name(node: &str) -> String {
    format!("node.{node}")
}

/// Opens the database; one that is damaged, of another format or of other nodes is wiped, logged, and opened empty.
pub(super) fn open_or_wipe(place: &Place) -> Result<DB> {
    let empty = !place.path.exists();
    if empty {
        return create(place);
    }
    let reason = match open_existing(place) {
        Ok(Ok(db)) => return Ok(db),
        Ok(Err(reason)) => reason,
        Err(error) => {
            // A missing file and a full disk are both "IO error" to RocksDB: ask the disk.
            if error.kind() == ErrorKind::IOError {
                probe(&place.path)?;
            }
            error.into_string()
        }
    };
    tracing::warn!(store = %place.path.display(), reason, "store is wiped and will be restored from the changelog");
    remove(&place.path)?;
    create(place)
}

/// Opens a database that was open in this process before: nothing is wiped, whatever is wrong.
pub(super) fn open_again(place: &Place) -> Result<DB> {
    open_existing(place)
        .map_err(failed)?
        .map_err(|reason| Error::damaged("a store", reason))
}

/// The same where nothing can be written: writes fail, and reads find what the log of writes holds, too.
pub(super) fn open_to_read(place: &Place) -> Result<DB> {
    DB::open_cf_descriptors_read_only(
        &place.shared.database(),
        &place.path,
        families(place),
        false,
    )
    .map_err(failed)
}

/// The inner error says why the database, though readable, is of no use.
fn open_existing(place: &Place) -> Result<Result<DB, String>, ::rocksdb::Error> {
    let options = place.shared.database();
    let mut found = DB::list_cf(&options, &place.path)?;
    found.sort_unstable();
    let mut wanted: Vec<String> = place.nodes.iter().map(|n| family_name(n)).collect();
    wanted.push("default".into());
    wanted.sort_unstable();
    if found != wanted {
        // Its position stands for every change of every node: for other nodes it means nothing.
        return Ok(Err(format!(
            "it has the column families {found:?} instead of {wanted:?}"
        )));
    }
    let db = open_database(place)?;
    Ok(match db.get(FORMAT)? {
        Some(found) if found == VERSIONS => Ok(db),
        found => Err(format!(
            "its format is {found:?}; this program's is {VERSIONS:?}"
        )),
    })
}

fn create(place: &Place) -> Result<DB> {
    let db = open_database(place).map_err(failed)?;
    db.put(FORMAT, VERSIONS).map_err(failed)?;
    Ok(db)
}

fn families(place: &Place) -> impl Iterator<Item = ColumnFamilyDescriptor> {
    let family = |name: String| ColumnFamilyDescriptor::new(name, place.shared.family());
    let names = place.nodes.iter().map(|n| family_name(n));
    names.chain(["default".to_owned()]).map(family)
}

fn open_database(place: &Place) -> Result<DB, ::rocksdb::Error> {
    DB::open_cf_descriptors(&place.shared.database(), &place.path, families(place))
}

/// Deletes the files of a database that is not open.
pub(super) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(Error::Io(format!("{}: {e}", path.display())))
        }
        _ => Ok(()),
    }
}

/// Whether files can be written and read here at all.
fn probe(path: &Path) -> Result<()> {
    let file = path.join("probe");
    let written = std::fs::write(&file, [0; 4096]).and_then(|()| std::fs::read(&file));
    let removed = std::fs::remove_file(&file);
    written
        .and(removed)
        .map_err(|e| Error::Io(format!("{}: {e}", path.display())))
}

/// The tasks whose stores are open in this process.
#[derive(Default)]
pub(super) struct OpenTasks(Arc<Mutex<HashSet<String>>>);

impl OpenTasks {
    /// A second database on the same files would be wiped under the first: refuse it.
    pub(super) fn claim(&self, task: &str) -> Result<Claim> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !open.insert(task.to_owned()) {
            return Err(Error::Io(format!("the store of {task} is already open")));
        }
        Ok(Claim {
            open: Arc::clone(&self.0),
            task: task.to_owned(),
        })
    }
}

/// Ends when it is dropped, after the database that it stands for.
pub(super) struct Claim {
    open: Arc<Mutex<HashSet<String>>>,
    task: String,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.open
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.task);
    }
}
