//! Stores in memory: for tests, the simulator, and topologies whose state need not outlive the process.
//!
//! Invariant: the same contract as RocksDB's stores, pinned by the same tests. Data live as long as the
//! [`MemoryStores`], by task name: dropping and opening a store again is a restart of the process. Nothing is copied
//! per save: what a crash would undo is kept as an undo log since the last position.

use super::{Change, Error, Result, SavedPosition, Store, StoreFigures, Stores, Visit};
use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Default)]
struct Task {
    nodes: BTreeMap<String, Rows>,
    position: Option<SavedPosition>,
    /// Node, key and the value it had, since the last `set_position`.
    undo: Vec<(String, Vec<u8>, Option<Vec<u8>>)>,
    size: Size,
    open: bool,
}

/// How much a task holds. Kept with every change: it is asked for after every commit, and counting would read every row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Size {
    rows: u64,
    bytes: u64,
}

impl Size {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.rows += 1;
        self.bytes += (key.len() + value.len()) as u64;
    }

    fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.rows -= 1;
        self.bytes -= (key.len() + value.len()) as u64;
    }
}

impl Task {
    fn rows(&self, node: &str) -> Result<&Rows> {
        self.nodes.get(node).ok_or_else(|| unknown_node(node))
    }

    fn apply(&mut self, node: &str, change: Change<'_>) -> Result<()> {
        match change {
            Change::Put { key, value } => {
                let old = self.put(node, key, Some(value.to_vec()))?;
                self.undo.push((node.to_owned(), key.to_vec(), old));
            }
            Change::Delete { key } => {
                if let Some(old) = self.put(node, key, None)? {
                    self.undo.push((node.to_owned(), key.to_vec(), Some(old)));
                }
            }
            Change::Clear { prefix } => {
                let rows = self.nodes.get_mut(node).ok_or_else(|| unknown_node(node))?;
                let mut cleared = rows.split_off(prefix);
                if let Some(end) = prefix_end(prefix) {
                    rows.append(&mut cleared.split_off(&end));
                }
                cleared.iter().for_each(|(k, v)| self.size.remove(k, v));
                self.undo.extend(
                    cleared
                        .into_iter()
                        .map(|(key, old)| (node.to_owned(), key, Some(old))),
                );
            }
        }
        Ok(())
    }

    /// Writes a row, or removes it where there is no value; returns what was there.
    fn put(&mut self, node: &str, key: &[u8], value: Option<Vec<u8>>) -> Result<Option<Vec<u8>>> {
        let rows = self.nodes.get_mut(node).ok_or_else(|| unknown_node(node))?;
        let old = match value {
            Some(value) => {
                self.size.add(key, &value);
                rows.insert(key.to_vec(), value)
            }
            None => rows.remove(key),
        };
        if let Some(old) = &old {
            self.size.remove(key, old);
        }
        Ok(old)
    }
}

/// The smallest byte string greater than all that begin with `prefix`; `None` where there is none.
pub(super) fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|b| *b != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

pub(super) fn unknown_node(node: &str) -> Error {
    Error::Io(format!("the store was not opened for node {node}"))
}

/// Stores of all tasks of one process; clones share the data.
#[derive(Clone, Default)]
pub struct MemoryStores {
    tasks: Arc<Mutex<HashMap<String, Arc<Mutex<Task>>>>>,
}

impl MemoryStores {
    pub fn new() -> Self {
        Self::default()
    }

    /// What a crash may do to every store: all that was written after the last `set_position` is gone. (Reopening
    /// without this is the other thing that a crash may do: everything stayed.)
    pub fn roll_back_to_last_save(&self) {
        for task in lock(&self.tasks).values() {
            let task = &mut *lock(task);
            for (node, key, old) in std::mem::take(&mut task.undo).into_iter().rev() {
                // A node that the task does not have any more has no rows to roll back.
                let _ = task.put(&node, &key, old);
            }
        }
    }
}

impl Stores for MemoryStores {
    /// Not measured: these stores are for tests and small trials.
    fn memory(&self) -> usize {
        0
    }

    fn open(&self, task: &str, nodes: &[&str]) -> Result<Box<dyn Store>> {
        let shared = Arc::clone(lock(&self.tasks).entry(task.to_owned()).or_default());
        {
            let mut data = lock(&shared);
            if data.open {
                return Err(Error::Io(format!("the store of {task} is already open")));
            }
            if !data.nodes.keys().map(String::as_str).eq(sorted(nodes)) {
                *data = Task::default();
                data.nodes = nodes
                    .iter()
                    .map(|n| ((*n).to_owned(), Rows::new()))
                    .collect();
            }
            data.open = true;
        }
        Ok(Box::new(MemoryStore {
            task: shared,
            reads: Cell::new(0),
            writes: 0,
        }))
    }
}

/// One task's rows in memory.
struct MemoryStore {
    task: Arc<Mutex<Task>>,
    reads: Cell<u64>,
    writes: u64,
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        lock(&self.task).open = false;
    }
}

