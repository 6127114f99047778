//! From the hash of a key to the number of its group.
//!
//! Invariant: a large index is many tables, of which each grows on its own: what is held twice for the time of growing is
//! small, and no row waits long for it. Keys are compared by the caller and never read here.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};

const STATE: FixedState = FixedState::with_seed(0);
/// Entries of a full table of 65 536 places: where it would grow, it is split instead.
const SPLIT: usize = 57_344;
const PARTS: usize = 16;
/// Which part takes a tag, by the highest eight bits of the tag. Parts differ in size, the largest one is not quite twice
/// as large as the smallest: so they double one after the other, and not all at once when all of them are full.
const PART_OF: [u8; 256] = parts();

/// 32 bits of a key's hash: what an index entry keeps, so that growing the index does not read the keys.
#[inline]
pub(in crate::operator) fn tag(key: &[u8]) -> u32 {
    let mut hasher = STATE.build_hasher();
    hasher.write(key);
    let hash = hasher.finish();
    (hash ^ (hash >> 32)) as u32
}

/// A table takes its bucket from the low bits, which do not depend on those that choose the part, and its control byte
/// from the top ones, which depend on all.
#[inline]
fn spread(tag: u32) -> u64 {
    u64::from(tag).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Shares of 256 in the proportion of the powers of the 16th root of two.
const fn parts() -> [u8; 256] {
    const SHARES: [usize; PARTS] = [
        11, 12, 12, 13, 14, 14, 15, 15, 16, 17, 17, 18, 19, 20, 21, 22,
    ];
    let mut parts = [0; 256];
    let (mut part, mut at) = (0, 0);
    while part < PARTS {
        let end = at + SHARES[part];
        while at < end {
            parts[at] = part as u8;
            at += 1;
        }
        part += 1;
    }
    assert!(at == 256, "every tag has a part");
    parts
}

#[inline]
fn part(tag: u32) -> usize {
    usize::from(PART_OF[(tag >> 24) as usize])
}

struct Entry {
    tag: u32,
    group: u32,
}

#[derive(Default)]
pub(in crate::operator) struct Index {
    /// All entries, as long as there are few.
    whole: HashTable<Entry>,
    /// None, or [`PARTS`] with all entries.
    parts: Vec<HashTable<Entry>>,
}

impl Index {
    #[inline]
    pub fn find(&self, tag: u32, mut equal: impl FnMut(u32) -> bool) -> Option<u32> {
        let table = if self.parts.is_empty() {
            &self.whole
        } else {
            &self.parts[part(tag)]
        };
        table
            .find(spread(tag), |e| e.tag == tag && equal(e.group))
            .map(|e| e.group)
    }

    #[inline]
    fn table_mut(&mut self, tag: u32) -> &mut HashTable<Entry> {
        if self.parts.is_empty() {
            &mut self.whole
        } else {
            &mut self.parts[part(tag)]
        }
    }

    /// Adds a group whose key is not in the index.
    #[inline]
    pub fn insert(&mut self, tag: u32, group: u32) {
        if self.whole.len() == SPLIT {
            self.split();
        }
        insert(self.table_mut(tag), Entry { tag, group });
    }

    #[cold]
    fn split(&mut self) {
        self.parts.resize_with(PARTS, HashTable::new);
        for entry in std::mem::take(&mut self.whole) {
            insert(&mut self.parts[part(entry.tag)], entry);
        }
    }

    pub fn remove(&mut self, tag: u32, group: u32) {
        let table = self.table_mut(tag);
        if let Ok(entry) = table.find_entry(spread(tag), |e| e.group == group) {
            entry.remove();
        }
    }

    fn tables(&mut self) -> impl Iterator<Item = &mut HashTable<Entry>> {
        std::iter::once(&mut self.whole).chain(&mut self.parts)
    }

    /// Empties it; memory that the last use did not need is given back.
    pub fn clear(&mut self) {
        let used: usize = self.parts.iter().map(HashTable::len).sum();
        if used < SPLIT {
            self.parts = Vec::new();
        }
        for table in self.tables() {
            let used = table.len();
            table.clear();
            if table.capacity() > 4096 && table.capacity() / 4 > used {
                table.shrink_to(2 * used, |e| spread(e.tag));
            }
        }
    }

    pub fn bytes(&self) -> usize {
        let tables = std::iter::once(&self.whole).chain(&self.parts);
        tables.map(HashTable::allocation_size).sum::<usize>()
            + self.parts.capacity() * size_of::<HashTable<Entry>>()
    }

    #[cfg(test)]
    pub(super) fn is_split(&self) -> bool {
        !self.parts.is_empty()
    }
}

#[inline]
fn insert(table: &mut HashTable<Entry>, entry: Entry) {
    table.insert_unique(spread(entry.tag), entry, |e| spread(e.tag));
}
