//! Tests of the key encoding: golden bytes, order, round trips, damage.

use super::*;
use crate::state::hex;
use arrow_array::builder::{BooleanBuilder, PrimitiveBuilder};
use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{
    BinaryArray, Float32Array, Float64Array, Int64Array, LargeStringArray, StringArray, UInt16Array,
};
use expect_test::expect_file;
use proptest::prelude::*;
use std::cmp::Ordering;
use std::sync::Arc;

fn keys(columns: &[ArrayRef]) -> Vec<Vec<u8>> {
    let types: Vec<DataType> = columns.iter().map(|c| c.data_type().clone()).collect();
    let encoder = KeyEncoder::new(&types).expect("supported");
    let bound = encoder.bind(columns);
    (0..columns[0].len())
        .map(|row| {
            let mut key = Vec::new();
            bound.encode(row, &mut key);
            key
        })
        .collect()
}

fn decoded(columns: &[ArrayRef]) -> Vec<ArrayRef> {
    let types: Vec<DataType> = columns.iter().map(|c| c.data_type().clone()).collect();
    let keys = keys(columns);
    KeyEncoder::new(&types)
        .expect("supported")
        .decode(keys.iter().map(|k| &k[..]), keys.len())
        .expect("decode")
}

fn key(column: impl Array + 'static) -> Vec<u8> {
    keys(&[Arc::new(column)]).remove(0)
}

/// A column of the type with its extremes, zero and NULL.
fn extremes<T: ArrowPrimitiveType>(data_type: &DataType, values: &[T::Native]) -> ArrayRef {
    let mut builder = PrimitiveBuilder::<T>::new().with_data_type(data_type.clone());
    builder.append_null();
    values.iter().for_each(|v| builder.append_value(*v));
    Arc::new(builder.finish())
}

fn integer_columns() -> Vec<ArrayRef> {
    use DataType as D;
    let mut bools = BooleanBuilder::new();
    bools.append_null();
    bools.append_slice(&[false, true]);
    vec![
        Arc::new(bools.finish()),
        extremes::<Int8Type>(&D::Int8, &[i8::MIN, -1, 0, 1, i8::MAX]),
        extremes::<Int16Type>(&D::Int16, &[i16::MIN, -1, 0, 1, i16::MAX]),
        extremes::<Int32Type>(&D::Int32, &[i32::MIN, -1, 0, 1, i32::MAX]),
        extremes::<Int64Type>(&D::Int64, &[i64::MIN, -1, 0, 1, 256, i64::MAX]),
        extremes::<UInt8Type>(&D::UInt8, &[0, 1, u8::MAX]),
        extremes::<UInt16Type>(&D::UInt16, &[0, 256, u16::MAX]),
        extremes::<UInt32Type>(&D::UInt32, &[0, 256, u32::MAX]),
        extremes::<UInt64Type>(&D::UInt64, &[0, 256, u64::MAX]),
        extremes::<Decimal128Type>(
            &D::Decimal128(30, 4),
            &[-(10i128.pow(29)), -1, 0, 1, 10i128.pow(29)],
        ),
    ]
}

fn time_columns() -> Vec<ArrayRef> {
    use DataType as D;
    use TimeUnit as U;
    let zone = Some(Arc::from("Europe/Berlin"));
    vec![
        extremes::<Date32Type>(&D::Date32, &[-1, 0, 20_000]),
        extremes::<Date64Type>(&D::Date64, &[-86_400_000, 0, 86_400_000]),
        extremes::<Time32SecondType>(&D::Time32(U::Second), &[0, 86_399]),
        extremes::<Time32MillisecondType>(&D::Time32(U::Millisecond), &[0, 86_399_999]),
        extremes::<Time64MicrosecondType>(&D::Time64(U::Microsecond), &[0, 86_399_999_999]),
        extremes::<Time64NanosecondType>(&D::Time64(U::Nanosecond), &[0, 86_399_999_999_999]),
        extremes::<TimestampSecondType>(&D::Timestamp(U::Second, None), &[-1, 0, 1_767_225_600]),
        extremes::<TimestampMillisecondType>(
            &D::Timestamp(U::Millisecond, zone),
            &[-1, 0, 1_767_225_600_000],
        ),
        extremes::<TimestampMicrosecondType>(&D::Timestamp(U::Microsecond, None), &[-1, 0, 1]),
        extremes::<TimestampNanosecondType>(&D::Timestamp(U::Nanosecond, None), &[-1, 0, 1]),
    ]
}

