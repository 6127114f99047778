//! Event time of rows, and the window that a time falls into.
//!
//! Invariant: times are floored to milliseconds, also before 1970; what does not fit 64 bits is no time at all.

use crate::batch::Batch;
use crate::operator::rows;
use crate::plan::graph::Window;
use arrow_array::cast::AsArray;
use arrow_array::types::{
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow_array::{Array, ArrayRef, TimestampMillisecondArray};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;

/// The times of a column of timestamps, in ms.
pub(super) struct Times {
    values: ScalarBuffer<i64>,
    nulls: Option<NullBuffer>,
    unit: TimeUnit,
}

impl Times {
    /// # Panics
    /// If the column is no timestamp: the planner takes no other time attribute.
    pub fn of(column: &ArrayRef) -> Self {
        let DataType::Timestamp(unit, _) = column.data_type() else {
            panic!("the time attribute has type {}", column.data_type());
        };
        let values = match unit {
            TimeUnit::Second => column.as_primitive::<TimestampSecondType>().values(),
            TimeUnit::Millisecond => column.as_primitive::<TimestampMillisecondType>().values(),
            TimeUnit::Microsecond => column.as_primitive::<TimestampMicrosecondType>().values(),
            TimeUnit::Nanosecond => column.as_primitive::<TimestampNanosecondType>().values(),
        };
        let nulls = column.nulls().filter(|n| n.null_count() > 0).cloned();
        Times {
            values: values.clone(),
            nulls,
            unit: *unit,
        }
    }

    /// `None` for NULL.
    #[inline]
    pub fn get(&self, row: usize) -> Option<i64> {
        if self.nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            return None;
        }
        let value = self.values[row];
        match self.unit {
            TimeUnit::Millisecond => Some(value),
            TimeUnit::Second => value.checked_mul(1000),
            TimeUnit::Microsecond => Some(value.div_euclid(1000)),
            TimeUnit::Nanosecond => Some(value.div_euclid(1_000_000)),
        }
    }
}

pub(in crate::operator) fn size(window: Window) -> i64 {
    let Window::Tumbling { size_ms, .. } = window;
    size_ms
}

/// End of the window that contains `time`; `None` where it does not fit.
pub(super) fn window_end(window: Window, time: i64) -> Option<i64> {
    let Window::Tumbling { size_ms, offset_ms } = window;
    let shifted = time.checked_sub(offset_ms)?;
    let start = shifted
        .checked_sub(shifted.rem_euclid(size_ms))?
        .checked_add(offset_ms)?;
    start.checked_add(size_ms)
}

/// The input's columns with the window's own behind them.
pub(super) fn extended(input: &SchemaRef) -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    let own = ["window_start", "window_end", "window_time"]
        .map(|name| Field::new(name, time.clone(), true));
    let fields = input.fields().iter().map(|f| f.as_ref().clone()).chain(own);
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Appends the window's columns to the batch; they are NULL for a row without a window.
pub(super) fn extend(batch: &Batch, schema: &SchemaRef, time: usize, window: Window) -> Batch {
    let times = Times::of(batch.columns.column(time));
    let ends: Vec<Option<i64>> = (0..batch.len())
        .map(|row| times.get(row).and_then(|time| window_end(window, time)))
        .collect();
    let column = |minus: i64| -> ArrayRef {
        Arc::new(TimestampMillisecondArray::from_iter(
            ends.iter().map(|end| Some((*end)? - minus)),
        ))
    };
    let mut columns = batch.columns.columns().to_vec();
    columns.extend([column(size(window)), column(0), column(1)]);
    Batch {
        columns: rows::record_batch(schema, columns, batch.len()),
        origin: batch.origin.clone(),
    }
}
