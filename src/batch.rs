//! Decoded rows: Arrow columns together with where each row came from.
//!
//! Invariant: `origin` names exactly one record per row, or says that the rows are derived. Operators pass it on
//! through filters, so that a reject at any node can still show the original record. This file holds no state.

use crate::fetch::Fetch;
use arrow_array::RecordBatch;
use std::sync::Arc;

/// The records of one fetch with the facts that the source added to each.
pub struct SourceRows {
    pub fetch: Fetch,
    /// Per record of the fetch: its row came behind the partition's own watermark. Empty where none did.
    pub behind: Vec<bool>,
}

/// Where the rows of a batch came from.
#[derive(Clone)]
pub enum Origin {
    /// Row `i` was decoded from record `records[i]` of the fetch.
    Source {
        rows: Arc<SourceRows>,
        records: Arc<[u32]>,
    },
    /// The rows were made by a window or another operator with state.
    Derived,
}

impl Origin {
    /// The origin after keeping only the rows in `kept`.
    pub fn select(&self, kept: &[u32]) -> Origin {
        match self {
            Origin::Source { rows, records } => Origin::Source {
                rows: rows.clone(),
                records: kept.iter().map(|row| records[*row as usize]).collect(),
            },
            Origin::Derived => Origin::Derived,
        }
    }
}

/// Rows on their way through the operators of one task.
#[derive(Clone)]
pub struct Batch {
    pub columns: RecordBatch,
    pub origin: Origin,
}

impl Batch {
    pub fn len(&self) -> usize {
        self.columns.num_rows()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Why a record or row could not be processed; the word that stands in the reject record and in the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// The record's value is null (a tombstone) on a source of appended rows.
    NullValue,
    /// Not one well-formed document.
    Malformed,
    /// A column's value has another type, or does not fit it.
    WrongType,
    /// A required column is missing or null.
    MissingColumn,
    /// The event time is unset, negative or outside `event_time.valid`.
    BadTimestamp,
    /// An expression failed for the row.
    Expression,
    /// The row's window was closed.
    Late,
    /// The output row is larger than the broker would accept, or carries a time that it would refuse.
    Unwritable,
}

impl Cause {
    pub const ALL: [Cause; 8] = [
        Cause::NullValue,
        Cause::Malformed,
        Cause::WrongType,
        Cause::MissingColumn,
        Cause::BadTimestamp,
        Cause::Expression,
        Cause::Late,
        Cause::Unwritable,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Cause::NullValue => "null_value",
            Cause::Malformed => "malformed",
            Cause::WrongType => "wrong_type",
            Cause::MissingColumn => "missing_column",
            Cause::BadTimestamp => "bad_timestamp",
            Cause::Expression => "expression",
            Cause::Late => "late",
            Cause::Unwritable => "unwritable",
        }
    }
}
