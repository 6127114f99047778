//! The receiving half of a windowed aggregation: merges partials into the state of open windows and fires closed ones.
//!
//! Invariant: what a transaction changes (rows, the closed bound, how far firing has come) is undone by `aborted` and
//! is committed state after `committed`; the sealed changes, replayed over any store that held a part of them, give
//! that state again. A window is closed by the watermark received; it fires in the order of ends, and in it keys in
//! the order of their bytes. A window that opens and closes between two saves never touches the store.
//!
//! Keys of the node's rows begin with a byte that says what they are: [`progress::KEY`] alone for the bookkeeping,
//! [`table::ROW`] and a window key for rows.

mod emit;
mod fire;
mod merge;
mod order;
mod overlay;
mod progress;
mod save;
mod table;

use super::accumulator::Accumulators;
use super::fold::key_encoder;
use crate::plan::graph::WindowPlan;
use crate::spec::LatePolicy;
use crate::state::Change;
use crate::state::window_key::{PREFIX_LEN, split_window_key};
use emit::Emitter;
use progress::Progress;
use std::collections::{BTreeMap, BTreeSet};
use table::WindowTable;

/// Empty tables that are kept for the next windows.
const SPARE_TABLES: usize = 2;

/// State of one task's window node: committed rows in memory (hot layer) over those in the store, with an undo log of
/// what the open transaction changed (the overlay).
pub struct WindowOperator {
    node: String,
    late: LatePolicy,
    emitter: Emitter,
    /// No groups: what new tables are made from.
    empty: Accumulators,
    /// Windows that are not cleared yet, by their ends.
    windows: BTreeMap<i64, WindowTable>,
    spare: Vec<WindowTable>,
    progress: Progress,
    committed: Progress,
    /// The committed progress is not in the store.
    progress_unsaved: bool,
    /// Ends of windows that were cleared since the last save and have rows in the store.
    clears: BTreeSet<i64>,
}

impl WindowOperator {
    /// Over an empty store.
    ///
    /// # Panics
    /// If keys or aggregates have types that the planner refuses.
    pub fn new(plan: &WindowPlan) -> Self {
        WindowOperator {
            node: plan.node.clone(),
            late: plan.late,
            emitter: Emitter::new(plan, key_encoder(&plan.key_types)),
            empty: Accumulators::new(&plan.aggregates),
            windows: BTreeMap::new(),
            spare: Vec::new(),
            progress: Progress::default(),
            committed: Progress::default(),
            progress_unsaved: false,
            clears: BTreeSet::new(),
        }
    }

    /// Takes the received watermark (never falls): windows with `end - 1 <= watermark` are closed from now on.
    pub fn advance(&mut self, watermark: i64) {
        self.progress.advance(watermark);
    }

    /// The input has ended: every open window is closed, as by a watermark of its end. Later rows of them are late.
    pub fn close_all(&mut self) {
        if let Some((end, _)) = self.windows.last_key_value() {
            self.progress.advance(end.saturating_sub(1));
        }
    }

    /// Closed windows wait to be emitted: the task takes no input meanwhile.
    pub fn firing(&self) -> bool {
        self.next_closed().is_some()
    }

    /// The watermark that may go downstream: the received one, or below the end of the window that is being fired.
    pub fn forwarded(&self) -> i64 {
        let received = self.progress.watermark();
        self.next_closed()
            .map_or(received, |end| received.min(end.saturating_sub(2)))
    }

    /// The first window that is closed and not emitted entirely.
    fn next_closed(&self) -> Option<i64> {
        let unfired = self.windows.range((
            std::ops::Bound::Excluded(self.progress.fired()),
            std::ops::Bound::Unbounded,
        ));
        unfired
            .map(|(end, _)| *end)
            .next()
            .filter(|end| self.progress.closed(*end))
    }

    /// Bytes that the open transaction's changes will take in the changelog, about.
    pub fn changed_bytes(&self) -> usize {
        let progress = if self.progress == self.committed {
            0
        } else {
            self.progress.encoded().len()
        };
        progress
            + self
                .windows
                .values()
                .map(WindowTable::changed_bytes)
                .sum::<usize>()
    }

    /// Rows that the open transaction has changed.
    pub fn changed_rows(&self) -> usize {
        let changed = |table: &WindowTable| table.dirty_slots().len();
        self.windows.values().map(changed).sum()
    }

    /// Rows of the state as far as this process has added them: no more than there are.
    pub fn added_rows(&self) -> u64 {
        self.windows.values().map(WindowTable::added).sum()
    }

    /// Memory held, in bytes; and how much of it is not in the store.
    pub fn bytes(&self) -> (usize, usize) {
        let spare: usize = self.spare.iter().map(WindowTable::bytes).sum();
        self.windows
            .values()
            .fold((spare, 0), |(held, unsaved), table| {
                (held + table.bytes(), unsaved + table.unsaved_bytes())
            })
    }

    /// Gives back memory that is kept for the next windows.
    pub fn drop_spares(&mut self) {
        self.spare.clear();
    }

    /// Rows in memory.
    pub fn rows(&self) -> usize {
        self.windows.values().map(WindowTable::len).sum()
    }

    /// Nothing has changed since the last commit.
    fn is_clean(&self) -> bool {
        self.progress == self.committed && self.windows.values().all(WindowTable::is_clean)
    }
}

/// The part that the keys of all rows of a window share, in stores and changelogs.
fn row_prefix(end: i64) -> [u8; 1 + PREFIX_LEN] {
    let mut prefix = [table::ROW; 1 + PREFIX_LEN];
    prefix[1..].copy_from_slice(&crate::state::window_key::window_prefix(end));
    prefix
}

/// Window end and group key of a row's key; `None` for a key of something else.
fn split_row_key(key: &[u8]) -> Option<(i64, &[u8])> {
    key.strip_prefix(&[table::ROW]).and_then(split_window_key)
}

fn put_row_key(end: i64, group_key: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&row_prefix(end));
    out.extend_from_slice(group_key);
}

#[cfg(test)]
mod tests;
