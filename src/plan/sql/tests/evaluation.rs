//! Values of expressions over rows; failures stay with their rows.

use crate::expr::Expr;
use crate::plan::fixtures::{render, topology};
use crate::plan::graph::{NodeKind, Plan};
use crate::plan::plan;
use arrow_array::*;
use arrow_cast::display::array_value_to_string;
use arrow_schema::SchemaRef;
use expect_test::expect;
use std::sync::Arc;

/// The one map node's expressions and its input.
fn planned(select: &str) -> (Vec<Expr>, Option<Expr>, SchemaRef) {
    let spec = topology("app")
        .with_clicks()
        .with_node("n", &format!("SELECT {select} FROM clicks"));
    let plan: Plan = plan(&spec).unwrap_or_else(|found| panic!("{select}: {}", render(&found)));
    let sub = &plan.sub_topologies[0];
    let crate::plan::graph::Input::Source(source) = &sub.input else {
        panic!("no source")
    };
    let NodeKind::Map(map) = &sub.nodes[0].kind else {
        panic!("no map")
    };
    (
        map.projection.clone(),
        map.filter.clone(),
        source.schema.clone(),
    )
}

/// Five rows: ordinary, extremes, zeros, special doubles, NULLs.
fn rows(schema: &SchemaRef) -> RecordBatch {
    let columns: Vec<ArrayRef> = vec![
        Arc::new(TimestampMillisecondArray::from(vec![
            Some(1_500),
            Some(-1),
            Some(0),
            Some(86_400_000),
            None,
        ])),
        Arc::new(StringArray::from(vec![
            Some("12"),
            Some("héllo"),
            Some(""),
            Some("2024-02-30"),
            None,
        ])),
        Arc::new(Int64Array::from(vec![
            Some(7),
            Some(i64::MAX),
            Some(0),
            Some(i64::MIN),
            None,
        ])),
        Arc::new(Int64Array::from(vec![
            Some(2),
            Some(1),
            Some(0),
            Some(-1),
            None,
        ])),
        Arc::new(Int32Array::from(vec![
            Some(3),
            Some(i32::MAX),
            Some(0),
            Some(i32::MIN),
            None,
        ])),
        Arc::new(Float64Array::from(vec![
            Some(1.5),
            Some(-0.0),
            Some(f64::NAN),
            Some(1e300),
            None,
        ])),
        Arc::new(Float64Array::from(vec![
            Some(1.5),
            Some(0.0),
            Some(-f64::NAN),
            Some(2.0),
            None,
        ])),
        Arc::new(
            Decimal128Array::from(vec![Some(150), Some(-1), Some(0), Some(99), None])
                .with_precision_and_scale(10, 2)
                .unwrap(),
        ),
        Arc::new(BooleanArray::from(vec![
            Some(true),
            Some(false),
            Some(true),
            Some(false),
            None,
        ])),
        Arc::new(Date32Array::from(vec![
            Some(0),
            Some(1),
            Some(2),
            Some(3),
            None,
        ])),
    ];
    RecordBatch::try_new(schema.clone(), columns).unwrap()
}

fn values(expression: &str) -> String {
    let (projection, _, schema) = planned(&format!("{expression} AS v"));
    let evaluated = projection[0].evaluate(&rows(&schema));
    let failed = |row: usize| {
        evaluated
            .errors
            .iter()
            .any(|error| error.row as usize == row)
    };
    let shown: Vec<String> = (0..evaluated.values.len())
        .map(|row| match (failed(row), evaluated.values.is_null(row)) {
            (true, true) => "!".to_string(),
            (true, false) => "failed, but has a value".to_string(),
            (false, true) => "NULL".to_string(),
            (false, false) => array_value_to_string(&evaluated.values, row).unwrap(),
        })
        .collect();
    let first = evaluated
        .errors
        .first()
        .map_or(String::new(), |error| format!("   -- {}", error.message));
    format!(
        "{expression}: {} [{}]{first}\n",
        evaluated.values.data_type(),
        shown.join(", ")
    )
}

