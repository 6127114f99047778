//! Rows to JSON: every type, the key, and the way back through the decoder.

use super::JsonEncoder;
use crate::fetch::{Fetch, TopicPartition};
use crate::format::Slab;
use crate::format::json::JsonDecoder;
use crate::spec::diagnostic::Span;
use crate::spec::{ColumnSpec, ColumnType, Spanned, TimestampFormat};
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::*;
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, Field, Fields, Schema};
use proptest::prelude::*;
use std::sync::Arc;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    let field =
        |(name, array): &(&str, ArrayRef)| Field::new(*name, array.data_type().clone(), true);
    let schema = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    RecordBatch::try_new(
        Arc::new(schema),
        columns.into_iter().map(|column| column.1).collect(),
    )
    .unwrap()
}

fn lines(slab: &Slab) -> Vec<String> {
    (0..slab.ends.len())
        .map(|row| String::from_utf8(slab.row(row).to_vec()).unwrap())
        .collect()
}

fn encode(
    rows: &RecordBatch,
    timestamps: TimestampFormat,
    decimals_as_string: bool,
) -> Vec<String> {
    let mut slab = Slab::default();
    JsonEncoder::new(&rows.schema(), &[], timestamps, decimals_as_string).encode(rows, &mut slab);
    lines(&slab)
}

fn values(array: impl Array + 'static) -> Vec<String> {
    let unwrap = |line: String| {
        line.strip_prefix("{\"v\":")
            .and_then(|rest| rest.strip_suffix('}'))
            .unwrap()
            .to_owned()
    };
    let lines = encode(
        &batch(vec![("v", Arc::new(array))]),
        TimestampFormat::Iso,
        false,
    );
    for line in &lines {
        serde_json::from_str::<serde_json::Value>(line).expect(line);
    }
    lines.into_iter().map(unwrap).collect()
}

#[test]
fn every_type_has_its_form() {
    assert_eq!(
        values(BooleanArray::from(vec![Some(true), Some(false), None])),
        ["true", "false", "null"]
    );
    assert_eq!(values(Int8Array::from(vec![i8::MIN])), ["-128"]);
    assert_eq!(values(Int16Array::from(vec![i16::MIN])), ["-32768"]);
    assert_eq!(values(Int32Array::from(vec![i32::MIN])), ["-2147483648"]);
    assert_eq!(
        values(Int64Array::from(vec![Some(i64::MIN), None])),
        ["-9223372036854775808", "null"]
    );
    assert_eq!(values(UInt8Array::from(vec![u8::MAX])), ["255"]);
    assert_eq!(values(UInt16Array::from(vec![u16::MAX])), ["65535"]);
    assert_eq!(values(UInt32Array::from(vec![u32::MAX])), ["4294967295"]);
    assert_eq!(
        values(UInt64Array::from(vec![u64::MAX])),
        ["18446744073709551615"]
    );
    assert_eq!(
        values(Float32Array::from(vec![0.1, -0.0, f32::NAN])),
        ["0.1", "0.0", "null"]
    );
    let doubles = vec![
        1.0,
        -0.0,
        0.1,
        1e300,
        f64::MIN_POSITIVE,
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ];
    let expected = [
        "1.0",
        "0.0",
        "0.1",
        "1e300",
        "2.2250738585072014e-308",
        "null",
        "null",
        "null",
    ];
    assert_eq!(values(Float64Array::from(doubles)), expected);
    assert_eq!(values(StringArray::from(vec!["é"])), ["\"é\""]);
    assert_eq!(values(LargeStringArray::from(vec!["a\"b"])), ["\"a\\\"b\""]);
    assert_eq!(
        values(StringViewArray::from(vec!["long enough to lie outside\n"])),
        ["\"long enough to lie outside\\n\""]
    );
    assert_eq!(values(NullArray::new(2)), ["null", "null"]);
}

