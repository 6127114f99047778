//! Plans and batches for the tests of operators.
//!
//! Invariant: rows are `(ts, page, n)`; the plan counts them, sums `n` and takes the least page, per page and window
//! of 10 ms. Tests only.

use crate::batch::{Batch, Origin, SourceRows};
use crate::expr::Expr;
use crate::fetch::{Fetch, TopicPartition};
use crate::plan::graph::{AggregateCall, AggregateFunction, Window, WindowPlan};
use crate::spec::LatePolicy;
use arrow_array::{Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use std::sync::Arc;

pub const TS: usize = 0;
pub const PAGE: usize = 1;
pub const N: usize = 2;

/// A row: event time, page, n.
pub type Row<'a> = (Option<i64>, Option<&'a str>, Option<i64>);

fn time() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, None)
}

pub fn schema(fields: &[(&str, DataType)]) -> SchemaRef {
    Arc::new(Schema::new(
        fields
            .iter()
            .map(|(name, t)| Field::new(*name, t.clone(), true))
            .collect::<Vec<_>>(),
    ))
}

pub fn input() -> SchemaRef {
    schema(&[
        ("ts", time()),
        ("page", DataType::Utf8),
        ("n", DataType::Int64),
    ])
}

pub fn call(
    function: AggregateFunction,
    argument: Option<(usize, DataType)>,
    output: DataType,
) -> AggregateCall {
    AggregateCall {
        function,
        argument: argument
            .as_ref()
            .map(|(index, _)| Expr::column(*index, "argument")),
        argument_type: argument.map(|(_, t)| t),
        filter: None,
        output_type: output,
    }
}

pub fn window_plan() -> WindowPlan {
    let grouped = [
        ("window_start", time()),
        ("window_end", time()),
        ("window_time", time()),
        ("page", DataType::Utf8),
        ("count", DataType::Int64),
        ("sum", DataType::Int64),
        ("least", DataType::Utf8),
    ];
    WindowPlan {
        node: "counts".to_owned(),
        input: input(),
        reads_window: false,
        filter: None,
        time: TS,
        window: Window::Tumbling {
            size_ms: 10,
            offset_ms: 0,
        },
        keys: vec![Expr::column(PAGE, "page")],
        key_types: vec![DataType::Utf8],
        aggregates: vec![
            call(AggregateFunction::Count, None, DataType::Int64),
            call(
                AggregateFunction::Sum,
                Some((N, DataType::Int64)),
                DataType::Int64,
            ),
            call(
                AggregateFunction::Min,
                Some((PAGE, DataType::Utf8)),
                DataType::Utf8,
            ),
        ],
        grouped: schema(&grouped),
        having: None,
        projection: (0..grouped.len())
            .map(|i| Expr::column(i, grouped[i].0))
            .collect(),
        output: schema(&grouped),
        late: LatePolicy::Reject,
    }
}

fn columns(rows: &[Row<'_>]) -> RecordBatch {
    let columns: Vec<arrow_array::ArrayRef> = vec![
        Arc::new(TimestampMillisecondArray::from_iter(
            rows.iter().map(|r| r.0),
        )),
        Arc::new(StringArray::from_iter(rows.iter().map(|r| r.1))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.2))),
    ];
    RecordBatch::try_new(input(), columns).unwrap()
}

/// Rows of a fetch whose offsets begin at `offset`; key `k` and value `v<offset>`.
pub fn batch(offset: i64, rows: &[Row<'_>]) -> Batch {
    batch_with(offset, rows, &[])
}

/// As [`batch`]; `behind` numbers the rows that came behind their partition's watermark.
pub fn batch_with(offset: i64, rows: &[Row<'_>], behind: &[usize]) -> Batch {
    let mut fetch = Fetch::new(TopicPartition::new("input", 3));
    for i in 0..rows.len() as i64 {
        fetch.push(
            offset + i,
            1000 + i,
            Some(b"k"),
            Some(format!("v{}", offset + i).as_bytes()),
        );
    }
    let flags = if behind.is_empty() {
        vec![]
    } else {
        (0..rows.len()).map(|i| behind.contains(&i)).collect()
    };
    let origin = Origin::Source {
        rows: Arc::new(SourceRows {
            fetch,
            behind: flags,
        }),
        records: (0..rows.len() as u32).collect(),
    };
    Batch {
        columns: columns(rows),
        origin,
    }
}

pub fn derived(rows: &[Row<'_>]) -> Batch {
    Batch {
        columns: columns(rows),
        origin: Origin::Derived,
    }
}
