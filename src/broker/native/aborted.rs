//! Which transactional batches of a fetch response were aborted.
//!
//! Invariant: batches are shown in offset order, each once its predecessors were; then a batch counts as aborted exactly from a
//! transaction's first offset to its abort marker. The list holds for one response: the broker sends a new one with each.

use std::collections::BTreeSet;

/// The aborted transactions of one partition in one response.
#[derive(Default)]
pub(super) struct Aborted {
    /// First offset and producer id, the lowest offset last.
    ahead: Vec<(i64, i64)>,
    /// Producers whose aborted transaction is open where the reader stands.
    open: BTreeSet<i64>,
}

impl Aborted {
    /// `transactions`: producer id and first offset, in any order.
    pub fn new(transactions: Vec<(i64, i64)>) -> Self {
        let mut ahead: Vec<_> = transactions.into_iter().map(|(id, at)| (at, id)).collect();
        ahead.sort_unstable_by(|a, b| b.cmp(a));
        Aborted {
            ahead,
            open: BTreeSet::new(),
        }
    }

    /// The reader stands at a batch that ends with `last_offset`. A second call for the same batch changes nothing.
    pub fn reach(&mut self, last_offset: i64) {
        while let Some((_, producer)) = self.ahead.pop_if(|(first, _)| *first <= last_offset) {
            self.open.insert(producer);
        }
    }

    /// Whether a transactional batch of this producer, where the reader stands, was aborted.
    pub fn contains(&self, producer: i64) -> bool {
        self.open.contains(&producer)
    }

    /// The reader has passed an abort marker.
    pub fn end(&mut self, producer: i64) {
        self.open.remove(&producer);
    }
}
