//! A growing list in chunks: growing copies nothing that is large and asks for no giant piece of memory, and what is
//! dropped at the end goes back to the allocator at once.
//!
//! Invariant: the first chunk grows by doubling up to [`CHUNK`] items, every other one has room for exactly so many; all
//! chunks before the one with the last item are full, those behind it are empty and wait to be used again. What the
//! items mean is not known here.

#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::{Index, IndexMut, Range};

/// Items in a chunk. A power of two, so that a place is found by shift and mask.
pub const CHUNK: usize = 4096;
/// Items that the first chunk begins with.
const LEAST: usize = 4;

pub struct Chunked<T> {
    chunks: Vec<Vec<T>>,
    len: usize,
}

impl<T> Chunked<T> {
    pub const fn new() -> Self {
        Chunked {
            chunks: Vec::new(),
            len: 0,
        }
    }

    /// Of `len` items: `items` gives those of a range, which lies in one chunk.
    pub fn gathered<I: Iterator<Item = T>>(
        len: usize,
        mut items: impl FnMut(Range<usize>) -> I,
    ) -> Self {
        let mut made = Chunked::new();
        for range in chunk_ranges(len) {
            let mut chunk = made.new_chunk(range.len());
            let wanted = range.len();
            chunk.extend(items(range).take(wanted));
            assert_eq!(chunk.len(), wanted, "a chunk in the middle is full");
            made.chunks.push(chunk);
            made.len += wanted;
        }
        made
    }

    /// Of `len` items, or `None` as soon as `next` gives none.
    pub fn filled(len: usize, mut next: impl FnMut() -> Option<T>) -> Option<Self> {
        let mut made = Chunked::new();
        for range in chunk_ranges(len) {
            let mut chunk = made.new_chunk(range.len());
            for _ in range {
                chunk.push(next()?);
            }
            made.len += chunk.len();
            made.chunks.push(chunk);
        }
        Some(made)
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub fn push(&mut self, item: T) {
        match self.chunks.get_mut(self.len / CHUNK) {
            Some(open) if open.len() < open.capacity() => open.push(item),
            _ => self.open_chunk(1).push(item),
        }
        self.len += 1;
    }

    /// The chunk that the next item goes to, with room for `more` of them, or for as many as it takes.
    fn open_chunk(&mut self, more: usize) -> &mut Vec<T> {
        let chunk = self.len / CHUNK;
        let used = self.len % CHUNK;
        match self.chunks.get(chunk) {
            Some(open) if open.capacity() >= CHUNK.min(used + more) => {}
            _ => self.make_room(chunk, used + more),
        }
        &mut self.chunks[chunk]
    }

    #[cold]
    fn make_room(&mut self, chunk: usize, wanted: usize) {
        match self.chunks.get_mut(chunk) {
            // Only the first chunk is ever smaller than it may be.
            Some(first) => {
                let wanted = wanted.max(2 * first.capacity()).next_power_of_two();
                first.reserve_exact(wanted.min(CHUNK) - first.len());
            }
            None => {
                if self.chunks.is_empty() {
                    self.chunks.reserve_exact(1);
                }
                let made = self.new_chunk(wanted.max(LEAST).next_power_of_two());
                self.chunks.push(made);
            }
        }
    }

    /// An empty chunk to stand behind the others.
    fn new_chunk(&self, wanted: usize) -> Vec<T> {
        Vec::with_capacity(if self.chunks.is_empty() {
            wanted.min(CHUNK)
        } else {
            CHUNK
        })
    }

    /// Keeps the first `len` items; whole chunks behind them are given back.
    pub fn truncate(&mut self, len: usize) {
        if len >= self.len {
            return;
        }
        let chunks = len.div_ceil(CHUNK);
        self.chunks.truncate(chunks);
        if let Some(last) = self.chunks.last_mut() {
            last.truncate(len - (chunks - 1) * CHUNK);
        }
        self.len = len;
    }

    /// Drops the items; chunks that these did not need are given back, the others are kept for the next ones.
    pub fn clear(&mut self) {
        self.chunks.truncate(self.len.div_ceil(CHUNK).max(1));
        self.chunks.iter_mut().for_each(Vec::clear);
        self.len = 0;
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }

    /// Items of a range that lies in one chunk.
    #[inline]
    pub fn slice(&self, range: Range<usize>) -> &[T] {
        let from = range.start % CHUNK;
        &self.chunks[range.start / CHUNK][from..from + range.len()]
    }

    /// All items, if they are in one chunk.
    #[inline]
    pub fn only_chunk(&mut self) -> Option<&mut [T]> {
        match &mut self.chunks[..] {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Memory held, in bytes, without what the items point to.
    pub fn bytes(&self) -> usize {
        let first = self.chunks.first().map_or(0, Vec::capacity);
        let rest = self.chunks.len().saturating_sub(1) * CHUNK;
        (first + rest) * size_of::<T>() + self.chunks.capacity() * size_of::<Vec<T>>()
    }
}

impl<T: Clone> Chunked<T> {
    /// Cuts, or fills up with copies of `item`.
    pub fn resize(&mut self, len: usize, item: T) {
        self.truncate(len);
        while self.len < len {
            let wanted = len - self.len;
            let chunk = self.open_chunk(wanted);
            let added = wanted.min(CHUNK - chunk.len());
            chunk.resize(chunk.len() + added, item.clone());
            self.len += added;
        }
    }
}

impl<T: Default> Chunked<T> {
    pub fn swap(&mut self, a: usize, b: usize) {
        let kept = std::mem::take(&mut self[a]);
        let moved = std::mem::replace(&mut self[b], kept);
        self[a] = moved;
    }
}

/// The ranges of the chunks of a list of `len` items.
fn chunk_ranges(len: usize) -> impl Iterator<Item = Range<usize>> {
    (0..len)
        .step_by(CHUNK)
        .map(move |from| from..len.min(from + CHUNK))
}

impl<T> Index<usize> for Chunked<T> {
    type Output = T;

    #[inline]
    fn index(&self, at: usize) -> &T {
        &self.chunks[at / CHUNK][at % CHUNK]
    }
}

impl<T> IndexMut<usize> for Chunked<T> {
    #[inline]
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.chunks[at / CHUNK][at % CHUNK]
    }
}

impl<T> Default for Chunked<T> {
    fn default() -> Self {
        Chunked::new()
    }
}

impl<T> Extend<T> for Chunked<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, items: I) {
        items.into_iter().for_each(|item| self.push(item));
    }
}

impl<T> FromIterator<T> for Chunked<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut made = Chunked::new();
        made.extend(items);
        made
    }
}

// By hand: a derived one would copy the chunks without the room that they have.
impl<T: Clone> Clone for Chunked<T> {
    fn clone(&self) -> Self {
        self.iter().cloned().collect()
    }
}

impl<T: PartialEq> PartialEq for Chunked<T> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

impl<T: fmt::Debug> fmt::Debug for Chunked<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