impl Store for MemoryStore {
    fn get_many(&self, node: &str, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        self.reads.set(self.reads.get() + keys.len() as u64);
        let task = lock(&self.task);
        let rows = task.rows(node)?;
        Ok(keys.iter().map(|key| rows.get(*key).cloned()).collect())
    }

    fn scan(
        &self,
        node: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<()> {
        let task = lock(&self.task);
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        for (key, value) in task.rows(node)?.range::<[u8], _>((from, Bound::Unbounded)) {
            if !key.starts_with(prefix) {
                break;
            }
            self.reads.set(self.reads.get() + 1);
            if !visit(key, value)? {
                break;
            }
        }
        Ok(())
    }

    fn write(&mut self, node: &str, changes: &mut dyn Iterator<Item = Change<'_>>) -> Result<()> {
        let mut task = lock(&self.task);
        task.rows(node)?;
        for change in changes {
            self.writes += 1;
            task.apply(node, change)?;
        }
        Ok(())
    }

    fn set_position(&mut self, position: SavedPosition) -> Result<()> {
        let mut task = lock(&self.task);
        task.position = Some(position);
        task.undo.clear();
        Ok(())
    }

    fn position(&self) -> Result<Option<SavedPosition>> {
        Ok(lock(&self.task).position)
    }

    fn wipe(&mut self) -> Result<()> {
        let mut task = lock(&self.task);
        task.nodes.values_mut().for_each(Rows::clear);
        task.position = None;
        task.undo.clear();
        task.size = Size::default();
        Ok(())
    }

    fn figures(&self) -> StoreFigures {
        let Size { rows, bytes } = lock(&self.task).size;
        StoreFigures {
            rows,
            bytes,
            reads: self.reads.get(),
            writes: self.writes,
        }
    }
}

pub(super) fn sorted<'a>(nodes: &[&'a str]) -> Vec<&'a str> {
    let mut sorted = nodes.to_vec();
    sorted.sort_unstable();
    sorted
}

/// A panic elsewhere leaves whole rows behind, so a poisoned lock still guards good data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::contract;

    #[test]
    fn memory_stores_keep_the_contract() {
        let stores = MemoryStores::new();
        contract::check(&stores);
    }

    #[test]
    fn a_roll_back_undoes_what_came_after_the_last_position() -> Result<()> {
        let stores = MemoryStores::new();
        let mut store = stores.open("t/0", &["n"])?;
        let position = SavedPosition {
            offset: 7,
            epoch: 1,
            nonce: 2,
        };
        contract::put(&mut *store, "n", &[("a1", "1"), ("a2", "2"), ("b", "3")]);
        store.set_position(position)?;
        contract::put(&mut *store, "n", &[("a1", "changed"), ("c", "new")]);
        store.write(
            "n",
            &mut [Change::Clear { prefix: b"a" }, Change::Delete { key: b"b" }].into_iter(),
        )?;
        contract::put(&mut *store, "n", &[("a1", "again")]);
        drop(store);
        stores.roll_back_to_last_save();
        let store = stores.open("t/0", &["n"])?;
        assert_eq!(
            contract::all(&*store, "n"),
            contract::rows(&[("a1", "1"), ("a2", "2"), ("b", "3")])
        );
        assert_eq!(store.position()?, Some(position));
        let figures = store.figures();
        assert_eq!((figures.rows, figures.bytes), (3, 8));
        Ok(())
    }

    #[test]
    fn the_size_is_that_of_the_rows_after_any_change() -> Result<()> {
        let stores = MemoryStores::new();
        let mut store = stores.open("size/0", &["n", "m"])?;
        let size = |store: &dyn Store| (store.figures().rows, store.figures().bytes);
        contract::put(&mut *store, "n", &[("a1", "1"), ("a2", "22"), ("b", "")]);
        contract::put(&mut *store, "m", &[("a1", "1")]);
        assert_eq!(size(&*store), (4, 11));
        contract::put(&mut *store, "n", &[("a1", "longer")]);
        assert_eq!(size(&*store), (4, 16));
        let never = Change::Delete { key: b"never" };
        let there = Change::Delete { key: b"b" };
        store.write("n", &mut [never, there].into_iter())?;
        assert_eq!(size(&*store), (3, 15));
        store.write("n", &mut std::iter::once(Change::Clear { prefix: b"a" }))?;
        assert_eq!(size(&*store), (1, 3));
        store.wipe()?;
        assert_eq!(size(&*store), (0, 0));
        Ok(())
    }

    #[test]
    fn the_end_of_a_prefix_skips_trailing_ff() {
        assert_eq!(prefix_end(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(prefix_end(&[1, 0xff, 0xff]), Some(vec![2]));
        assert_eq!(prefix_end(&[0xff, 0xff]), None);
        assert_eq!(prefix_end(&[]), None);
    }
}
