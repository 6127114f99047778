//! `SELECT … WHERE …`: a filter and a projection over each batch, without state.
//!
//! Invariant: every row received is filtered, used or rejected, exactly once; a row that fails leaves its neighbours
//! alone. The projection never sees a row that the filter dropped. This operator keeps nothing between batches.

use super::rows::{self, Failed};
use super::{NodeCounts, Reject};
use crate::batch::Batch;
use crate::expr::Expr;
use crate::plan::graph::MapPlan;
use arrow_array::{Array, ArrayRef, BooleanArray, UInt32Array, cast::AsArray};
use arrow_schema::{DataType, SchemaRef};

/// A planned filter and projection.
pub struct MapOperator {
    filter: Option<Expr>,
    projection: Vec<Expr>,
    schema: SchemaRef,
}

impl MapOperator {
    pub fn new(plan: &MapPlan) -> Self {
        MapOperator {
            filter: plan.filter.clone(),
            projection: plan.projection.clone(),
            schema: plan.schema.clone(),
        }
    }

    /// The rows that pass, projected, with their origin; `None` where no row is left. A batch that is kept as it
    /// is, and columns that are only passed on, are not copied.
    pub fn process(
        &self,
        batch: &Batch,
        counts: &mut NodeCounts,
        rejects: &mut Vec<Reject>,
    ) -> Option<Batch> {
        counts.received += batch.len() as u64;
        let batch = &filter(self.filter.as_ref(), batch, counts, rejects)?;
        let mut failed = Failed::default();
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.projection.len());
        for expression in &self.projection {
            let evaluated = expression.evaluate(&batch.columns);
            failed.add(evaluated.errors);
            columns.push(evaluated.values);
        }
        let mut origin = batch.origin.clone();
        let mut len = batch.len();
        if !failed.is_empty() {
            let dropped = failed.reject(batch, rejects);
            counts.rejected += dropped.len() as u64;
            let kept = rows::others(len, &dropped);
            let indices = UInt32Array::from(kept.clone());
            columns = columns
                .iter()
                .map(|column| rows::take(column, &indices))
                .collect();
            origin = origin.select(&kept);
            len = kept.len();
        }
        counts.used += len as u64;
        if len == 0 {
            return None;
        }
        Some(Batch {
            columns: rows::record_batch(&self.schema, columns, len),
            origin,
        })
    }
}

/// The rows for which the condition is TRUE; `None` where there are none. Rows for which it is FALSE or NULL count
/// as filtered, rows for which it fails are rejected.
pub(super) fn filter(
    condition: Option<&Expr>,
    batch: &Batch,
    counts: &mut NodeCounts,
    rejects: &mut Vec<Reject>,
) -> Option<Batch> {
    let Some(condition) = condition else {
        return (!batch.is_empty()).then(|| batch.clone());
    };
    let evaluated = condition.evaluate(&batch.columns);
    let kept = match truth(&evaluated.values) {
        Some(flags) if evaluated.errors.is_empty() && flags.true_count() == flags.len() => {
            return (!batch.is_empty()).then(|| batch.clone());
        }
        Some(flags) => rows::true_rows(flags),
        None => Vec::new(),
    };
    let mut failed = Failed::default();
    failed.add(evaluated.errors);
    // A failed row holds NULL, so it is not among the kept ones.
    let dropped = failed.reject(batch, rejects).len();
    counts.rejected += dropped as u64;
    counts.filtered += (batch.len() - kept.len() - dropped) as u64;
    (!kept.is_empty()).then(|| rows::select(batch, &kept))
}

/// The values as booleans; `None` for a condition that is the untyped NULL.
pub(super) fn truth(values: &ArrayRef) -> Option<&BooleanArray> {
    match values.data_type() {
        DataType::Boolean => Some(values.as_boolean()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
