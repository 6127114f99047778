//! Rows of one window in memory: a hash table from group key to a slot in columns of state.
//!
//! Invariant: slots below `base` are committed and, while the open transaction has changed them, have a copy of their
//! committed state in `undo`; slots from `base` on are of the open transaction. A slot that is `saved` is committed
//! and equal to the row in the store. Knows nothing of watermarks.

use super::put_row_key;
use crate::operator::accumulator::Accumulators;
use crate::operator::groups::{Index, Keys, tag};
use crate::state::Result;
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
    base: usize,
    /// Dirty slots, and the bytes of their keys.
    touched: Vec<u32>,
    touched_key_bytes: usize,
    /// Committed state of the dirty slots below `base`, in the order of `undo_slots`.
    undo: Accumulators,
    undo_slots: Vec<u32>,
    /// Slots in the order of their keys, while the window fires.
    sorted: Option<Vec<u32>>,
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
            base: 0,
            touched: Vec::new(),
            touched_key_bytes: 0,
            undo: empty.new_empty(),
            undo_slots: Vec::new(),
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

    pub fn dirty_slots(&self) -> &[u32] {
        &self.touched
    }

    pub fn find(&self, key: &[u8]) -> Option<u32> {
        self.index.find(tag(key), |slot| self.keys.key(slot) == key)
    }

    /// The slot of the key; a new one has seen nothing.
    pub fn find_or_insert(&mut self, key: &[u8]) -> u32 {
        let tag = tag(key);
        if let Some(slot) = self.index.find(tag, |slot| self.keys.key(slot) == key) {
            return slot;
        }
        self.rows.resize(self.keys.len() + 1);
        self.insert(tag, key, false)
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

    /// Adds a row as it is in the store; it is not in memory.
    pub fn load(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.rows.push_encoded(value)?;
        self.insert(tag(key), key, true);
        Ok(())
    }

    /// Takes a committed row from the changelog: it replaces what is known of the key.
    pub fn restore(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        match self.find(key) {
            Some(slot) => {
                let mut row = self.rows.new_empty();
                row.push_encoded(value)?;
                self.rows.assign(slot, &row, 0);
                let flags = self.keys.extra_mut(slot);
                self.unsaved += usize::from(flags.saved);
                flags.saved = false;
            }
            None => {
                self.rows.push_encoded(value)?;
                self.insert(tag(key), key, false);
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
        for slot in self.touched.drain(..) {
            let flags = self.keys.extra_mut(slot);
            let was_unsaved = (slot as usize) < self.base && !flags.saved;
            *flags = Flags::default();
            self.unsaved += usize::from(!was_unsaved);
        }
        self.base = self.keys.len();
        self.forget_undo();
    }

    pub fn abort(&mut self) {
        for (copy, slot) in self.undo_slots.iter().enumerate() {
            self.rows.assign(*slot, &self.undo, copy as u32);
        }
        for slot in self.touched.drain(..) {
            self.keys.extra_mut(slot).dirty = false;
        }
        for slot in self.base..self.keys.len() {
            self.index
                .remove(tag(self.keys.key(slot as u32)), slot as u32);
            self.sorted = None;
        }
        self.keys.truncate(self.base);
        self.rows.resize(self.base);
        self.forget_undo();
    }

    fn forget_undo(&mut self) {
        self.undo.clear();
        self.undo_slots.clear();
        self.touched_key_bytes = 0;
    }

    /// Committed slots that are not saved, in ascending order. No transaction is open.
    pub fn unsaved_slots(&self) -> Vec<u32> {
        let slots = 0..self.keys.len() as u32;
        slots.filter(|slot| !self.keys.extra(*slot).saved).collect()
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
            *self = WindowTable::cold(empty);
        }
    }

    /// Makes it a new table and keeps its memory, as far as it was used.
    pub fn recycle(&mut self) {
        self.index.clear();
        self.keys.clear();
        self.rows.clear();
        self.touched.clear();
        self.forget_undo();
        (self.stored, self.cold, self.unsaved, self.base, self.sorted) = (false, false, 0, 0, None);
    }

    pub fn changed_bytes(&self) -> usize {
        let row = self.rows.encoded_size() + super::row_prefix(0).len() + CHANGE_OVERHEAD;
        self.touched.len() * row + self.touched_key_bytes
    }

    pub fn bytes(&self) -> usize {
        let slots = self.touched.capacity()
            + self.undo_slots.capacity()
            + self.sorted.as_ref().map_or(0, Vec::capacity);
        self.index.bytes()
            + self.keys.bytes()
            + self.rows.bytes()
            + self.undo.bytes()
            + slots * size_of::<u32>()
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
            self.sorted = Some(sorted(&self.keys));
        }
    }

    /// The sorted slots whose keys are greater than `after`. Call [`Self::sort`] first.
    pub fn sorted_after(&self, after: Option<&[u8]>) -> &[u32] {
        let sorted = self.sorted.as_deref().unwrap_or_default();
        match after {
            None => sorted,
            Some(after) => &sorted[sorted.partition_point(|slot| self.keys.key(*slot) <= after)..],
        }
    }
}

/// Sorts by eight bytes behind what all keys share, and looks at the keys themselves only where those are equal:
/// otherwise each comparison would read memory at two random places.
fn sorted<T>(keys: &Keys<T>) -> Vec<u32> {
    let Some(last) = (keys.len() as u32).checked_sub(1) else {
        return Vec::new();
    };
    let first = keys.key(0);
    let shared = (1..=last).fold(first.len(), |shared, slot| {
        let same = first[..shared]
            .iter()
            .zip(keys.key(slot))
            .take_while(|(a, b)| a == b);
        same.count()
    });
    let head = |key: &[u8]| {
        let mut head = [0; 8];
        let rest = &key[shared..];
        let len = rest.len().min(8);
        head[..len].copy_from_slice(&rest[..len]);
        u64::from_be_bytes(head)
    };
    let mut order: Vec<(u64, u32)> = (0..=last)
        .map(|slot| (head(keys.key(slot)), slot))
        .collect();
    order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| keys.key(a.1).cmp(keys.key(b.1))));
    order.into_iter().map(|(_, slot)| slot).collect()
}
