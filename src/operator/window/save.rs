//! The way between memory and store: opening, restoring from the changelog, saving, evicting.
//!
//! Invariant: only committed rows reach the store, clears before the puts that follow them; only rows that are in the
//! store leave memory. Restoring is absolute: it may begin over a store that is ahead of the changelog's position.

use super::progress::{self, Progress};
use super::table::WindowTable;
use super::{Change, WindowOperator, row_prefix, split_row_key, table};
use crate::plan::graph::WindowPlan;
use crate::state::{Error, Result, Store};
use std::ops::Range;

/// Rows and bytes written to the store in one call, at most about.
const BATCH_ROWS: usize = 4096;
const BATCH_BYTES: usize = 1 << 20;

impl WindowOperator {
    /// Over a store that may hold rows: reads the bookkeeping and which windows there are, no rows.
    ///
    /// # Errors
    /// If the store cannot be read or is damaged.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn open(plan: &WindowPlan, store: &dyn Store, node: &str) -> Result<Self> {
        let mut opened = WindowOperator::new(plan);
        opened.node = node.to_owned();
        if let Some(Some(bytes)) = store.get_many(node, &[progress::KEY])?.first() {
            opened.progress = Progress::decoded(bytes)?;
            opened.committed = opened.progress.clone();
        }
        let mut after: Option<Vec<u8>> = None;
        while let Some(end) = next_window(store, node, after.as_deref())? {
            opened.windows.insert(end, WindowTable::cold(&opened.empty));
            // No group key begins with this byte: it lies behind all rows of the window.
            after = Some([&row_prefix(end)[..], &[0xff]].concat());
        }
        Ok(opened)
    }

    /// Takes a change from the changelog, while the task is restored.
    ///
    /// # Errors
    /// If the change is not one that this operator has sealed.
    pub fn restore(&mut self, change: Change<'_>) -> Result<()> {
        match change {
            Change::Put { key, value } if key == progress::KEY => {
                self.progress = Progress::decoded(value)?;
                self.committed = self.progress.clone();
                self.progress_unsaved = true;
            }
            Change::Put { key, value } => {
                let (end, key) = split_row_key(key).ok_or_else(|| unknown(key))?;
                let WindowOperator { windows, empty, .. } = self;
                let table = windows
                    .entry(end)
                    .or_insert_with(|| WindowTable::new(empty));
                table.restore(key, value)?;
            }
            Change::Clear { prefix } => {
                let (end, _) = split_row_key(prefix)
                    .filter(|(_, key)| key.is_empty())
                    .ok_or_else(|| unknown(prefix))?;
                if self.windows.remove(&end).is_some_and(|table| table.stored) {
                    self.clears.insert(end);
                }
            }
            Change::Delete { key } => return Err(unknown(key)),
        }
        Ok(())
    }

    /// Writes committed rows that are not in the store yet; no transaction is open.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn save(&mut self, node: &str, store: &mut dyn Store) -> Result<()> {
        debug_assert!(self.is_clean(), "saving while a transaction is open");
        let prefixes: Vec<_> = self.clears.iter().map(|end| row_prefix(*end)).collect();
        if !prefixes.is_empty() {
            store.write(
                node,
                &mut prefixes.iter().map(|prefix| Change::Clear { prefix }),
            )?;
            self.clears.clear();
        }
        for (end, table) in &mut self.windows {
            save_rows(*end, table, node, store)?;
        }
        if self.progress_unsaved {
            let value = self.committed.encoded();
            store.write(
                node,
                &mut std::iter::once(Change::Put {
                    key: progress::KEY,
                    value: &value,
                }),
            )?;
            self.progress_unsaved = false;
        }
        Ok(())
    }

    /// Whether the row of this key changed (or was cleared) since the last save.
    pub fn unsaved(&self, key: &[u8]) -> bool {
        match split_row_key(key) {
            Some((end, group_key)) => {
                self.clears.contains(&end)
                    || self
                        .windows
                        .get(&end)
                        .is_some_and(|table| table.unsaved(group_key))
            }
            None => self.progress_unsaved,
        }
    }

    /// Drops rows from memory that are in the store, and gives the memory back. Called right after `save`.
    pub fn evict(&mut self) {
        let empty = &self.empty;
        self.windows
            .values_mut()
            .for_each(|table| table.evict(empty));
        self.spare.clear();
    }
}

fn unknown(key: &[u8]) -> Error {
    Error::Damaged {
        what: "changelog of a window",
        message: format!("a change of the unknown key {key:02x?}"),
    }
}

/// The end of the first window with rows behind `after`.
fn next_window(store: &dyn Store, node: &str, after: Option<&[u8]>) -> Result<Option<i64>> {
    let mut found = None;
    store.scan(node, &[table::ROW], after, &mut |key, _| {
        found = Some(split_row_key(key).ok_or_else(|| unknown(key))?.0);
        Ok(false)
    })?;
    Ok(found)
}

fn save_rows(end: i64, table: &mut WindowTable, node: &str, store: &mut dyn Store) -> Result<()> {
    let mut from = 0;
    loop {
        let run = table.unsaved_run(&mut from);
        if run.is_empty() {
            return Ok(());
        }
        save_run(end, table, &run, node, store)?;
    }
}

fn save_run(
    end: i64,
    table: &mut WindowTable,
    run: &[u32],
    node: &str,
    store: &mut dyn Store,
) -> Result<()> {
    let mut slots = run.iter().copied().peekable();
    let mut bytes = Vec::new();
    while slots.peek().is_some() {
        bytes.clear();
        let mut batch: Vec<(u32, Range<usize>, Range<usize>)> = Vec::new();
        while batch.len() < BATCH_ROWS
            && bytes.len() < BATCH_BYTES
            && let Some(slot) = slots.next()
        {
            let start = bytes.len();
            table.put_row_key(end, slot, &mut bytes);
            let middle = bytes.len();
            table.rows().encode(slot, &mut bytes);
            batch.push((slot, start..middle, middle..bytes.len()));
        }
        let put = |(_, key, value): &(u32, Range<usize>, Range<usize>)| Change::Put {
            key: &bytes[key.clone()],
            value: &bytes[value.clone()],
        };
        store.write(node, &mut batch.iter().map(put))?;
        batch
            .iter()
            .for_each(|(slot, _, _)| table.mark_saved(*slot));
    }
    Ok(())
}
