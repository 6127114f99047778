//! The keys of groups by their numbers, each with something small beside it.
//!
//! Invariant: a key is contiguous. Keys lie one after the other in chunks of bytes, in the order of their groups; a long
//! one has a chunk of its own. Chunks behind the open one are empty and wait to be used again. What is dropped at the end
//! gives its chunks back.

use crate::state::chunked::Chunked;

/// Bytes of a chunk that keys share: a place in it fits 16 bits.
pub(super) const SHARED: usize = 1 << 16;
/// Keys longer than this have a chunk of their own: they would leave too much of a shared one unused.
pub(super) const LONG: usize = SHARED / 4;
/// In place of a length: the key is its chunk.
const WHOLE: u16 = u16::MAX;
/// Bytes that the first chunk begins with.
const LEAST: usize = 64;

/// Where a group's key is, and what is kept beside it, in the same cache line.
struct Group<T> {
    chunk: u32,
    start: u16,
    len: u16,
    extra: T,
}

/// Keys of groups in the order of their numbers, each with a small `T`.
pub(in crate::operator) struct Keys<T> {
    chunks: Vec<Vec<u8>>,
    /// The chunk that the next key goes to; it may not be there yet.
    open: usize,
    groups: Chunked<Group<T>>,
}

impl<T> Default for Keys<T> {
    fn default() -> Self {
        Keys {
            chunks: Vec::new(),
            open: 0,
            groups: Chunked::new(),
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
    #[inline]
    pub fn push(&mut self, key: &[u8], extra: T) -> u32 {
        let number = self.groups.len() as u32;
        let (chunk, start, len) = match self.chunks.get_mut(self.open) {
            // Even an empty key begins inside of its chunk, so that its place fits 16 bits.
            Some(open)
                if key.len() <= LONG && open.len() + key.len() < open.capacity().min(SHARED) =>
            {
                let start = open.len();
                open.extend_from_slice(key);
                (self.open as u32, start as u16, key.len() as u16)
            }
            _ => self.put(key),
        };
        let group = Group {
            chunk,
            start,
            len,
            extra,
        };
        self.groups.push(group);
        number
    }

    /// Chunk, start and length of a key for which there may be no room yet.
    #[cold]
    fn put(&mut self, key: &[u8]) -> (u32, u16, u16) {
        if key.len() > LONG {
            return (self.put_long(key), 0, WHOLE);
        }
        self.make_room(key.len().max(1));
        let open = &mut self.chunks[self.open];
        let start = open.len();
        open.extend_from_slice(key);
        (self.open as u32, start as u16, key.len() as u16)
    }

    /// Makes the open chunk one with room for so many bytes.
    fn make_room(&mut self, wanted: usize) {
        if let Some(open) = self.chunks.get_mut(self.open) {
            if open.len() + wanted <= SHARED {
                let grown = (open.len() + wanted).max(2 * open.capacity());
                let capacity = grown.next_power_of_two().min(SHARED);
                open.reserve_exact(capacity - open.len());
                return;
            }
            close(open);
            self.open += 1;
        }
        if self.open == self.chunks.len() {
            let capacity = if self.open == 0 {
                wanted.max(LEAST).next_power_of_two()
            } else {
                SHARED
            };
            self.chunks.push(Vec::with_capacity(capacity));
        }
    }

    /// Returns the number of the key's chunk.
    fn put_long(&mut self, key: &[u8]) -> u32 {
        if let Some(open) = self.chunks.get_mut(self.open)
            && !open.is_empty()
        {
            close(open);
            self.open += 1;
        }
        let chunk = self.open;
        self.chunks.insert(chunk, key.to_vec());
        self.open += 1;
        chunk as u32
    }

    #[inline]
    pub fn key(&self, group: u32) -> &[u8] {
        let group = &self.groups[group as usize];
        let chunk = &self.chunks[group.chunk as usize];
        if group.len == WHOLE {
            return chunk;
        }
        let start = usize::from(group.start);
        &chunk[start..start + usize::from(group.len)]
    }

    #[inline]
    pub fn extra(&self, group: u32) -> &T {
        &self.groups[group as usize].extra
    }

    #[inline]
    pub fn extra_mut(&mut self, group: u32) -> &mut T {
        &mut self.groups[group as usize].extra
    }

    /// Keeps the first `len` groups; whole chunks behind them are given back.
    pub fn truncate(&mut self, len: usize) {
        if len >= self.groups.len() {
            return;
        }
        let last = len.checked_sub(1).map(|last| &self.groups[last]);
        match last {
            Some(last) if last.len != WHOLE => {
                self.open = last.chunk as usize;
                self.chunks.truncate(self.open + 1);
                let end = usize::from(last.start) + usize::from(last.len);
                self.chunks[self.open].truncate(end);
            }
            _ => {
                self.open = last.map_or(0, |last| last.chunk as usize + 1);
                self.chunks.truncate(self.open);
            }
        }
        self.groups.truncate(len);
    }

    /// Empties it; memory that the last use did not need is given back, and that of long keys.
    pub fn clear(&mut self) {
        self.chunks.truncate(self.open + 1);
        let mut first = true;
        self.chunks.retain(|chunk| {
            let small = std::mem::take(&mut first) && chunk.capacity() < SHARED;
            small || chunk.capacity() == SHARED
        });
        self.chunks.iter_mut().for_each(Vec::clear);
        self.open = 0;
        self.groups.clear();
    }

    /// Without what is kept for later.
    pub fn used_bytes(&self) -> usize {
        let keys: usize = self.chunks.iter().map(Vec::len).sum();
        keys + self.groups.len() * size_of::<Group<T>>()
    }

    pub fn bytes(&self) -> usize {
        let keys: usize = self.chunks.iter().map(Vec::capacity).sum();
        keys + self.chunks.capacity() * size_of::<Vec<u8>>() + self.groups.bytes()
    }
}

/// Gives back what a key that did not fit leaves of a chunk, where it is worth a copy.
fn close(chunk: &mut Vec<u8>) {
    if chunk.capacity() - chunk.len() > SHARED / 8 {
        chunk.shrink_to_fit();
    }
}