fn other_columns() -> Vec<ArrayRef> {
    let f64s = [
        f64::NEG_INFINITY,
        f64::MIN,
        -1.5,
        0.0,
        f64::MIN_POSITIVE,
        1.5,
        f64::INFINITY,
        f64::NAN,
    ];
    let f32s = [
        f32::NEG_INFINITY,
        f32::MIN,
        -1.5,
        0.0,
        f32::MIN_POSITIVE,
        1.5,
        f32::INFINITY,
        f32::NAN,
    ];
    let texts = [
        None,
        Some(""),
        Some("\0"),
        Some("\0\0"),
        Some("\0\u{1}"),
        Some("\u{1}"),
        Some("\u{1}a"),
        Some("\u{2}"),
    ];
    let texts = || {
        texts.into_iter().chain(
            [
                "a",
                "a\0",
                "a\0b",
                "a\u{1}",
                "ab",
                "b",
                "long enough for words",
                "é",
                "😀",
            ]
            .map(Some),
        )
    };
    let bytes: [Option<&[u8]>; 5] = [
        None,
        Some(&[]),
        Some(&[0, 0xff]),
        Some(&[1, 0]),
        Some(&[0xff, 0xff]),
    ];
    vec![
        Arc::new(Float32Array::from_iter(
            std::iter::once(None).chain(f32s.map(Some)),
        )),
        Arc::new(Float64Array::from_iter(
            std::iter::once(None).chain(f64s.map(Some)),
        )),
        Arc::new(StringArray::from_iter(texts())),
        Arc::new(LargeStringArray::from_iter(texts())),
        Arc::new(StringViewArray::from_iter(texts())),
        Arc::new(BinaryArray::from_iter(bytes)),
    ]
}

fn all_columns() -> Vec<ArrayRef> {
    [integer_columns(), time_columns(), other_columns()].concat()
}

#[test]
fn golden_bytes_stay_what_they_are() {
    let mut text = String::new();
    for column in all_columns() {
        for (row, key) in keys(&[Arc::clone(&column)]).iter().enumerate() {
            text += &hex::line(&format!("{} row {row}", column.data_type()), key);
        }
    }
    let two: [ArrayRef; 2] = [
        Arc::new(StringArray::from(vec!["a"])),
        Arc::new(Int64Array::from(vec![-1])),
    ];
    text += &hex::line("('a', -1)", &keys(&two)[0]);
    expect_file!["../golden/keys.v1.txt"].assert_eq(&text);
}

#[test]
fn every_type_comes_back_and_is_ordered() {
    for column in all_columns() {
        // Each column above is written in ascending order, NULL first.
        let keys = keys(&[Arc::clone(&column)]);
        assert!(keys.is_sorted_by(|a, b| a < b), "{}", column.data_type());
        for (i, key) in keys.iter().enumerate() {
            let beginning = keys
                .iter()
                .enumerate()
                .any(|(j, other)| i != j && other.starts_with(key));
            assert!(
                !beginning,
                "{} row {i} is the beginning of another key",
                column.data_type()
            );
        }
        let back = decoded(&[Arc::clone(&column)]);
        assert_eq!(back[0].data_type(), column.data_type());
        assert_eq!(&back[0], &column);
    }
}

#[test]
fn zeros_are_one_and_nans_are_one() {
    let other_nans = [
        f64::from_bits(0xfff8_0000_0000_0001),
        -f64::NAN,
        f64::from_bits(0x7ff0_0000_0000_0001),
    ];
    for nan in other_nans {
        assert_eq!(
            key(Float64Array::from(vec![nan])),
            key(Float64Array::from(vec![f64::NAN]))
        );
    }
    assert_eq!(
        key(Float64Array::from(vec![-0.0])),
        key(Float64Array::from(vec![0.0]))
    );
    assert_eq!(
        key(Float32Array::from(vec![-0.0])),
        key(Float32Array::from(vec![0.0]))
    );
    assert_eq!(
        key(Float32Array::from(vec![-f32::NAN])),
        key(Float32Array::from(vec![f32::NAN]))
    );
}

#[test]
fn texts_of_all_layouts_have_the_same_key() {
    for text in ["", "a", "a text that a view does not hold inline", "\0"] {
        let utf8 = key(StringArray::from(vec![text]));
        assert_eq!(key(LargeStringArray::from(vec![text])), utf8);
        assert_eq!(key(StringViewArray::from(vec![text])), utf8);
    }
}

#[test]
fn slices_are_encoded_from_their_own_start() {
    for column in all_columns() {
        let whole = keys(&[Arc::clone(&column)]);
        assert_eq!(
            keys(&[column.slice(1, column.len() - 1)]),
            whole[1..],
            "{}",
            column.data_type()
        );
    }
}

