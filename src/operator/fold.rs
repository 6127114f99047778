//! The sending half of a windowed aggregation: folds rows into one partial per key and window, until the next commit.

use super::{NodeCounts, Reject};
use crate::batch::Batch;
use crate::plan::graph::WindowPlan;
use crate::state::block::Partials;

/// Holds nothing durable: it is drained at every commit and discarded at every abort.
pub struct Fold {}

impl Fold {
    /// `shards` = partitions of the repartition topic.
    pub fn new(_plan: &WindowPlan, _shards: i32) -> Self {
        unimplemented!()
    }

    /// Counts: filtered, rejected (a failed expression), used (folded or carried).
    pub fn process(&mut self, _batch: &Batch, _counts: &mut NodeCounts, _rejects: &mut Vec<Reject>) {
        unimplemented!()
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        unimplemented!()
    }

    /// Hands out everything and starts empty; only shards that got rows are named, in ascending order.
    pub fn drain(&mut self) -> Vec<(i32, Partials)> {
        unimplemented!()
    }

    pub fn discard(&mut self) {
        unimplemented!()
    }
}