#[test]
fn binary_is_base64_and_times_are_iso_8601() {
    assert_eq!(
        values(BinaryArray::from_vec(vec![b"\x00\xff"])),
        ["\"AP8=\""]
    );
    assert_eq!(
        values(FixedSizeBinaryArray::try_from_iter([[1u8, 2, 3]].iter()).unwrap()),
        ["\"AQID\""]
    );
    assert_eq!(
        values(Date32Array::from(vec![19782, -1])),
        ["\"2024-02-29\"", "\"1969-12-31\""]
    );
    assert_eq!(values(Date64Array::from(vec![-1])), ["\"1969-12-31\""]);
    assert_eq!(
        values(Time32SecondArray::from(vec![3661])),
        ["\"01:01:01\""]
    );
    assert_eq!(
        values(Time64NanosecondArray::from(vec![1])),
        ["\"00:00:00.000000001\""]
    );
    assert_eq!(
        values(TimestampSecondArray::from(vec![1704067215])),
        ["\"2024-01-01T00:00:15Z\""]
    );
    assert_eq!(
        values(TimestampMillisecondArray::from(vec![1704067215250])),
        ["\"2024-01-01T00:00:15.250Z\""]
    );
    let zoned = TimestampMicrosecondArray::from(vec![-1]).with_timezone("+02:00");
    assert_eq!(values(zoned), ["\"1969-12-31T23:59:59.999999Z\""]);
    let months = IntervalYearMonthArray::from(vec![14]);
    assert_eq!(values(months), ["\"1 years 2 mons\""]);
}

#[test]
fn decimals_keep_their_scale() {
    let decimal = |values: Vec<i128>, scale| {
        Decimal128Array::from(values)
            .with_precision_and_scale(20, scale)
            .unwrap()
    };
    let expected = ["12.34", "-0.05", "0.00", "-1.00"];
    assert_eq!(values(decimal(vec![1234, -5, 0, -100], 2)), expected);
    assert_eq!(values(decimal(vec![-7], 0)), ["-7"]);
    assert_eq!(values(decimal(vec![-7, 0], -3)), ["-7000", "0"]);
    let largest = Decimal128Array::from(vec![10i128.pow(38) - 1])
        .with_precision_and_scale(38, 38)
        .unwrap();
    assert_eq!(values(largest), [format!("0.{}", "9".repeat(38))]);
    let rows = batch(vec![("v", Arc::new(decimal(vec![-5], 2)))]);
    assert_eq!(
        encode(&rows, TimestampFormat::Iso, true),
        ["{\"v\":\"-0.05\"}"]
    );
}

#[test]
fn epoch_milliseconds_are_floored_and_do_not_overflow() {
    let rows = batch(vec![
        (
            "s",
            Arc::new(TimestampSecondArray::from(vec![i64::MAX, -1])) as ArrayRef,
        ),
        ("ms", Arc::new(TimestampMillisecondArray::from(vec![7, -7]))),
        (
            "ns",
            Arc::new(TimestampNanosecondArray::from(vec![1_999_999, -1])),
        ),
    ]);
    let expected = [
        "{\"s\":9223372036854775807000,\"ms\":7,\"ns\":1}",
        "{\"s\":-1000,\"ms\":-7,\"ns\":-1}",
    ];
    assert_eq!(encode(&rows, TimestampFormat::EpochMs, false), expected);
}

#[test]
fn lists_and_structs_nest() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
        Some(vec![Some(1), None, Some(3)]),
        None,
        Some(vec![]),
        Some(vec![Some(4)]),
    ]);
    assert_eq!(values(list.clone()), ["[1,null,3]", "null", "[]", "[4]"]);
    assert_eq!(values(list.slice(2, 2)), ["[]", "[4]"]);
    let large = LargeListArray::from_iter_primitive::<Int64Type, _, _>(vec![Some(vec![Some(1)])]);
    assert_eq!(values(large), ["[1]"]);
    let fields = Fields::from(vec![
        Field::new("a\"b", DataType::Utf8, true),
        Field::new("l", list.data_type().clone(), true),
    ]);
    let texts: ArrayRef = Arc::new(StringArray::from(vec![
        Some("x"),
        None,
        Some("y"),
        Some("z"),
    ]));
    let nulls = NullBuffer::from(vec![true, true, false, true]);
    let nested = StructArray::new(fields, vec![texts, Arc::new(list)], Some(nulls));
    let expected = [
        "{\"a\\\"b\":\"x\",\"l\":[1,null,3]}",
        "{\"a\\\"b\":null,\"l\":null}",
        "null",
        "{\"a\\\"b\":\"z\",\"l\":[4]}",
    ];
    assert_eq!(values(nested.clone()), expected);
    assert_eq!(values(nested.slice(3, 1)), expected[3..]);
    assert_eq!(values(StructArray::new_empty_fields(2, None)), ["{}", "{}"]);
}

