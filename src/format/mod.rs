//! Bytes to rows and rows to bytes. One file per format.
//!
//! Invariant: a bad record is reported with its index and cause and never harms its neighbours; what is written
//! can be read back with the same meaning. This layer knows neither Kafka nor SQL.

pub mod json;
pub mod reject;

use crate::batch::Cause;
use arrow_array::RecordBatch;

/// A record that did not become a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// Index of the record in its fetch.
    pub record: u32,
    pub cause: Cause,
    pub message: String,
}

/// The rows of a fetch.
pub struct Decoded {
    pub columns: RecordBatch,
    /// Row `i` came from record `records[i]` of the fetch.
    pub records: Vec<u32>,
    pub bad: Vec<Bad>,
}

/// Encoded rows, one after the other in one buffer.
#[derive(Default)]
pub struct Slab {
    pub data: Vec<u8>,
    /// End of each row in `data`.
    pub ends: Vec<usize>,
}

impl Slab {
    pub fn row(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.data[start..self.ends[row]]
    }

    pub fn clear(&mut self) {
        self.data.clear();
        self.ends.clear();
    }
}
