//! Rows of one window in memory: a hash table from group key to a slot in columns of state.
//!
//! Invariant: slots below `base` are committed and, while the open transaction has changed them, have a copy of their
//! committed state in `undo`; slots from `base` on are of the open transaction. A slot that is `saved` is committed
//! and equal to the row in the store. Knows nothing of watermarks.

use super::order::{self, Order};
use super::put_row_key;
use crate::operator::accumulator::Accumulators;
use crate::operator::groups::{Index, Keys, tag};
use crate::state::Result;
use crate::state::chunked::Chunked;
use crate::state::values::StateColumn;

/// What the keys of rows begin with.
pub(super) const ROW: u8 = 1;
/// About what a change takes beside its key and its state.
const CHANGE_OVERHEAD: usize = 16;

#[derive(Clone, Copy, Default)]
struct Flags {
    saved: bool,
    /// Changed by the open transaction.
    dirty: bool,
}

pub(super) struct WindowTable {
    index: Index,
    keys: Keys<Flags>,
    rows: Accumulators,
    /// The store has rows of this window.
    pub stored: bool,
    /// The store has rows of this window that are not in memory.
    pub cold: bool,
    /// Committed slots that are not saved.
    unsaved: usize,
    /// Rows that committed transactions have added, as far as this table has seen them: those that it was opened with are not counted.
    added: u64,
    base: usize,
    /// Dirty slots, and the bytes of their keys.
    touched: Chunked<u32>,
    touched_key_bytes: usize,
    /// Committed state of the dirty slots below `base`, in the order of `undo_slots`.
    undo: Accumulators,
    undo_slots: Chunked<u32>,
    /// Slots in the order of their keys, while the window fires.
    sorted: Option<Order>,
}

impl WindowTable {
    pub fn new(empty: &Accumulators) -> Self {
        WindowTable {
            index: Index::default(),
            keys: Keys::default(),
            rows: empty.new_empty(),
            stored: false,
            cold: false,
            unsaved: 0,
            added: 0,
            base: 0,
            touched: Chunked::new(),
            touched_key_bytes: 0,
            undo: empty.new_empty(),
            undo_slots: Chunked::new(),
            sorted: None,
        }
    }

    /// A window whose rows are all in the store.
    pub fn cold(empty: &Accumulators) -> Self {
        WindowTable {
            stored: true,
            cold: true,
            ..WindowTable::new(empty)
        }
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    pub fn rows(&self) -> &Accumulators {
        &self.rows
    }

    pub fn key(&self, slot: u32) -> &[u8] {
        self.keys.key(slot)
    }

    /// Nothing of an open transaction is in it.
    pub fn is_clean(&self) -> bool {
        self.touched.is_empty()
    }

    /// Some transaction before the open one has left rows here.
    pub fn has_committed(&self) -> bool {
        self.base > 0 || self.stored
    }

    pub fn added(&self) -> u64 {
        self.added
    }

    pub fn dirty_slots(&self) -> &Chunked<u32> {
        &self.touched
    }

    pub fn find(&self, key: &[u8]) -> Option<u32> {
        self.index.find(tag(key), |slot| self.keys.key(slot) == key)
    }

    /// The slots of the keys; new ones have seen nothing.
    pub fn find_or_insert<'k>(&mut self, keys: impl Iterator<Item = &'k [u8]>) -> Vec<u32> {
        let mut slot_of = |key: &[u8]| {
            let tag = tag(key);
            self.index
                .find(tag, |slot| self.keys.key(slot) == key)
                .unwrap_or_else(|| self.insert(tag, key, false))
        };
        let slots = keys.map(&mut slot_of).collect();
        self.rows.resize(self.keys.len());
        slots
    }

    fn insert(&mut self, tag: u32, key: &[u8], saved: bool) -> u32 {
        let slot = self.keys.push(
            key,
            Flags {
                saved,
                dirty: false,
            },
        );
        self.index.insert(tag, slot);
        self.sorted = None;
        slot
    }

    /// The slot of a key that was not in memory when it was looked for in the store: `value` is what was found there.
    pub fn find_or_load(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<u32> {
        let tag = tag(key);
        // The same key may have come before, in the same block.
        if let Some(slot) = self.index.find(tag, |slot| self.keys.key(slot) == key) {
            return Ok(slot);
        }
        match value {
            Some(value) => self.rows.push_encoded(value)?,
            None => self.rows.resize(self.keys.len() + 1),
        }
        Ok(self.insert(tag, key, value.is_some()))
    }

    /// Takes a committed row from the changelog: it replaces what is known of the key.
    pub fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let tag = tag(key);
        match self.index.find(tag, |slot| self.keys.key(slot) == key) {
            Some(slot) => {
                self.rows.replace_encoded(slot, value)?;
                let flags = self.keys.extra_mut(slot);
                self.unsaved += usize::from(flags.saved);
                flags.saved = false;
            }
            None => {
                self.rows.push_encoded(value)?;
                self.insert(tag, key, false);
                self.unsaved += 1;
            }
        }
        self.base = self.keys.len();
        Ok(())
    }