#[test]
fn an_unsupported_type_is_named() {
    let list = DataType::new_list(DataType::Int64, true);
    let error = KeyEncoder::new(&[DataType::Int64, list.clone()]).expect_err("lists are no keys");
    assert_eq!(error, UnsupportedKey(list));
    assert!(error.to_string().contains("List(Int64)"), "{error}");
    for refused in [
        DataType::Time32(TimeUnit::Nanosecond),
        DataType::Float16,
        DataType::Decimal256(40, 0),
    ] {
        assert!(KeyEncoder::new(&[refused]).is_err());
    }
}

#[test]
fn bytes_that_are_no_key_are_damage() {
    let encoder = KeyEncoder::new(&[DataType::Utf8, DataType::Int64]).expect("supported");
    let columns: [ArrayRef; 2] = [
        Arc::new(StringArray::from(vec!["a\0b"])),
        Arc::new(Int64Array::from(vec![5])),
    ];
    let good = keys(&columns).remove(0);
    let refused = |key: &[u8]| encoder.decode(std::iter::once(key), 1).is_err();
    assert!(!refused(&good));
    for end in 0..good.len() {
        assert!(refused(&good[..end]), "cut to {end}");
    }
    assert!(refused(&[&good[..], &[0]].concat()), "a byte too many");
    for text in [
        &b"\x01a\x01\x00\x00"[..],
        b"\x01a\x01\x03\x00\x00",
        b"\x01\xff\x00\x00",
        b"\x02a\x00\x00",
    ] {
        assert!(refused(text), "{text:02x?}");
    }
}

#[test]
fn no_columns_make_one_empty_key() {
    let encoder = KeyEncoder::new(&[]).expect("nothing is supported");
    let mut key = Vec::new();
    encoder.bind(&[]).encode(0, &mut key);
    assert!(key.is_empty());
    assert!(
        encoder
            .decode([&key[..]].into_iter(), 1)
            .expect("decode")
            .is_empty()
    );
}

type Row = (
    Option<String>,
    Option<f64>,
    Option<i64>,
    Option<u16>,
    Option<bool>,
);

fn row() -> impl Strategy<Value = Row> {
    // Few distinct characters and numbers, so that rows often agree in their first columns.
    let text = prop_oneof!["[\u{0}\u{1}\u{2}a-b]{0,9}", any::<String>()];
    let float = prop_oneof![
        prop::sample::select(vec![-0.0, 0.0, f64::NAN, -f64::NAN, 1.0]),
        any::<f64>()
    ];
    let integer = prop_oneof![-1..2i64, any::<i64>()];
    (
        prop::option::of(text),
        prop::option::of(float),
        prop::option::of(integer),
        any::<Option<u16>>(),
        any::<Option<bool>>(),
    )
}

fn row_columns(rows: &[Row]) -> Vec<ArrayRef> {
    vec![
        Arc::new(StringArray::from_iter(rows.iter().map(|r| r.0.as_deref()))),
        Arc::new(Float64Array::from_iter(rows.iter().map(|r| r.1))),
        Arc::new(Int64Array::from_iter(rows.iter().map(|r| r.2))),
        Arc::new(UInt16Array::from_iter(rows.iter().map(|r| r.3))),
        Arc::new(BooleanArray::from_iter(rows.iter().map(|r| r.4))),
    ]
}

/// The order that SEMANTICS gives to floats: all NaN are one, and the last.
fn float_order(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b)
        .unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

fn value_order(a: &Row, b: &Row) -> Ordering {
    let floats = match (a.1, b.1) {
        (Some(a), Some(b)) => float_order(a, b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    };
    a.0.cmp(&b.0)
        .then(floats)
        .then_with(|| (a.2, a.3, a.4).cmp(&(b.2, b.3, b.4)))
}

proptest! {
    #[test]
    fn order_of_keys_is_order_of_values(a in row(), b in row()) {
        let keys = keys(&row_columns(&[a.clone(), b.clone()]));
        prop_assert_eq!(keys[0].cmp(&keys[1]), value_order(&a, &b));
        prop_assert!(keys[0] == keys[1] || !keys[1].starts_with(&keys[0]));
    }

    #[test]
    fn keys_come_back(rows in prop::collection::vec(row(), 1..20)) {
        let columns = row_columns(&rows);
        let back = decoded(&columns);
        for column in [0, 2, 3, 4] {
            prop_assert_eq!(&back[column], &columns[column]);
        }
        // Floats come back as the one zero and the one NaN: their keys are the same again.
        prop_assert_eq!(keys(&back), keys(&columns));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(prop_oneof![0..3u8, any::<u8>()], 0..40)) {
        let types: Vec<DataType> = row_columns(&[]).iter().map(|c| c.data_type().clone()).collect();
        let encoder = KeyEncoder::new(&types).expect("supported");
        if let Ok(columns) = encoder.decode(std::iter::once(&bytes[..]), 1) {
            prop_assert_eq!(columns[0].len(), 1);
        }
    }
}
