//! Results of accumulators: by type, by the way rows are split, at the bounds of their types.

use super::{Accumulators, SKIPPED, state_types};
use crate::operator::fixtures::call;
use crate::plan::graph::{AggregateCall, AggregateFunction as F};
use crate::state::values::StateType;
use arrow_array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array,
    Int64Array, StringArray, StringViewArray, TimestampMillisecondArray, UInt64Array,
};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::DataType;
use std::sync::Arc;

fn texts(array: &ArrayRef) -> Vec<String> {
    let options = FormatOptions::new().with_null("NULL");
    let formatter = ArrayFormatter::try_new(array.as_ref(), &options).unwrap();
    (0..array.len())
        .map(|row| formatter.value(row).to_string())
        .collect()
}

fn call_of(function: F, argument: &ArrayRef, output: &DataType) -> AggregateCall {
    call(
        function,
        Some((0, argument.data_type().clone())),
        output.clone(),
    )
}

/// The result over all values, folded at once, and folded one by one and merged in reverse through bytes: must agree.
fn result(function: F, values: &ArrayRef, output: &DataType) -> String {
    let calls = [call_of(function, values, output)];
    let mut whole = Accumulators::new(&calls);
    whole.resize(1);
    whole.update(0, &vec![0; values.len()], Some(values), None);
    let mut merged = Accumulators::new(&calls);
    merged.resize(1);
    for row in (0..values.len()).rev() {
        let mut part = Accumulators::new(&calls);
        part.resize(1);
        part.update(0, &[0], Some(&values.slice(row, 1)), None);
        let mut bytes = Vec::new();
        part.encode(0, &mut bytes);
        let mut decoded = Accumulators::new(&calls);
        decoded.push_encoded(&bytes).unwrap();
        merged.merge(&[0], &decoded.gather(&[0]), &[0]);
    }
    let show = |a: &Accumulators| {
        let (values, errors) = a.finish(0, &[0]);
        assert_eq!(values.data_type(), output);
        errors.first().map_or_else(
            || texts(&values)[0].clone(),
            |(row, message)| format!("row {row}: {message}"),
        )
    };
    assert_eq!(show(&whole), show(&merged), "{function:?} of {values:?}");
    show(&whole)
}

fn arc(array: impl Array + 'static) -> ArrayRef {
    Arc::new(array)
}

#[test]
fn results_by_function_and_type() {
    let ints = arc(Int64Array::from(vec![Some(3), None, Some(-5), Some(4)]));
    let small = arc(Int32Array::from(vec![Some(3), None, Some(-5), Some(4)]));
    let doubles = arc(Float64Array::from(vec![Some(1.5), None, Some(-0.25)]));
    let texts = arc(StringArray::from(vec![
        Some("b"),
        None,
        Some("é"),
        Some(""),
    ]));
    let views = arc(StringViewArray::from(vec![
        Some("b"),
        Some("a text longer than twelve bytes"),
    ]));
    let dates = arc(Date32Array::from(vec![Some(1), Some(-1)]));
    let times = arc(TimestampMillisecondArray::from(vec![Some(1), Some(-1)]));
    let flags = arc(BooleanArray::from(vec![Some(true), None, Some(false)]));
    let unsigned = arc(UInt64Array::from(vec![u64::MAX, 1]));
    let none = arc(Int64Array::from(vec![None, None]));
    let cases: Vec<(F, &ArrayRef, DataType, &str)> = vec![
        (F::Count, &ints, DataType::Int64, "3"),
        (F::Sum, &ints, DataType::Int64, "2"),
        (F::Min, &ints, DataType::Int64, "-5"),
        (F::Max, &ints, DataType::Int64, "4"),
        (F::Avg, &ints, DataType::Float64, "0.6666666666666666"),
        (F::Sum, &small, DataType::Int64, "2"),
        (F::Max, &small, DataType::Int32, "4"),
        (F::Sum, &doubles, DataType::Float64, "1.25"),
        (F::Avg, &doubles, DataType::Float64, "0.625"),
        (F::Min, &texts, DataType::Utf8, ""),
        (F::Max, &texts, DataType::Utf8, "é"),
        (
            F::Min,
            &views,
            DataType::Utf8View,
            "a text longer than twelve bytes",
        ),
        (F::Min, &dates, DataType::Date32, "1969-12-31"),
        (
            F::Max,
            &times,
            times.data_type().clone(),
            "1970-01-01T00:00:00.001",
        ),
        (F::Min, &flags, DataType::Boolean, "false"),
        (F::Max, &flags, DataType::Boolean, "true"),
        (F::Count, &flags, DataType::Int64, "2"),
        (F::Max, &unsigned, DataType::UInt64, "18446744073709551615"),
        (
            F::Sum,
            &unsigned,
            DataType::UInt64,
            "row 0: SUM does not fit UInt64",
        ),
        (F::Count, &none, DataType::Int64, "0"),
        (F::Sum, &none, DataType::Int64, "NULL"),
        (F::Min, &none, DataType::Int64, "NULL"),
        (F::Avg, &none, DataType::Float64, "NULL"),
    ];
    for (function, values, output, expected) in cases {
        assert_eq!(
            result(function, values, &output),
            expected,
            "{function:?} of {:?}",
            values.data_type()
        );
    }
}

