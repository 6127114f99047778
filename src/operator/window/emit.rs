//! From the state of groups to output rows: results, HAVING, projection.
//!
//! Invariant: every group given is counted as filtered, used or rejected. Holds plans only.

use super::super::accumulator::Accumulators;
use super::super::map::MapOperator;
use super::super::rows::{self, Failed};
use super::super::{NodeCounts, Reject};
use crate::batch::{Batch, Cause, Origin};
use crate::plan::graph::{MapPlan, Window, WindowPlan};
use crate::state::keys::KeyEncoder;
use crate::state::{Error, Result};
use arrow_array::{ArrayRef, RecordBatch, TimestampMillisecondArray};
use arrow_schema::{DataType, SchemaRef};
use std::sync::Arc;

pub(super) struct Emitter {
    encoder: KeyEncoder,
    window: Window,
    grouped: SchemaRef,
    output: SchemaRef,
    select: MapOperator,
}

impl Emitter {
    pub fn new(plan: &WindowPlan, encoder: KeyEncoder) -> Self {
        let select = MapPlan {
            filter: plan.having.clone(),
            projection: plan.projection.clone(),
            schema: plan.output.clone(),
        };
        Emitter {
            encoder,
            window: plan.window,
            grouped: plan.grouped.clone(),
            output: plan.output.clone(),
            select: MapOperator::new(&select),
        }
    }

    /// Start of the window that ends at `end`.
    pub fn start(&self, end: i64) -> i64 {
        let Window::Tumbling { size_ms, .. } = self.window;
        end.saturating_sub(size_ms)
    }

    /// Output rows of the groups `groups` of one window; `keys` are theirs, in the same order. May be empty.
    ///
    /// # Errors
    /// Damaged, if a key cannot be decoded.
    pub fn rows<'k>(
        &self,
        end: i64,
        state: &Accumulators,
        groups: &[u32],
        keys: impl Iterator<Item = &'k [u8]>,
        counts: &mut NodeCounts,
        rejects: &mut Vec<Reject>,
    ) -> Result<Batch> {
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.grouped.fields().len());
        for time in [self.start(end), end, end.saturating_sub(1)] {
            columns.push(Arc::new(TimestampMillisecondArray::from_value(
                time,
                groups.len(),
            )));
        }
        columns.extend(self.encoder.decode(keys, groups.len())?);
        let mut failed = Failed::default();
        for call in 0..state.calls() {
            let (results, errors) = state.finish(call, groups);
            for (row, message) in errors {
                failed.push(row, Cause::Expression, message);
            }
            columns.push(results);
        }
        let columns = columns.into_iter().zip(self.grouped.fields());
        let columns = columns.map(|(column, field)| typed(column, field.data_type()));
        let columns =
            rows::record_batch(&self.grouped, columns.collect::<Result<_>>()?, groups.len());
        let mut batch = Batch {
            columns,
            origin: Origin::Derived,
        };
        if !failed.is_empty() {
            let dropped = failed.reject(&batch, rejects);
            counts.received += dropped.len() as u64;
            counts.rejected += dropped.len() as u64;
            batch = rows::select(&batch, &rows::others(groups.len(), &dropped));
        }
        let empty = || Batch {
            columns: RecordBatch::new_empty(self.output.clone()),
            origin: Origin::Derived,
        };
        Ok(self
            .select
            .process(&batch, counts, rejects)
            .unwrap_or_else(empty))
    }
}

/// The column in the type that the plan has for it: a time zone, or another layout of text.
fn typed(column: ArrayRef, wanted: &DataType) -> Result<ArrayRef> {
    if column.data_type() == wanted {
        return Ok(column);
    }
    let damaged = |e: arrow_schema::ArrowError| Error::Damaged {
        what: "row of a window",
        message: e.to_string(),
    };
    arrow_cast::cast(&column, wanted).map_err(damaged)
}
