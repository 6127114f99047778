//! Columns of accumulator state: as vectors while they are worked on, as bytes in blocks, changelogs and stores.
//!
//! Invariant: an encoded value can be decoded without knowing anything but its [`StateType`]; the encoding is
//! versioned by the block or store that carries it and pinned by golden files.

mod row;
#[cfg(test)]
mod tests;

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

/// Values of one state column; every one may be NULL ("nothing seen yet").
#[derive(Debug, Clone, PartialEq)]
pub enum StateColumn {
    I64(Vec<Option<i64>>),
    I128(Vec<Option<i128>>),
    F64(Vec<Option<f64>>),
    Bytes(Vec<Option<Box<[u8]>>>),
}

impl StateColumn {
    pub fn new(state_type: StateType) -> Self {
        Self::with_capacity(state_type, 0)
    }

    pub fn with_capacity(state_type: StateType, capacity: usize) -> Self {
        match state_type {
            StateType::I64 => StateColumn::I64(Vec::with_capacity(capacity)),
            StateType::I128 => StateColumn::I128(Vec::with_capacity(capacity)),
            StateType::F64 => StateColumn::F64(Vec::with_capacity(capacity)),
            StateType::Bytes => StateColumn::Bytes(Vec::with_capacity(capacity)),
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
        match self {
            StateColumn::I64(v) => v.len(),
            StateColumn::I128(v) => v.len(),
            StateColumn::F64(v) => v.len(),
            StateColumn::Bytes(v) => v.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn push_null(&mut self) {
        match self {
            StateColumn::I64(v) => v.push(None),
            StateColumn::I128(v) => v.push(None),
            StateColumn::F64(v) => v.push(None),
            StateColumn::Bytes(v) => v.push(None),
        }
    }

    /// Keeps the first `len` values.
    pub fn truncate(&mut self, len: usize) {
        match self {
            StateColumn::I64(v) => v.truncate(len),
            StateColumn::I128(v) => v.truncate(len),
            StateColumn::F64(v) => v.truncate(len),
            StateColumn::Bytes(v) => v.truncate(len),
        }
    }

    /// Drops the values and keeps the memory.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Memory held, in bytes. Walks over texts.
    pub fn bytes(&self) -> usize {
        match self {
            StateColumn::I64(v) => v.capacity() * size_of::<Option<i64>>(),
            StateColumn::I128(v) => v.capacity() * size_of::<Option<i128>>(),
            StateColumn::F64(v) => v.capacity() * size_of::<Option<f64>>(),
            StateColumn::Bytes(v) => {
                let texts: usize = v.iter().flatten().map(|b| b.len()).sum();
                v.capacity() * size_of::<Option<Box<[u8]>>>() + texts
            }
        }
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
