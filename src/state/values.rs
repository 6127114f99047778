//! Columns of accumulator state: as vectors while they are worked on, as bytes in blocks, changelogs and stores.
//!
//! Invariant: an encoded value can be decoded without knowing anything but its [`StateType`]; the encoding is
//! versioned by the block or store that carries it and pinned by golden files.

mod column;
mod row;
#[cfg(test)]
mod tests;

use crate::state::chunked::Chunked;
pub use column::Column;
pub use row::{VERSION, decode_row, encode_row};

/// The type of one state column of an accumulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StateType {
    I64,
    /// Sums of integers and decimals: 128 bits, so that only the result can fail to fit.
    I128,
    F64,
    /// Text and bytes of MIN and MAX.
    Bytes,
}

/// Text and bytes of MIN and MAX.
pub type Texts = Chunked<Option<Box<[u8]>>>;

/// Values of one state column; every one may be NULL ("nothing seen yet").
#[derive(Debug, Clone, PartialEq)]
pub enum StateColumn {
    I64(Column<i64>),
    I128(Column<i128>),
    F64(Column<f64>),
    Bytes(Texts),
}

/// Runs `$body` with what a column holds.
macro_rules! each {
    ($column:expr, |$values:ident| $body:expr) => {
        match $column {
            StateColumn::I64($values) => $body,
            StateColumn::I128($values) => $body,
            StateColumn::F64($values) => $body,
            StateColumn::Bytes($values) => $body,
        }
    };
}

impl StateColumn {
    pub fn new(state_type: StateType) -> Self {
        match state_type {
            StateType::I64 => StateColumn::I64(Column::new()),
            StateType::I128 => StateColumn::I128(Column::new()),
            StateType::F64 => StateColumn::F64(Column::new()),
            StateType::Bytes => StateColumn::Bytes(Texts::new()),
        }
    }

    pub fn state_type(&self) -> StateType {
        match self {
            StateColumn::I64(_) => StateType::I64,
            StateColumn::I128(_) => StateType::I128,
            StateColumn::F64(_) => StateType::F64,
            StateColumn::Bytes(_) => StateType::Bytes,
        }
    }

    pub fn len(&self) -> usize {
        each!(self, |v| v.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn push_null(&mut self) {
        each!(self, |v| v.push(None))
    }

    /// Keeps the first `len` values.
    pub fn truncate(&mut self, len: usize) {
        each!(self, |v| v.truncate(len))
    }

    /// Cuts, or fills up with NULLs.
    pub fn resize_null(&mut self, len: usize) {
        match self {
            StateColumn::I64(v) => v.resize_null(len),
            StateColumn::I128(v) => v.resize_null(len),
            StateColumn::F64(v) => v.resize_null(len),
            StateColumn::Bytes(v) => v.resize(len, None),
        }
    }

    /// Drops the values; memory that these did not need is given back.
    pub fn clear(&mut self) {
        each!(self, |v| v.clear())
    }

    pub fn swap(&mut self, a: usize, b: usize) {
        each!(self, |v| v.swap(a, b))
    }

    /// Memory held, in bytes, without the texts that it points to.
    pub fn bytes(&self) -> usize {
        each!(self, |v| v.bytes())
    }
}

/// Byte strings one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ByteColumn {
    pub data: Vec<u8>,
    /// End of each string in `data`.
    pub ends: Vec<u32>,
}

impl ByteColumn {
    /// For `strings` strings of together `bytes` bytes.
    pub fn with_capacity(strings: usize, bytes: usize) -> Self {
        ByteColumn {
            data: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(strings),
        }
    }

    pub fn len(&self) -> usize {
        self.ends.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
        self.ends.push(self.data.len() as u32);
    }

    pub fn get(&self, i: usize) -> &[u8] {
        &self.data[self.start(i)..self.ends[i] as usize]
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|i| self.get(i))
    }

    /// Drops the strings and keeps the memory.
    pub fn clear(&mut self) {
        self.data.clear();
        self.ends.clear();
    }

    /// Where string `i` begins in `data` (`i` may be the length).
    pub(super) fn start(&self, i: usize) -> usize {
        if i == 0 { 0 } else { self.ends[i - 1] as usize }
    }
}