#[test]
fn expressions_have_these_values() {
    let found: String = [
        "a + b",
        "a - b",
        "a * b",
        "a / b",
        "a % b",
        "-a",
        "i + i",
        "CAST(a AS INT)",
        "TRY_CAST(a AS INT)",
        "a / a",
        "a * 0",
        "9223372036854775807 + 1",
        "1 / 0",
        "CASE WHEN b = 0 THEN 0 ELSE a / b END",
        "CASE WHEN a > 5 THEN 'big' WHEN a = 0 THEN 'zero' ELSE 'small' END",
        "b <> 0 AND 10 / b > 1",
        "coalesce(a, 42)",
        "nullif(a, 0)",
        "x = y",
        "x < y",
        "x <> y",
        "x IN (0.0, 1.5)",
        "x BETWEEN 0.0 AND 2.0",
        "x * 1e10 / 0.0",
        "amount + amount",
        "amount * 2",
        "amount / 0",
        "upper(page)",
        "page || '!'",
        "character_length(page)",
        "substr(page, 1, 2)",
        "page LIKE '%l%'",
        "CAST(page AS BIGINT)",
        "TRY_CAST(page AS BIGINT)",
        "CAST(page AS DATE)",
        "EXTRACT(YEAR FROM day)",
        "date_trunc('second', timestamp)",
        "timestamp + INTERVAL '1' SECOND",
        "to_timestamp_millis(a)",
        "CAST(x AS INT)",
        "sqrt(x)",
        "abs(a)",
        "concat(page, CAST(a AS VARCHAR))",
        "page IS NULL",
        "NOT flag",
        "day",
        "regexp_replace(page, 'l+', 'L')",
        "split_part(page, '-', 2)",
    ]
    .iter()
    .map(|expression| values(expression))
    .collect();
    expect![[r#"
        a + b: Int64 [9, !, 0, !, NULL]   -- a + b: overflow: 9223372036854775807 + 1
        a - b: Int64 [5, 9223372036854775806, 0, -9223372036854775807, NULL]
        a * b: Int64 [14, 9223372036854775807, 0, !, NULL]   -- a * b: overflow: -9223372036854775808 * -1
        a / b: Int64 [3, 9223372036854775807, !, !, NULL]   -- a / b: division by zero
        a % b: Int64 [1, 0, !, 0, NULL]   -- a % b: division by zero
        -a: Int64 [-7, -9223372036854775807, 0, !, NULL]   -- -a: overflow: 0 - -9223372036854775808
        i + i: Int32 [6, !, 0, !, NULL]   -- i + i: overflow: 2147483647 + 2147483647
        CAST(a AS INT): Int32 [7, !, 0, !, NULL]   -- CAST(a AS Int32): Can't cast value 9223372036854775807 to type Int32
        TRY_CAST(a AS INT): Int32 [7, NULL, 0, NULL, NULL]
        a / a: Int64 [1, 1, !, 1, NULL]   -- a / a: division by zero
        a * 0: Int64 [0, 0, 0, 0, NULL]
        9223372036854775807 + 1: Int64 [!, !, !, !, !]   -- 9223372036854775807 + 1: overflow: 9223372036854775807 + 1
        1 / 0: Int64 [!, !, !, !, !]   -- 1 / 0: division by zero
        CASE WHEN b = 0 THEN 0 ELSE a / b END: Int64 [3, 9223372036854775807, 0, !, NULL]   -- CASE WHEN b = 0 THEN 0 ELSE a / b END: overflow: -9223372036854775808 / -1
        CASE WHEN a > 5 THEN 'big' WHEN a = 0 THEN 'zero' ELSE 'small' END: Utf8 [big, big, zero, small, small]
        b <> 0 AND 10 / b > 1: Boolean [true, true, false, false, NULL]
        coalesce(a, 42): Int64 [7, 9223372036854775807, 0, -9223372036854775808, 42]
        nullif(a, 0): Int64 [7, 9223372036854775807, NULL, -9223372036854775808, NULL]
        x = y: Boolean [true, true, true, false, NULL]
        x < y: Boolean [false, false, false, false, NULL]
        x <> y: Boolean [false, false, false, true, NULL]
        x IN (0.0, 1.5): Boolean [true, true, false, false, NULL]
        x BETWEEN 0.0 AND 2.0: Boolean [true, true, false, false, NULL]
        x * 1e10 / 0.0: Float64 [inf, NaN, NaN, inf, NULL]
        amount + amount: Decimal128(11, 2) [3.00, -0.02, 0.00, 1.98, NULL]
        amount * 2: Decimal128(31, 2) [3.00, -0.02, 0.00, 1.98, NULL]
        amount / 0: Decimal128(14, 6) [!, !, !, !, NULL]   -- amount / 0: division by zero
        upper(page): Utf8 [12, HÉLLO, , 2024-02-30, NULL]
        page || '!': Utf8 [12!, héllo!, !, 2024-02-30!, NULL]
        character_length(page): Int32 [2, 5, 0, 10, NULL]
        substr(page, 1, 2): Utf8 [12, hé, , 20, NULL]
        page LIKE '%l%': Boolean [false, true, false, false, NULL]
        CAST(page AS BIGINT): Int64 [12, !, !, !, NULL]   -- CAST(page AS Int64): Cannot cast string 'héllo' to value of Int64 type
        TRY_CAST(page AS BIGINT): Int64 [12, NULL, NULL, NULL, NULL]
        CAST(page AS DATE): Date32 [!, !, !, !, NULL]   -- CAST(page AS Date32): Cannot cast string '12' to value of Date32 type
        EXTRACT(YEAR FROM day): Int32 [1970, 1970, 1970, 1970, NULL]
        date_trunc('second', timestamp): Timestamp(ms) [1970-01-01T00:00:01, 1969-12-31T23:59:59, 1970-01-01T00:00:00, 1970-01-02T00:00:00, NULL]
        timestamp + INTERVAL '1' SECOND: Timestamp(ms) [1970-01-01T00:00:02.500, 1970-01-01T00:00:00.999, 1970-01-01T00:00:01, 1970-01-02T00:00:01, NULL]
        to_timestamp_millis(a): Timestamp(ms) [1970-01-01T00:00:00.007, ERROR: Cast error: Failed to convert 9223372036854775807 to datetime for Timestamp(ms), 1970-01-01T00:00:00, ERROR: Cast error: Failed to convert -9223372036854775808 to datetime for Timestamp(ms), NULL]
        CAST(x AS INT): Int32 [1, 0, !, !, NULL]   -- CAST(x AS Int32): Can't cast value NaN to type Int32
        sqrt(x): Float64 [1.224744871391589, -0.0, NaN, 1e150, NULL]
        abs(a): Int64 [7, 9223372036854775807, 0, !, NULL]   -- abs(a): Int64Array overflow on abs(-9223372036854775808)
        concat(page, CAST(a AS VARCHAR)): Utf8 [127, héllo9223372036854775807, 0, 2024-02-30-9223372036854775808, ]
        page IS NULL: Boolean [false, false, false, false, true]
        NOT flag: Boolean [false, true, false, true, NULL]
        day: Date32 [1970-01-01, 1970-01-02, 1970-01-03, 1970-01-04, NULL]
        regexp_replace(page, 'l+', 'L'): Utf8 [12, héLo, , 2024-02-30, NULL]
        split_part(page, '-', 2): Utf8 [, , , 02, NULL]
    "#]].assert_eq(&found);
}

#[test]
fn every_bad_row_is_found_whatever_their_number_and_place() {
    let (projection, _, schema) = planned("10 / b AS v");
    for bad in [
        vec![],
        vec![0],
        vec![999],
        vec![3, 4, 500],
        (0..1000).step_by(3).collect::<Vec<usize>>(),
        (0..1000).collect(),
    ] {
        let mut columns = RecordBatch::new_empty(schema.clone()).columns().to_vec();
        for (column, field) in columns.iter_mut().zip(schema.fields()) {
            *column = new_null_array(field.data_type(), 1000);
        }
        columns[3] = Arc::new(
            (0..1000)
                .map(|row| Some(if bad.contains(&row) { 0 } else { 5 }))
                .collect::<Int64Array>(),
        );
        let evaluated =
            projection[0].evaluate(&RecordBatch::try_new(schema.clone(), columns).unwrap());
        let found: Vec<usize> = evaluated
            .errors
            .iter()
            .map(|error| error.row as usize)
            .collect();
        assert_eq!(found, bad);
        let expected: Int64Array = (0..1000)
            .map(|row| (!bad.contains(&row)).then_some(2))
            .collect();
        assert_eq!(evaluated.values.as_ref(), &expected as &dyn Array);
    }
}

#[test]
fn an_empty_batch_has_no_errors_even_for_a_constant_that_always_fails() {
    let (projection, _, schema) = planned("1 / 0 AS v");
    let evaluated = projection[0].evaluate(&RecordBatch::new_empty(schema));
    assert_eq!((evaluated.values.len(), evaluated.errors.len()), (0, 0));
}

#[test]
fn columns_are_recognised_and_filters_are_boolean() {
    let (projection, _, schema) = planned("page AS p, a + 1 AS q, clicks.b");
    assert_eq!(
        projection.iter().map(Expr::as_column).collect::<Vec<_>>(),
        [Some(1), None, Some(3)]
    );
    assert_eq!(
        projection[1].data_type(&schema),
        Ok(arrow_schema::DataType::Int64)
    );
    assert_eq!(Expr::column(2, "a").as_column(), Some(2));
    let (_, filter, schema) = planned("page FROM clicks WHERE a > 5 AND page <> '' --");
    let kept = filter.unwrap().evaluate(&rows(&schema)).values;
    assert_eq!(
        kept.as_ref(),
        &BooleanArray::from(vec![Some(true), Some(true), Some(false), Some(false), None])
            as &dyn Array
    );
}

#[test]
fn the_longest_allowed_expression_fits_a_worker_threads_stack() {
    let (projection, _, schema) = planned(&format!("{} AS v", vec!["a"; 195].join(" + ")));
    // Test threads have the same 2 MB as any spawned thread.
    assert_eq!(projection[0].evaluate(&rows(&schema)).errors.len(), 2);
}
