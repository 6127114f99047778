//! Group keys and the hash index over them: what the sending and the receiving half of an aggregation share.
//!
//! Invariant: keys lie one after the other in one buffer, in the order in which they were first seen; an index entry
//! is 8 bytes and names a group by its number, so that a look-up in a large table touches few cache lines. The hash
//! is for this process only: it is never written anywhere.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::{BuildHasher, Hasher};

const STATE: FixedState = FixedState::with_seed(0);

/// 32 bits of a key's hash: what an index entry keeps, so that growing the index does not read the keys.
#[inline]
pub(super) fn tag(key: &[u8]) -> u32 {
    let mut hasher = STATE.build_hasher();
    hasher.write(key);
    let hash = hasher.finish();
    (hash ^ (hash >> 32)) as u32
}

/// The table takes its bucket from the low bits and its control byte from the top ones.
#[inline]
fn spread(tag: u32) -> u64 {
    let tag = u64::from(tag);
    tag | (tag << 32)
}

struct Entry {
    tag: u32,
    group: u32,
}

/// From a key's tag to the number of its group.
#[derive(Default)]
pub(super) struct Index {
    entries: HashTable<Entry>,
}

impl Index {
    #[inline]
    pub fn find(&self, tag: u32, mut equal: impl FnMut(u32) -> bool) -> Option<u32> {
        self.entries
            .find(spread(tag), |e| e.tag == tag && equal(e.group))
            .map(|e| e.group)
    }

    /// Adds a group whose key is not in the index.
    pub fn insert(&mut self, tag: u32, group: u32) {
        self.entries
            .insert_unique(spread(tag), Entry { tag, group }, |e| spread(e.tag));
    }

    pub fn remove(&mut self, tag: u32, group: u32) {
        if let Ok(entry) = self.entries.find_entry(spread(tag), |e| e.group == group) {
            entry.remove();
        }
    }

    /// Empties it; memory that the last use did not need is given back.
    pub fn clear(&mut self) {
        let used = self.entries.len();
        self.entries.clear();
        if self.entries.capacity() > 4096 && self.entries.capacity() / 4 > used {
            self.entries.shrink_to(2 * used, |e| spread(e.tag));
        }
    }

    pub fn bytes(&self) -> usize {
        self.entries.allocation_size()
    }
}

/// What is kept per group beside its accumulators, with the place of its key.
struct Group<T> {
    start: u64,
    len: u32,
    extra: T,
}

/// Keys of groups in the order of their numbers, each with a small `T`, which shares its cache line.
pub(super) struct Keys<T> {
    data: Vec<u8>,
    groups: Vec<Group<T>>,
}

impl<T> Default for Keys<T> {
    fn default() -> Self {
        Keys {
            data: Vec::new(),
            groups: Vec::new(),
        }
    }
}

impl<T> Keys<T> {
    pub fn len(&self) -> usize {
        self.groups.len()
    }

    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Returns the number of the new group.
    pub fn push(&mut self, key: &[u8], extra: T) -> u32 {
        let group = self.groups.len() as u32;
        self.groups.push(Group {
            start: self.data.len() as u64,
            len: key.len() as u32,
            extra,
        });
        self.data.extend_from_slice(key);
        group
    }

    #[inline]
    pub fn key(&self, group: u32) -> &[u8] {
        let group = &self.groups[group as usize];
        let start = group.start as usize;
        &self.data[start..start + group.len as usize]
    }

    #[inline]
    pub fn extra(&self, group: u32) -> &T {
        &self.groups[group as usize].extra
    }

    #[inline]
    pub fn extra_mut(&mut self, group: u32) -> &mut T {
        &mut self.groups[group as usize].extra
    }

    pub fn extras(&self) -> impl Iterator<Item = &T> {
        self.groups.iter().map(|g| &g.extra)
    }

    /// Keeps the first `len` groups.
    pub fn truncate(&mut self, len: usize) {
        if let Some(first) = self.groups.get(len) {
            self.data.truncate(first.start as usize);
            self.groups.truncate(len);
        }
    }

    /// Empties it; memory that the last use did not need is given back.
    pub fn clear(&mut self) {
        let (data, groups) = (self.data.len(), self.groups.len());
        self.data.clear();
        self.groups.clear();
        if self.groups.capacity() > 4096 && self.groups.capacity() / 4 > groups {
            self.data.shrink_to(2 * data);
            self.groups.shrink_to(2 * groups);
        }
    }

    /// Without what is kept for later.
    pub fn used_bytes(&self) -> usize {
        self.data.len() + self.groups.len() * size_of::<Group<T>>()
    }

    pub fn bytes(&self) -> usize {
        self.data.capacity() + self.groups.capacity() * size_of::<Group<T>>()
    }
}
