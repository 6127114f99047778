//! Small steps on batches that several operators take: keep some rows, name the origin of a rejected one.
//!
//! Invariant: a row that leaves a batch is counted by the caller exactly once. Nothing here evaluates SQL.

use super::{Reject, RejectOrigin};
use crate::batch::{Batch, Cause, Origin};
use crate::expr::RowError;
use arrow_array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::SchemaRef;

/// Characters of a derived row that a reject shows.
const SHOWN: usize = 512;

/// Columns of the same length as rows of the schema that the planner made for them.
///
/// # Panics
/// If the columns have other types than the schema: the planner typed both.
pub(super) fn record_batch(schema: &SchemaRef, columns: Vec<ArrayRef>, rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    match RecordBatch::try_new_with_options(schema.clone(), columns, &options) {
        Ok(batch) => batch,
        Err(error) => panic!("columns do not fit the planned schema: {error}"),
    }
}

/// Numbers of the rows for which `flags` is TRUE.
pub(super) fn true_rows(flags: &BooleanArray) -> Vec<u32> {
    let truth = match flags.nulls() {
        Some(nulls) => flags.values() & nulls.inner(),
        None => flags.values().clone(),
    };
    truth.set_indices().map(|i| i as u32).collect()
}

/// The batch with only the rows in `kept`, which are in ascending order.
pub(super) fn select(batch: &Batch, kept: &[u32]) -> Batch {
    let indices = UInt32Array::from(kept.to_vec());
    let columns = batch
        .columns
        .columns()
        .iter()
        .map(|c| take(c, &indices))
        .collect();
    let columns = record_batch(&batch.columns.schema(), columns, kept.len());
    Batch {
        columns,
        origin: batch.origin.select(kept),
    }
}

/// Values of the rows in `indices`.
pub(super) fn take(column: &ArrayRef, indices: &UInt32Array) -> ArrayRef {
    match arrow_select::take::take(column, indices, None) {
        Ok(taken) => taken,
        Err(error) => panic!("rows of the batch itself can be taken: {error}"),
    }
}

/// Failed rows of several evaluations over the same batch: each row counts once, with its first message.
#[derive(Default)]
pub(super) struct Failed {
    errors: Vec<(u32, Cause, String)>,
}

impl Failed {
    pub fn add(&mut self, errors: Vec<RowError>) {
        self.errors.extend(
            errors
                .into_iter()
                .map(|e| (e.row, Cause::Expression, e.message)),
        );
    }

    pub fn push(&mut self, row: u32, cause: Cause, message: String) {
        self.errors.push((row, cause, message));
    }

    pub fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.errors.len()
    }

    /// Makes a reject of each failed row of `batch`, and returns their numbers in ascending order.
    pub fn reject(mut self, batch: &Batch, rejects: &mut Vec<Reject>) -> Vec<u32> {
        self.errors.sort_by_key(|(row, _, _)| *row);
        self.errors.dedup_by_key(|(row, _, _)| *row);
        let rows = self.errors.iter().map(|(row, _, _)| *row).collect();
        rejects.extend(self.errors.into_iter().map(|(row, cause, message)| Reject {
            cause,
            message,
            origin: origin_of(batch, row),
        }));
        rows
    }
}

/// The numbers below `rows` that are not in `dropped`, which is in ascending order.
pub(super) fn others(rows: usize, dropped: &[u32]) -> Vec<u32> {
    let mut dropped = dropped.iter().copied().peekable();
    (0..rows as u32)
        .filter(|row| dropped.next_if_eq(row).is_none())
        .collect()
}

/// What is known of where a row came from: its record, or for a derived row its columns (window, key and the rest).
pub fn origin_of(batch: &Batch, row: u32) -> RejectOrigin {
    match &batch.origin {
        Origin::Source { rows, records } => RejectOrigin::Record {
            rows: rows.clone(),
            record: records[row as usize],
        },
        Origin::Derived => RejectOrigin::Derived(describe(&batch.columns, row as usize)),
    }
}

/// A derived row as text: `window_end=…, page=…`, cut to a limit.
fn describe(rows: &RecordBatch, row: usize) -> String {
    let options = FormatOptions::new().with_null("NULL");
    let mut text = String::new();
    for (field, column) in rows.schema().fields().iter().zip(rows.columns()) {
        let Ok(formatter) = ArrayFormatter::try_new(column.as_ref(), &options) else {
            continue;
        };
        let separator = if text.is_empty() { "" } else { ", " };
        text.push_str(&format!(
            "{separator}{}={}",
            field.name(),
            formatter.value(row)
        ));
        if text.len() > SHOWN {
            text.truncate(text.floor_char_boundary(SHOWN));
            text.push('…');
            break;
        }
    }
    text
}
