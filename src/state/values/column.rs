//! A column of numbers that may be NULL: plain values, and a bit for each that says whether there is one.
//!
//! Invariant: the value under a NULL is 0, and bits behind the last value are 0; so columns are equal if their parts are.
//! A bit that is set means seen; encodings, which have it the other way round, are not known here.

#[cfg(test)]
mod tests;

use crate::state::chunked::{CHUNK, Chunked};
use std::fmt;
use std::ops::Range;

/// Bits in a word of the bitmap.
const WORD: usize = u64::BITS as usize;

#[derive(Clone, PartialEq)]
pub struct Column<T> {
    values: Chunked<T>,
    seen: Chunked<u64>,
}

impl<T: Copy + Default> Default for Column<T> {
    fn default() -> Self {
        Column::new()
    }
}

impl<T: Copy + Default> Column<T> {
    pub const fn new() -> Self {
        Column {
            values: Chunked::new(),
            seen: Chunked::new(),
        }
    }

    /// `rows` values, none of them NULL; `None` as soon as `next` gives none.
    pub fn filled(rows: usize, next: impl FnMut() -> Option<T>) -> Option<Self> {
        let mut made = Column::new();
        made.values = Chunked::filled(rows, next)?;
        made.seen.resize(rows.div_ceil(WORD), !0);
        made.blank_tail();
        Some(made)
    }

    /// The values of the given rows, in the order given.
    pub fn gather(&self, rows: &[u32]) -> Self {
        let value = |row: &u32| self.values[*row as usize];
        let values = Chunked::gathered(rows.len(), |range| rows[range].iter().map(value));
        let mut seen = Chunked::new();
        if self.all_seen(0..self.len()) {
            seen.resize(rows.len().div_ceil(WORD), !0);
        } else {
            let bit = |row: &u32| (self.seen[*row as usize / WORD] >> (row % WORD as u32)) & 1;
            seen.extend(rows.chunks(WORD).map(|rows| {
                let bits = rows.iter().zip(0..);
                bits.fold(0, |word, (row, at)| word | (bit(row) << at))
            }));
        }
        let mut made = Column { values, seen };
        made.blank_tail();
        made
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.values.len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    #[inline]
    pub fn get(&self, row: usize) -> Option<T> {
        let seen = self.seen[row / WORD] & (1 << (row % WORD)) != 0;
        let value = self.values[row];
        seen.then_some(value)
    }

    #[inline]
    pub fn set(&mut self, row: usize, value: Option<T>) {
        let (word, bit) = (&mut self.seen[row / WORD], 1 << (row % WORD));
        *word = if value.is_some() {
            *word | bit
        } else {
            *word & !bit
        };
        self.values[row] = value.unwrap_or_default();
    }

    /// Makes other values of those in the given rows, one after the other, each with what comes with its row.
    #[inline]
    pub fn update<V>(
        &mut self,
        rows: impl Iterator<Item = (usize, V)>,
        make: impl Fn(Option<T>, V) -> T,
    ) {
        // Small tables are updated most often: for them the chunk is looked up once, not per row.
        if let (Some(values), Some(seen)) = (self.values.only_chunk(), self.seen.only_chunk()) {
            for (row, with) in rows {
                let (value, word) = (&mut values[row], &mut seen[row / WORD]);
                *value = make(mark(word, row).then_some(*value), with);
            }
            return;
        }
        for (row, with) in rows {
            let (value, word) = (&mut self.values[row], &mut self.seen[row / WORD]);
            *value = make(mark(word, row).then_some(*value), with);
        }
    }

    #[inline]
    pub fn push(&mut self, value: Option<T>) {
        let row = self.values.len();
        let bit = u64::from(value.is_some()) << (row % WORD);
        if row.is_multiple_of(WORD) {
            self.seen.push(bit);
        } else {
            self.seen[row / WORD] |= bit;
        }
        self.values.push(value.unwrap_or_default());
    }

    /// Keeps the first `len` values.
    pub fn truncate(&mut self, len: usize) {
        self.values.truncate(len);
        self.seen.truncate(len.div_ceil(WORD));
        self.blank_tail();
    }

    /// Cuts, or fills up with NULLs.
    pub fn resize_null(&mut self, len: usize) {
        self.truncate(len);
        self.values.resize(len, T::default());
        self.seen.resize(len.div_ceil(WORD), 0);
    }

    /// Drops the values; memory that these did not need is given back.
    pub fn clear(&mut self) {
        self.values.clear();
        self.seen.clear();
    }

    pub fn swap(&mut self, a: usize, b: usize) {
        let kept = self.get(a);
        self.set(a, self.get(b));
        self.set(b, kept);
    }

    pub fn iter(&self) -> impl Iterator<Item = Option<T>> {
        (0..self.len()).map(|row| self.get(row))
    }

    /// The values in a range of rows that are not NULL.
    pub fn present(&self, rows: Range<usize>) -> impl Iterator<Item = T> {
        let mut at = rows.start;
        let runs = std::iter::from_fn(move || {
            let from = self.next(true, at..rows.end);
            let chunk_end = rows.end.min((from / CHUNK + 1) * CHUNK);
            at = self.next(false, from..chunk_end);
            (from < at).then(|| self.values.slice(from..at))
        });
        runs.flatten().copied()
    }

    /// No value in this range of rows is NULL.
    pub fn all_seen(&self, rows: Range<usize>) -> bool {
        self.next(false, rows.clone()) == rows.end
    }

    /// The first row of the range that is seen, or is not; the range's end where there is none.
    fn next(&self, seen: bool, rows: Range<usize>) -> usize {
        let flip = if seen { 0 } else { !0 };
        let mut at = rows.start;
        while at < rows.end {
            let bits = self.bits(at) ^ flip;
            if bits != 0 {
                return rows.end.min(at + bits.trailing_zeros() as usize);
            }
            at += WORD;
        }
        rows.end
    }

    /// Which of the 64 rows from `row` on are seen, the first one in the lowest bit.
    pub fn bits(&self, row: usize) -> u64 {
        let (word, shift) = (row / WORD, row % WORD);
        let low = self.seen[word] >> shift;
        if shift == 0 || word + 1 == self.seen.len() {
            return low;
        }
        low | (self.seen[word + 1] << (WORD - shift))
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        self.values.bytes() + self.seen.bytes()
    }

    /// Unsets the bits of the last word that stand for no row.
    fn blank_tail(&mut self) {
        let len = self.len();
        if !len.is_multiple_of(WORD) {
            self.seen[len / WORD] &= (1 << (len % WORD)) - 1;
        }
    }
}

/// Sets the row's bit; returns whether it was set before.
#[inline]
fn mark(word: &mut u64, row: usize) -> bool {
    let bit = 1 << (row % WORD);
    let seen = *word & bit != 0;
    // Many rows share a word: without the question each would wait for the store of the one before it.
    if !seen {
        *word |= bit;
    }
    seen
}

impl<T: Copy + Default> FromIterator<Option<T>> for Column<T> {
    fn from_iter<I: IntoIterator<Item = Option<T>>>(values: I) -> Self {
        let mut made = Column::new();
        values.into_iter().for_each(|value| made.push(value));
        made
    }
}

impl<T: Copy + Default + fmt::Debug> fmt::Debug for Column<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
