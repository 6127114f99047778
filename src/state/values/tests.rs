//! Tests of state columns and rows: golden bytes, round trips, damage.

use super::*;
use crate::state::hex;
use expect_test::expect_file;
use proptest::prelude::*;

const TYPES: [StateType; 4] = [
    StateType::I64,
    StateType::I128,
    StateType::F64,
    StateType::Bytes,
];

type Row = (Option<i64>, Option<i128>, Option<f64>, Option<Vec<u8>>);

fn columns(rows: &[Row]) -> Vec<StateColumn> {
    vec![
        StateColumn::I64(rows.iter().map(|r| r.0).collect()),
        StateColumn::I128(rows.iter().map(|r| r.1).collect()),
        StateColumn::F64(rows.iter().map(|r| r.2).collect()),
        StateColumn::Bytes(
            rows.iter()
                .map(|r| r.3.as_deref().map(Into::into))
                .collect(),
        ),
    ]
}

fn empty() -> Vec<StateColumn> {
    TYPES.iter().map(|t| StateColumn::new(*t)).collect()
}

#[test]
fn golden_bytes_stay_what_they_are() {
    let rows: [(&str, Row); 4] = [
        ("all NULL", (None, None, None, None)),
        (
            "zeros and empty",
            (Some(0), Some(0), Some(0.0), Some(vec![])),
        ),
        (
            "small",
            (Some(-1), Some(300), Some(1.5), Some(b"abc".to_vec())),
        ),
        (
            "extremes",
            (
                Some(i64::MIN),
                Some(i128::MIN),
                Some(f64::NEG_INFINITY),
                None,
            ),
        ),
    ];
    let mut text = String::new();
    for (name, row) in &rows {
        let mut bytes = Vec::new();
        encode_row(&columns(std::slice::from_ref(row)), 0, &mut bytes);
        text += &hex::line(name, &bytes);
    }
    let mut nine = Vec::new();
    encode_row(
        &vec![StateColumn::I64(Column::from_iter([Some(7), None])); 9],
        1,
        &mut nine,
    );
    text += &hex::line("nine NULLs take two bitmap bytes", &nine);
    expect_file!["../golden/values.v1.txt"].assert_eq(&text);
}

#[test]
fn a_count_takes_two_bytes() {
    let mut bytes = Vec::new();
    encode_row(
        &[StateColumn::I64(Column::from_iter([Some(63)]))],
        0,
        &mut bytes,
    );
    assert_eq!(bytes, [0, 126]);
}

#[test]
fn a_damaged_row_leaves_the_columns_as_they_were() {
    let row = (Some(1), Some(2), Some(3.0), Some(b"abc".to_vec()));
    let mut bytes = Vec::new();
    encode_row(&columns(&[row]), 0, &mut bytes);
    let mut into = empty();
    decode_row(&TYPES, &bytes, &mut into).expect("undamaged");
    let before = into.clone();
    for end in 0..bytes.len() {
        assert!(
            decode_row(&TYPES, &bytes[..end], &mut into).is_err(),
            "cut to {end}"
        );
        assert_eq!(into, before, "cut to {end}");
    }
    bytes.push(0);
    assert!(
        decode_row(&TYPES, &bytes, &mut into).is_err(),
        "a byte too many"
    );
    assert_eq!(into, before);
}

#[test]
fn columns_of_other_types_are_refused() {
    let mut into = vec![StateColumn::new(StateType::F64)];
    assert!(decode_row(&[StateType::I64], &[0, 0], &mut into).is_err());
    assert!(into[0].is_empty());
}

proptest! {
    #[test]
    fn rows_come_back(rows in prop::collection::vec(any::<Row>(), 1..20)) {
        let columns = columns(&rows);
        let mut into = empty();
        for row in 0..rows.len() {
            let mut bytes = Vec::new();
            encode_row(&columns, row, &mut bytes);
            decode_row(&TYPES, &bytes, &mut into).expect("what was encoded");
        }
        // Debug text compares floats by their printed form: NaN equals itself there.
        prop_assert_eq!(format!("{into:?}"), format!("{columns:?}"));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut into = empty();
        if decode_row(&TYPES, &bytes, &mut into).is_err() {
            prop_assert_eq!(into, empty());
        }
    }
}