#[test]
fn strings_are_escaped_as_an_independent_writer_escapes_them() {
    let characters: Vec<char> = (0..=0x300)
        .filter_map(char::from_u32)
        .chain("€😀\u{2028}".chars())
        .collect();
    let mut texts: Vec<String> = characters
        .iter()
        .map(|character| format!("abc{character}defgh{character}"))
        .collect();
    texts.push(characters.iter().collect());
    texts.extend((0..20).map(|len| format!("{}\"", "x".repeat(len))));
    texts.extend((0..20).map(|len| "y".repeat(len)));
    let expected: Vec<String> = texts
        .iter()
        .map(|text| serde_json::to_string(text).unwrap())
        .collect();
    assert_eq!(values(StringArray::from(texts)), expected);
}

#[test]
fn column_names_are_escaped_and_an_empty_row_is_an_object() {
    let rows = batch(vec![
        ("a\"\n", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        ("", Arc::new(Int64Array::from(vec![2]))),
    ]);
    assert_eq!(
        encode(&rows, TimestampFormat::Iso, false),
        ["{\"a\\\"\\n\":1,\"\":2}"]
    );
    let options = RecordBatchOptions::new().with_row_count(Some(2));
    let empty =
        RecordBatch::try_new_with_options(Arc::new(Schema::empty()), vec![], &options).unwrap();
    assert_eq!(encode(&empty, TimestampFormat::Iso, false), ["{}", "{}"]);
}

#[test]
fn one_text_column_is_the_key_itself_and_anything_else_an_array() {
    let rows = batch(vec![
        (
            "page",
            Arc::new(StringArray::from(vec![Some("/a\"b"), None, Some("")])) as ArrayRef,
        ),
        (
            "at",
            Arc::new(TimestampMillisecondArray::from(vec![0, 250, 0])),
        ),
        (
            "n",
            Arc::new(Int64Array::from(vec![Some(1), None, Some(3)])),
        ),
        (
            "view",
            Arc::new(StringViewArray::from(vec![Some("v"), None, Some("")])),
        ),
    ]);
    let keys = |key: &[usize]| {
        let encoder = JsonEncoder::new(&rows.schema(), key, TimestampFormat::Iso, false);
        let mut slab = Slab::default();
        encoder.encode_keys(&rows, &mut slab);
        let nulls: Vec<bool> = (0..rows.num_rows())
            .map(|row| encoder.null_key(&rows, row))
            .collect();
        (lines(&slab), nulls)
    };
    let owned = |texts: [&str; 3]| texts.map(str::to_owned).to_vec();
    assert_eq!(
        keys(&[0]),
        (owned(["/a\"b", "", ""]), vec![false, true, false])
    );
    assert_eq!(keys(&[3]), (owned(["v", "", ""]), vec![false, true, false]));
    assert_eq!(
        keys(&[2]),
        (owned(["[1]", "[null]", "[3]"]), vec![false; 3])
    );
    let several = [
        "[\"/a\\\"b\",\"1970-01-01T00:00:00Z\"]",
        "[null,\"1970-01-01T00:00:00.250Z\"]",
        "[\"\",\"1970-01-01T00:00:00Z\"]",
    ];
    assert_eq!(keys(&[0, 1]), (owned(several), vec![false; 3]));
    assert_eq!(keys(&[]), (owned(["", "", ""]), vec![true; 3]));
}

#[test]
fn equal_doubles_make_equal_keys() {
    let rows = batch(vec![(
        "v",
        Arc::new(Float64Array::from(vec![0.0, -0.0])) as ArrayRef,
    )]);
    let encoder = JsonEncoder::new(&rows.schema(), &[0], TimestampFormat::Iso, false);
    let mut slab = Slab::default();
    encoder.encode_keys(&rows, &mut slab);
    assert_eq!(lines(&slab), ["[0.0]", "[0.0]"]);
}

#[test]
fn rows_are_appended_to_what_the_slab_holds() {
    let rows = batch(vec![(
        "v",
        Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef,
    )]);
    let encoder = JsonEncoder::new(&rows.schema(), &[0], TimestampFormat::Iso, false);
    let mut slab = Slab::default();
    encoder.encode(&rows, &mut slab);
    encoder.encode(&rows.slice(1, 1), &mut slab);
    encoder.encode_keys(&rows.slice(0, 1), &mut slab);
    assert_eq!(lines(&slab), ["{\"v\":1}", "{\"v\":2}", "{\"v\":2}", "[1]"]);
}

fn declared(name: &str, kind: ColumnType) -> ColumnSpec {
    let name = Spanned {
        value: name.to_owned(),
        span: Span::default(),
    };
    ColumnSpec {
        path: vec![name.value.clone()],
        name,
        kind,
        required: false,
    }
}

type Row = (
    Option<String>,
    Option<bool>,
    Option<i64>,
    Option<f64>,
    Option<i64>,
    Option<i32>,
    Option<i64>,
);

fn back(
    rows: &RecordBatch,
    columns: &[ColumnSpec],
    timestamps: TimestampFormat,
    decimals_as_string: bool,
) -> RecordBatch {
    let mut fetch = Fetch::new(TopicPartition::new("t", 0));
    for (offset, line) in encode(rows, timestamps, decimals_as_string)
        .iter()
        .enumerate()
    {
        fetch.push(offset as i64, 0, None, Some(line.as_bytes()));
    }
    let decoded = JsonDecoder::new(columns, decimals_as_string).decode(&fetch, 0..fetch.len());
    assert_eq!(decoded.bad, []);
    decoded.columns
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_the_same(rows in proptest::collection::vec(any::<Row>(), 1..20), epoch in any::<bool>()) {
        // JSON has no NaN: NULL comes back for it. There is one zero.
        let read = |value: f64| value.is_finite().then_some(value + 0.0);
        let doubles = rows.iter().map(|row| row.3.and_then(read)).collect::<Float64Array>();
        let decimals = rows.iter().map(|row| row.6.map(i128::from)).collect::<Decimal128Array>();
        let written = batch(vec![
            ("s\"", Arc::new(rows.iter().map(|row| row.0.clone()).collect::<StringArray>()) as ArrayRef),
            ("b", Arc::new(rows.iter().map(|row| row.1).collect::<BooleanArray>())),
            ("l", Arc::new(rows.iter().map(|row| row.2).collect::<Int64Array>())),
            ("d", Arc::new(doubles)),
            ("t", Arc::new(rows.iter().map(|row| row.4).collect::<TimestampMillisecondArray>())),
            ("date", Arc::new(rows.iter().map(|row| row.5).collect::<Date32Array>())),
            ("n", Arc::new(decimals.with_precision_and_scale(25, 7).unwrap())),
        ]);
        let (timestamps, time) = if epoch {
            (TimestampFormat::EpochMs, ColumnType::TimestampMs)
        } else {
            (TimestampFormat::Iso, ColumnType::Timestamp { pattern: None })
        };
        let columns = [
            declared("s\"", ColumnType::String),
            declared("b", ColumnType::Boolean),
            declared("l", ColumnType::Int64),
            declared("d", ColumnType::Double),
            declared("t", time),
            declared("date", ColumnType::Date),
            declared("n", ColumnType::Decimal { precision: 25, scale: 7 }),
        ];
        prop_assert_eq!(&back(&written, &columns, timestamps, false), &written);
        prop_assert_eq!(&back(&written, &columns, timestamps, true), &written);
    }
}
