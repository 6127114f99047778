//! The algorithms: what happens to rows between a task's input and its output.
//!
//! Invariant: operators see rows, watermarks and their own state; no I/O but their store, no clock, no async, no
//! threads. Equal inputs and state give equal outputs. What they change is undone by `aborted` and becomes
//! committed state by `committed`. They know neither Kafka nor tasks.

pub mod accumulator;
#[cfg(test)]
mod fixtures;
pub mod fold;
mod groups;
pub mod map;
mod rows;
pub mod window;

pub use rows::origin_of;

use crate::batch::{Cause, SourceRows};
use crate::state::block::Carried;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A record or row that could not be processed.
pub struct Reject {
    pub cause: Cause,
    pub message: String,
    pub origin: RejectOrigin,
}

/// What is known about where a rejected row came from.
pub enum RejectOrigin {
    /// A record that this task has read.
    Record { rows: Arc<SourceRows>, record: u32 },
    /// A record that another task has read, carried along with its row.
    Carried {
        sub_topology: String,
        partition: i32,
        offset: i64,
        record: Carried,
    },
    /// Rows folded together by another task, which read them from between these offsets.
    Range {
        sub_topology: String,
        partition: i32,
        first: i64,
        last: i64,
        rows: u64,
    },
    /// The result of an aggregate; the text says what is known (window, key).
    Derived(String),
}

/// What became of the rows that a node received; committed with the task's facts.
/// `received = filtered + used + rejected + late`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCounts {
    pub received: u64,
    /// Rows that WHERE or HAVING dropped.
    pub filtered: u64,
    pub used: u64,
    pub rejected: u64,
    pub late: u64,
}

impl NodeCounts {
    pub fn add(&mut self, more: &NodeCounts) {
        self.received += more.received;
        self.filtered += more.filtered;
        self.used += more.used;
        self.rejected += more.rejected;
        self.late += more.late;
    }
}