    /// Merges rows `rows` of the partials into the slots, one by one.
    pub fn merge(&mut self, slots: &[u32], partials: &[StateColumn], rows: &[u32]) {
        for slot in slots {
            self.touch(*slot);
        }
        self.rows.merge(slots, partials, rows);
    }

    /// Keeps the committed state of a slot that is about to change for the first time in the transaction.
    fn touch(&mut self, slot: u32) {
        let flags = self.keys.extra_mut(slot);
        if flags.dirty {
            return;
        }
        flags.dirty = true;
        if (slot as usize) < self.base {
            self.undo.push_from(&self.rows, slot);
            self.undo_slots.push(slot);
        }
        self.touched.push(slot);
        self.touched_key_bytes += self.keys.key(slot).len();
    }

    pub fn commit(&mut self) {
        for slot in self.touched.iter() {
            let flags = self.keys.extra_mut(*slot);
            let known = (*slot as usize) < self.base;
            let was_unsaved = known && !flags.saved;
            // What was loaded from the store is saved, and no new row.
            self.added += u64::from(!known && !flags.saved);
            *flags = Flags::default();
            self.unsaved += usize::from(!was_unsaved);
        }
        self.base = self.keys.len();
        self.forget_touched();
    }

    pub fn abort(&mut self) {
        for (copy, slot) in self.undo_slots.iter().enumerate() {
            self.rows.assign(*slot, &self.undo, copy as u32);
        }
        for slot in self.touched.iter() {
            self.keys.extra_mut(*slot).dirty = false;
        }
        for slot in self.base..self.keys.len() {
            self.index
                .remove(tag(self.keys.key(slot as u32)), slot as u32);
            self.sorted = None;
        }
        self.keys.truncate(self.base);
        self.rows.resize(self.base);
        self.forget_touched();
    }

    fn forget_touched(&mut self) {
        self.touched.clear();
        self.undo.clear();
        self.undo_slots.clear();
        self.touched_key_bytes = 0;
    }

    /// The next committed slots from `from` on that are not saved, a run of them in the order of their keys (a store takes
    /// those faster); `from` moves behind them. No transaction is open.
    pub fn unsaved_run(&self, from: &mut u32) -> Vec<u32> {
        if self.unsaved == 0 {
            return Vec::new();
        }
        let rest = *from..self.keys.len() as u32;
        let unsaved = rest.filter(|slot| !self.keys.extra(*slot).saved);
        let mut run: Vec<u32> = unsaved.take(order::RUN).collect();
        if let Some(last) = run.last() {
            *from = last + 1;
        }
        order::sort(&self.keys, &mut run);
        run
    }

    pub fn unsaved(&self, key: &[u8]) -> bool {
        self.find(key)
            .is_some_and(|slot| !self.keys.extra(slot).saved)
    }

    /// The row of the slot is now in the store.
    pub fn mark_saved(&mut self, slot: u32) {
        self.keys.extra_mut(slot).saved = true;
        self.unsaved -= 1;
        self.stored = true;
    }

    /// Drops the rows, if all of them are in the store.
    pub fn evict(&mut self, empty: &Accumulators) {
        if self.unsaved == 0 && self.is_clean() && !self.keys.is_empty() {
            *self = WindowTable {
                added: self.added,
                ..WindowTable::cold(empty)
            };
        }
    }

    /// Makes it a new table and keeps its memory, as far as it was used.
    pub fn recycle(&mut self) {
        self.index.clear();
        self.keys.clear();
        self.rows.clear();
        self.forget_touched();
        (self.stored, self.cold, self.sorted) = (false, false, None);
        (self.unsaved, self.added, self.base) = (0, 0, 0);
    }

    pub fn changed_bytes(&self) -> usize {
        let row = self.rows.encoded_size() + super::row_prefix(0).len() + CHANGE_OVERHEAD;
        self.touched.len() * row + self.touched_key_bytes
    }

    pub fn bytes(&self) -> usize {
        self.index.bytes()
            + self.keys.bytes()
            + self.rows.bytes()
            + self.undo.bytes()
            + self.touched.bytes()
            + self.undo_slots.bytes()
            + self.sorted.as_ref().map_or(0, Order::bytes)
    }

    /// The part of the memory that stands for rows which are not in the store.
    pub fn unsaved_bytes(&self) -> usize {
        let unsaved = self.unsaved as u128 * self.bytes() as u128;
        unsaved
            .checked_div(self.keys.len() as u128)
            .map_or(0, |bytes| bytes as usize)
    }

    /// The whole key of a slot's row in stores and changelogs.
    pub fn put_row_key(&self, end: i64, slot: u32, out: &mut Vec<u8>) {
        put_row_key(end, self.keys.key(slot), out);
    }

    /// Slots in the order of their keys.
    pub fn sort(&mut self) {
        if self.sorted.is_none() {
            self.sorted = Some(Order::of(&self.keys));
        }
    }

    /// The sorted slots whose keys are greater than `after`. Call [`Self::sort`] first.
    pub fn sorted_after(&self, after: Option<&[u8]>) -> impl Iterator<Item = u32> {
        let sorted = self.sorted.iter();
        sorted.flat_map(move |order| order.after(&self.keys, after))
    }
}
