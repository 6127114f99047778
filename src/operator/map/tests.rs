//! Behaviour of filters and projections, row by row.

use super::MapOperator;
use crate::batch::{Batch, Cause, Origin};
use crate::expr::Expr;
use crate::expr::fixtures::{greater, hundred_over};
use crate::operator::fixtures::{N, PAGE, Row, batch, derived, schema};
use crate::operator::{NodeCounts, Reject, RejectOrigin};
use crate::plan::graph::MapPlan;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_schema::DataType;

const ROWS: [Row<'static>; 5] = [
    (Some(1), Some("a"), Some(10)),
    (Some(2), Some("b"), Some(0)),
    (Some(3), Some("c"), None),
    (Some(4), Some("d"), Some(-1)),
    (Some(5), Some("e"), Some(20)),
];

fn run(
    filter: Option<Expr>,
    projection: Vec<Expr>,
    batch: &Batch,
) -> (Option<Batch>, NodeCounts, Vec<Reject>) {
    let types = projection.iter().enumerate().map(|(i, e)| {
        (
            ["x", "y"][i],
            if e.as_column() == Some(PAGE) {
                DataType::Utf8
            } else {
                DataType::Int64
            },
        )
    });
    let plan = MapPlan {
        filter,
        schema: schema(&types.collect::<Vec<_>>()),
        projection,
    };
    let (mut counts, mut rejects) = (NodeCounts::default(), Vec::new());
    let out = MapOperator::new(&plan).process(batch, &mut counts, &mut rejects);
    assert_eq!(
        counts.received,
        counts.filtered + counts.used + counts.rejected
    );
    (out, counts, rejects)
}

fn pages(batch: &Batch) -> Vec<&str> {
    batch
        .columns
        .column(0)
        .as_string::<i32>()
        .iter()
        .flatten()
        .collect()
}

fn records(batch: &Batch) -> Vec<u32> {
    match &batch.origin {
        Origin::Source { records, .. } => records.to_vec(),
        Origin::Derived => vec![],
    }
}

#[test]
fn false_and_null_are_filtered_and_the_origin_follows_the_rows() {
    let (out, counts, rejects) = run(
        Some(greater(N, 5)),
        vec![Expr::column(PAGE, "page")],
        &batch(40, &ROWS),
    );
    let out = out.unwrap();
    assert_eq!((pages(&out), records(&out)), (vec!["a", "e"], vec![0, 4]));
    assert_eq!((counts.filtered, counts.used, rejects.len()), (3, 2, 0));
}

#[test]
fn a_row_whose_filter_fails_is_rejected_and_not_filtered() {
    let condition = crate::expr::fixtures::hundred_over_is_greater(N, 3);
    let (out, counts, rejects) = run(
        Some(condition),
        vec![Expr::column(PAGE, "page")],
        &batch(40, &ROWS),
    );
    assert_eq!(records(&out.unwrap()), [0, 4]);
    assert_eq!((counts.filtered, counts.rejected, counts.used), (2, 1, 2));
    assert!(matches!(
        &rejects[0].origin,
        RejectOrigin::Record { record: 1, .. }
    ));
}

#[test]
fn a_row_that_fails_in_two_columns_is_one_reject_and_leaves_its_neighbours_alone() {
    let (out, counts, rejects) = run(
        None,
        vec![hundred_over(N), hundred_over(N)],
        &batch(40, &ROWS),
    );
    let out = out.unwrap();
    let values: Vec<_> = out
        .columns
        .column(1)
        .as_primitive::<Int64Type>()
        .iter()
        .collect();
    assert_eq!(values, [Some(10), None, Some(-100), Some(5)]);
    assert_eq!(records(&out), [0, 2, 3, 4]);
    assert_eq!(
        (counts.rejected, rejects.len(), rejects[0].cause),
        (1, 1, Cause::Expression)
    );
    assert!(
        rejects[0].message.contains("division by zero"),
        "{}",
        rejects[0].message
    );
}

#[test]
fn what_the_filter_drops_is_not_projected() {
    let (_, counts, rejects) = run(
        Some(greater(N, 0)),
        vec![hundred_over(N)],
        &batch(40, &ROWS),
    );
    assert_eq!((counts.filtered, counts.used, rejects.len()), (3, 2, 0));
}

#[test]
fn a_batch_that_is_kept_is_not_copied() {
    let input = batch(40, &ROWS);
    let (out, _, _) = run(
        Some(greater(N, -5)),
        vec![Expr::column(PAGE, "page")],
        &batch(40, &[ROWS[0]]),
    );
    assert_eq!(out.unwrap().len(), 1);
    let (out, _, _) = run(None, vec![Expr::column(PAGE, "page")], &input);
    let (before, after) = (
        input.columns.column(PAGE).to_data(),
        out.unwrap().columns.column(0).to_data(),
    );
    assert!(before.buffers()[1].ptr_eq(&after.buffers()[1]));
}

#[test]
fn nothing_left_is_none_and_a_derived_row_is_described() {
    let (out, _, rejects) = run(
        Some(greater(N, 100)),
        vec![Expr::column(PAGE, "page")],
        &batch(40, &ROWS),
    );
    assert!(out.is_none() && rejects.is_empty());
    let (_, _, rejects) = run(None, vec![hundred_over(N)], &derived(&ROWS[..2]));
    let RejectOrigin::Derived(text) = &rejects[0].origin else {
        panic!("not derived")
    };
    assert_eq!(text, "ts=1970-01-01T00:00:00.002, page=b, n=0");
}