#[test]
fn a_sum_may_leave_64_bits_on_its_way_but_not_at_the_end() {
    let back = arc(Int64Array::from(vec![i64::MAX, i64::MAX, -i64::MAX]));
    assert_eq!(
        result(F::Sum, &back, &DataType::Int64),
        i64::MAX.to_string()
    );
    let beyond = arc(Int64Array::from(vec![i64::MAX, 1]));
    assert_eq!(
        result(F::Sum, &beyond, &DataType::Int64),
        "row 0: SUM does not fit Int64"
    );
    let least = arc(Int64Array::from(vec![i64::MIN, 0]));
    assert_eq!(
        result(F::Sum, &least, &DataType::Int64),
        i64::MIN.to_string()
    );
}

#[test]
fn decimals_keep_their_digits_and_what_does_not_fit_is_an_error() {
    let decimals = |values: Vec<i128>, precision| {
        arc(Decimal128Array::from(values)
            .with_precision_and_scale(precision, 2)
            .unwrap())
    };
    let two = decimals(vec![105, -5, 250], 10);
    assert_eq!(result(F::Sum, &two, &DataType::Decimal128(20, 2)), "3.50");
    assert_eq!(
        result(F::Avg, &two, &DataType::Decimal128(14, 6)),
        "1.166667"
    );
    assert_eq!(result(F::Max, &two, &DataType::Decimal128(10, 2)), "2.50");
    assert!(
        result(F::Sum, &two, &DataType::Decimal128(2, 2)).starts_with("row 0: SUM does not fit")
    );
    // Beyond 128 bits on the way, and back in range: refused, never wrong.
    let most = 10i128.pow(38) - 1;
    let huge = decimals(vec![most, most, -most, -most], 38);
    assert!(result(F::Sum, &huge, &DataType::Decimal128(38, 2)).starts_with("row 0"));
}

#[test]
fn zeros_are_one_and_nan_is_the_greatest() {
    let values = arc(Float64Array::from(vec![
        0.0,
        -0.0,
        f64::NAN,
        -f64::NAN,
        f64::INFINITY,
    ]));
    assert_eq!(result(F::Max, &values, &DataType::Float64), "NaN");
    assert_eq!(result(F::Min, &values, &DataType::Float64), "0.0");
    let negative = arc(Float64Array::from(vec![-0.0]));
    for function in [F::Min, F::Max, F::Sum, F::Avg] {
        assert_eq!(result(function, &negative, &DataType::Float64), "0.0");
    }
}

#[test]
fn skipped_filtered_and_null_rows_change_nothing() {
    let values = arc(Int64Array::from(vec![
        Some(1),
        Some(2),
        None,
        Some(8),
        Some(16),
    ]));
    let filter = BooleanArray::from(vec![Some(true), Some(false), Some(true), None, Some(true)]);
    let mut sums = Accumulators::new(&[
        call_of(F::Sum, &values, &DataType::Int64),
        call(F::Count, None, DataType::Int64),
    ]);
    sums.resize(2);
    let groups = [0, 0, 1, 1, SKIPPED];
    sums.update(0, &groups, Some(&values), Some(&filter));
    sums.update(1, &groups, None, Some(&filter));
    assert_eq!(texts(&sums.finish(0, &[1, 0]).0), ["NULL", "1"]);
    assert_eq!(texts(&sums.finish(1, &[1, 0]).0), ["1", "1"]);
    sums.update(1, &groups, None, None);
    assert_eq!(texts(&sums.finish(1, &[0, 1]).0), ["3", "3"]);
}

#[test]
fn a_copy_of_a_group_brings_back_its_state_and_its_bytes() {
    let values = arc(StringArray::from(vec!["mm", "z"]));
    let mut rows = Accumulators::new(&[call_of(F::Max, &values, &DataType::Utf8)]);
    rows.resize(1);
    rows.update(0, &[0], Some(&values.slice(0, 1)), None);
    let (mut undo, before) = (rows.new_empty(), rows.heap);
    undo.push_from(&rows, 0);
    rows.update(0, &[0, 0], Some(&values), None);
    assert_eq!(
        (texts(&rows.finish(0, &[0]).0), rows.heap),
        (vec!["z".to_owned()], 1)
    );
    rows.assign(0, &undo, 0);
    assert_eq!(
        (texts(&rows.finish(0, &[0]).0), rows.heap),
        (vec!["mm".to_owned()], before)
    );
    rows.clear();
    assert_eq!(rows.heap, 0);
}

#[test]
fn state_types_are_those_of_the_protocol_and_others_are_refused() {
    let of =
        |function, argument| state_types(&[call(function, Some((0, argument)), DataType::Int64)]);
    assert_eq!(
        of(F::Avg, DataType::Int64),
        Some(vec![StateType::I128, StateType::I64])
    );
    assert_eq!(
        of(F::Avg, DataType::Float64),
        Some(vec![StateType::F64, StateType::I64])
    );
    assert_eq!(of(F::Min, DataType::Utf8), Some(vec![StateType::Bytes]));
    assert_eq!(
        of(F::Sum, DataType::Decimal128(38, 0)),
        Some(vec![StateType::I128])
    );
    assert_eq!(of(F::Sum, DataType::Utf8), None);
    assert_eq!(of(F::Min, DataType::Null), None);
}
