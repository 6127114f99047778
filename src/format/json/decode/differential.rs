//! The decoder against an independent reader (serde_json) and an independent reading of the rules, on mutated inputs.
//!
//! Invariant: the model below shares no code with the decoder. Inputs come from a fixed seed.

use super::JsonDecoder;
use super::tests::{column, every_type, fetch_of, nested};
use crate::batch::Cause;
use crate::spec::{ColumnSpec, ColumnType};
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use chrono::{DateTime, NaiveDate, NaiveDateTime};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// A document with its objects' entries as they were written, duplicates included.
#[derive(Debug)]
enum Tree {
    Null,
    Boolean(bool),
    Number(String),
    Text(String),
    Array(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Boolean(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Number(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut array = vec![];
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Tree::Array(array))
    }

    /// serde_json's arbitrary precision hands other numbers over as a map with one peculiar key.
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Tree, A::Error> {
        let mut object = vec![];
        while let Some((key, value)) = entries.next_entry::<String, Tree>()? {
            if let ("$serde_json::private::Number", Tree::Text(text)) = (key.as_str(), &value) {
                return Ok(Tree::Number(text.clone()));
            }
            object.push((key, value));
        }
        Ok(Tree::Object(object))
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tree, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

impl Tree {
    fn has_duplicates(&self) -> bool {
        match self {
            Tree::Array(items) => items.iter().any(Tree::has_duplicates),
            Tree::Object(entries) => {
                let mut keys: Vec<&String> = entries.iter().map(|entry| &entry.0).collect();
                keys.sort();
                keys.windows(2).any(|pair| pair[0] == pair[1])
                    || entries.iter().any(|entry| entry.1.has_duplicates())
            }
            _ => false,
        }
    }

    /// The value at `path`; `Err` where something that is no object lies on the way.
    fn find(&self, path: &[String]) -> Result<&Tree, ()> {
        let Some((name, rest)) = path.split_first() else {
            return Ok(self);
        };
        match self {
            Tree::Object(entries) => match entries.iter().find(|entry| entry.0 == *name) {
                Some(entry) => entry.1.find(rest),
                None => Ok(&Tree::Null),
            },
            Tree::Null => Ok(&Tree::Null),
            _ => Err(()),
        }
    }
}

#[derive(Debug, PartialEq)]
enum Cell {
    Null,
    Text(String),
    Boolean(bool),
    Integer(i128),
    Double(u64),
}

/// Digits and exponent of a decimal, by moving digits about as text.
fn decimal(text: &str, precision: usize, scale: i64) -> Option<i128> {
    let (sign, text) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let trimmed = digits.trim_start_matches('0').trim_end_matches('0');
    if trimmed.is_empty() {
        return Some(0);
    }
    let dropped = digits.len() - digits.trim_end_matches('0').len();
    let exponent = exponent.parse::<i64>().ok()?;
    let places = exponent
        .checked_add(dropped as i64)?
        .checked_sub(fraction.len() as i64)?
        .checked_add(scale)?;
    let zeros = usize::try_from(places)
        .ok()
        .filter(|zeros| zeros + trimmed.len() <= precision)?;
    format!("{trimmed}{}", "0".repeat(zeros))
        .parse::<i128>()
        .ok()
        .map(|value| sign * value)
}

fn number(kind: &ColumnType, text: &str) -> Option<Cell> {
    let integer = || text.parse::<i64>().ok();
    Some(match kind {
        ColumnType::Int32 => Cell::Integer(text.parse::<i32>().ok()?.into()),
        ColumnType::Int64 | ColumnType::TimestampMs => Cell::Integer(integer()?.into()),
        ColumnType::TimestampS => Cell::Integer(integer()?.checked_mul(1000)?.into()),
        ColumnType::Double => Cell::Double(
            text.parse::<f64>()
                .ok()
                .filter(|value| value.is_finite())?
                .to_bits(),
        ),
        ColumnType::Decimal { precision, scale } => {
            Cell::Integer(decimal(text, *precision as usize, *scale as i64)?)
        }
        _ => return None,
    })
}

/// Chrono's years end early and RFC 3339's have no sign: the same text in a year from 2000 to 2399, which has the same
/// calendar, and the days between the two.
fn near_year(text: &str) -> Option<(String, i64)> {
    let unsigned = text.strip_prefix(['+', '-']);
    let (digits, rest) = unsigned.unwrap_or(text).split_once('-')?;
    let most = if unsigned.is_some() { 9 } else { 4 };
    if !(4..=most).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let year = digits.parse::<i64>().ok()? * if text.starts_with('-') { -1 } else { 1 };
    let near = year.rem_euclid(400) + 2000;
    Some((format!("{near}-{rest}"), (year - near) / 400 * 146_097))
}

fn text(kind: &ColumnType, text: &str) -> Option<Cell> {
    Some(match kind {
        ColumnType::String => one_spelling(text),
        ColumnType::Timestamp { pattern: None } => {
            let (text, days) = near_year(text)?;
            let millis = DateTime::parse_from_rfc3339(&text).ok()?.timestamp_millis();
            Cell::Integer(days.checked_mul(86_400_000)?.checked_add(millis)?.into())
        }
        ColumnType::Timestamp {
            pattern: Some(pattern),
        } => {
            let time = NaiveDateTime::parse_from_str(text, pattern).ok()?;
            Cell::Integer(time.and_utc().timestamp_millis().into())
        }
        ColumnType::Date => {
            let (text, days) = near_year(text)?;
            let shaped = text.len() == 10 && !text.contains([' ', '+']);
            let date = NaiveDate::parse_from_str(&text, "%Y-%m-%d")
                .ok()
                .filter(|_| shaped)?;
            let days = days + (date - NaiveDate::from_ymd_opt(1970, 1, 1)?).num_days();
            Cell::Integer(i32::try_from(days).ok()?.into())
        }
        _ => return None,
    })
}

/// serde_json spells exponents in its own way, which shows where a number becomes text.
fn one_spelling(text: &str) -> Cell {
    Cell::Text(text.replace('E', "e").replace("e+", "e"))
}

/// What the rules make of one column; `None` for a wrong type.
fn cell(column: &ColumnSpec, document: &Tree, coerce: bool) -> Option<Cell> {
    let value = document.find(&column.path).ok()?;
    match (value, &column.kind) {
        (Tree::Null, _) => Some(Cell::Null),
        (Tree::Boolean(value), ColumnType::Boolean) => Some(Cell::Boolean(*value)),
        (Tree::Number(value), ColumnType::String) if coerce => Some(one_spelling(value)),
        (Tree::Number(value), kind) => number(kind, value),
        (Tree::Text(value), ColumnType::Boolean) if coerce => match value.to_lowercase().as_str() {
            "true" => Some(Cell::Boolean(true)),
            "false" => Some(Cell::Boolean(false)),
            _ => None,
        },
        (Tree::Text(value), kind) => text(kind, value).or_else(|| {
            // Under coerce the text must be a number of JSON, which the other reader decides too.
            let inner = serde_json::from_str::<Tree>(value)
                .ok()
                .filter(|_| coerce)?;
            let exact = !value.starts_with([' ', '\t', '\n', '\r'])
                && !value.ends_with([' ', '\t', '\n', '\r']);
            matches!(inner, Tree::Number(_) if exact)
                .then(|| number(kind, value))
                .flatten()
        }),
        _ => None,
    }
}

fn model(columns: &[ColumnSpec], coerce: bool, value: &[u8]) -> Result<Vec<Cell>, Cause> {
    let document = serde_json::from_slice::<Tree>(value).map_err(|_| Cause::Malformed)?;
    if !matches!(document, Tree::Object(_)) || document.has_duplicates() {
        return Err(Cause::Malformed);
    }
    let cells: Option<Vec<Cell>> = columns
        .iter()
        .map(|column| cell(column, &document, coerce))
        .collect();
    let cells = cells.ok_or(Cause::WrongType)?;
    let missing = columns
        .iter()
        .zip(&cells)
        .any(|(column, cell)| column.required && *cell == Cell::Null);
    if missing {
        Err(Cause::MissingColumn)
    } else {
        Ok(cells)
    }
}

fn decoded_cell(array: &dyn Array, row: usize) -> Cell {
    if array.is_null(row) {
        return Cell::Null;
    }
    match array.data_type() {
        DataType::Utf8 => one_spelling(array.as_string::<i32>().value(row)),
        DataType::Boolean => Cell::Boolean(array.as_boolean().value(row)),
        DataType::Int32 => Cell::Integer(array.as_primitive::<Int32Type>().value(row).into()),
        DataType::Int64 => Cell::Integer(array.as_primitive::<Int64Type>().value(row).into()),
        DataType::Float64 => Cell::Double(array.as_primitive::<Float64Type>().value(row).to_bits()),
        DataType::Decimal128(10, 2) => {
            Cell::Integer(array.as_primitive::<Decimal128Type>().value(row))
        }
        DataType::Timestamp(TimeUnit::Millisecond, None) => Cell::Integer(
            array
                .as_primitive::<TimestampMillisecondType>()
                .value(row)
                .into(),
        ),
        DataType::Date32 => Cell::Integer(array.as_primitive::<Date32Type>().value(row).into()),
        other => panic!("{other}"),
    }
}

fn cells(rows: &RecordBatch, row: usize) -> Vec<Cell> {
    rows.columns()
        .iter()
        .map(|array| decoded_cell(array.as_ref(), row))
        .collect()
}

const SEEDS: &[&str] = &[
    r#"{"s":"/index","ms":1700000000000}"#,
    r#"{"s":"a","b":true,"i":-12,"l":9223372036854775807,"d":0.25,"n":12.34,"ms":1700000000000,"sec":1700000000}"#,
    r#"{ "t" : "2024-01-01T00:00:15.250Z", "p" : "2024-01-01 00:00:15", "date" : "2024-02-29", "s" : null }"#,
    r#"{"o":{"x":1,"q":{"y":"z"},"u":{}},"u":[1,"\u00e9\ud83d\ude00",{"a":[],"b":null}],"i":7}"#,
    r#"{"o":{"q":{"y":"é€😀\n\\\"","k":1e-3},"x":-9223372036854775808},"s":"long enough for several words at once"}"#,
    r#"{"d":-1.5e300,"n":-0.010,"l":0,"b":false,"s":"","v":-0,"w":[[],{}],"k1":{"k1":1,"k2":2}}"#,
    r#"{"d":"1.5","i":"42","b":"true","s":12,"n":"7","l":"1"}"#,
];

const PIECES: &[&str] = &[
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    " ",
    "\n",
    "\t",
    "0",
    "1",
    "9",
    "-",
    "+",
    ".",
    "e",
    "E",
    "null",
    "true",
    "false",
    "\"s\":",
    "\"l\":1,",
    "\\u0073",
    "\\ud800",
    "\\udc00",
    "\\n",
    "1e5",
    "123456789012345678901234567890",
    "\"\"",
    "{}",
    "\u{1}",
    "\u{7f}",
    "é",
    "\"a\":1",
    "Z",
    "00",
    ".0",
    "x",
    "\u{0}",
];

fn mutate(random: &mut StdRng, value: &mut Vec<u8>) {
    let at = random.random_range(0..=value.len());
    let end = random.random_range(at..=value.len().min(at + 12));
    match random.random_range(0..7) {
        0 if at < value.len() => value[at] ^= 1 << random.random_range(0..8),
        1 if at < value.len() => value[at] = random.random(),
        2 => drop(value.drain(at..end)),
        3 => {
            let copied = value[at..end].to_vec();
            let to = random.random_range(0..=value.len());
            value.splice(to..to, copied);
        }
        4 if random.random_range(0..4) == 0 => value.truncate(at),
        5 => {
            let other = SEEDS[random.random_range(0..SEEDS.len())].as_bytes();
            let from = random.random_range(0..other.len());
            let to = random.random_range(from..=other.len().min(from + 30));
            value.splice(at..end, other[from..to].iter().copied());
        }
        _ => {
            let piece = PIECES[random.random_range(0..PIECES.len())];
            value.splice(at..at, piece.bytes());
        }
    }
}

/// Decodes all values in fetches of 50 with one decoder and compares each record; returns how many became rows.
fn compare(columns: &[ColumnSpec], coerce: bool, values: &[Vec<u8>]) -> usize {
    let mut decoder = JsonDecoder::new(columns, coerce);
    let mut accepted = 0;
    for values in values.chunks(50) {
        let fetch = fetch_of(values.iter().map(|value| Some(value.as_slice())));
        let decoded = decoder.decode(&fetch, 0..fetch.len());
        let (mut row, mut bad) = (0, decoded.bad.iter().peekable());
        for (record, value) in values.iter().enumerate() {
            let found = match bad.next_if(|bad| bad.record as usize == record) {
                Some(bad) => Err(bad.cause),
                None => {
                    assert_eq!(decoded.records[row] as usize, record);
                    row += 1;
                    Ok(cells(&decoded.columns, row - 1))
                }
            };
            assert_eq!(
                found,
                model(columns, coerce, value),
                "{}",
                String::from_utf8_lossy(value)
            );
        }
        assert_eq!((row, bad.next()), (decoded.columns.num_rows(), None));
        accepted += row;
    }
    accepted
}

fn mutated(seed: u64, count: usize) -> Vec<Vec<u8>> {
    let mut random = StdRng::seed_from_u64(seed);
    let one = |_| {
        let mut value = SEEDS[random.random_range(0..SEEDS.len())]
            .as_bytes()
            .to_vec();
        for _ in 0..random.random_range(0..=3) {
            mutate(&mut random, &mut value);
        }
        value
    };
    (0..count).map(one).collect()
}

#[test]
fn mutated_records_are_judged_like_the_independent_reader_judges_them() {
    let accepted = compare(&every_type(), false, &mutated(1, 200_000));
    assert!(
        (20_000..180_000).contains(&accepted),
        "a test of {accepted} rows in 200000 is lopsided"
    );
}

#[test]
fn mutated_records_are_coerced_like_the_rules_say() {
    let mut columns = every_type();
    columns[2].required = true;
    let accepted = compare(&columns, true, &mutated(2, 100_000));
    assert!(
        (5_000..90_000).contains(&accepted),
        "a test of {accepted} rows in 100000 is lopsided"
    );
}

/// An object of up to four members whose keys are drawn from `keys`, now and then twice the same.
fn object(random: &mut StdRng, keys: &[&str]) -> String {
    let mut members = vec![];
    for _ in 0..random.random_range(0..5) {
        let key = keys[random.random_range(0..keys.len())];
        let space = if random.random_range(0..8) == 0 {
            " "
        } else {
            ""
        };
        let value = match key {
            "o" if random.random_range(0..6) > 0 => object(random, &["a", "d", "x", "\\u0061"]),
            _ if random.random_range(0..8) == 0 => "null".to_owned(),
            _ => random.random_range(0..100).to_string(),
        };
        members.push(format!("\"{key}\"{space}:{value}{space}"));
    }
    format!("{{{}}}", members.join(","))
}

#[test]
fn what_was_learned_never_changes_the_result() {
    let mut random = StdRng::seed_from_u64(4);
    let mut columns = vec![
        column("a", ColumnType::Int64),
        column("b", ColumnType::Int64),
        nested("c", &["o", "a"], ColumnType::Int64),
        nested("d", &["o", "d"], ColumnType::Int64),
    ];
    columns[1].required = true;
    let mut accepted = 0;
    for _ in 0..5_000 {
        let one = |_| object(&mut random, &["a", "b", "o", "x", "\\u0062"]).into_bytes();
        let records: Vec<Vec<u8>> = (0..16).map(one).collect();
        accepted += compare(&columns, false, &records);
    }
    assert!(
        (10_000..70_000).contains(&accepted),
        "a test of {accepted} rows in 80000 is lopsided"
    );
}

#[test]
fn arbitrary_bytes_never_panic() {
    let mut random = StdRng::seed_from_u64(3);
    let bytes = |_| {
        let len = random.random_range(0..40);
        let mut value: Vec<u8> = (0..len).map(|_| random.random()).collect();
        if random.random() {
            // Of JSON's own bytes, so that more than the first one is looked at.
            value
                .iter_mut()
                .for_each(|byte| *byte = br#"{}[]":,\us0-.e1tn "#[*byte as usize % 18]);
            value.insert(0, b'{');
        }
        value
    };
    let values: Vec<Vec<u8>> = (0..50_000).map(bytes).collect();
    compare(&every_type(), false, &values);
}
