//! Columns of accumulator state: as vectors while they are worked on, as bytes in blocks, changelogs and stores.
//!
//! Invariant: an encoded value can be decoded without knowing anything but its [`StateType`]; the encoding is
//! versioned by the block or store that carries it and pinned by golden files.

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

/// Byte strings one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ByteColumn {
    pub data: Vec<u8>,
    /// End of each string in `data`.
    pub ends: Vec<u32>,
}

impl ByteColumn {
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
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        &self.data[start..self.ends[i] as usize]
    }
}
