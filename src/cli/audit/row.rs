//! Input records to rows, strictly and independently of the engine's decoder.
//!
//! Invariant: a record is refused here exactly when `SEMANTICS` of the file's columns say that it is a reject; the
//! wall clock decides nothing here (see [`super::model`] for times that lie ahead).

use super::value::{Exact, Value, ValueKind, parse_date, parse_time};
use crate::spec::{ColumnSpec, ColumnType};
use chrono::{DateTime, NaiveDateTime};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;
use std::collections::HashSet;
use std::fmt;

/// What a column of this type holds.
pub fn kind_of(column: &ColumnType) -> ValueKind {
    match column {
        ColumnType::String => ValueKind::Text,
        ColumnType::Boolean => ValueKind::Bool,
        ColumnType::Int32 | ColumnType::Int64 | ColumnType::Decimal { .. } => ValueKind::Exact,
        ColumnType::Double => ValueKind::Double,
        ColumnType::TimestampMs | ColumnType::TimestampS | ColumnType::Timestamp { .. } => {
            ValueKind::Time
        }
        ColumnType::Date => ValueKind::Date,
    }
}

/// The row of a record.
///
/// # Errors
/// Why the engine must reject the record.
pub fn read(columns: &[ColumnSpec], record: Option<&[u8]>) -> Result<Vec<Value>, String> {
    let bytes = record.ok_or("the value is null")?;
    let document: Json = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
    serde_json::from_slice::<DistinctKeys>(bytes).map_err(|error| error.to_string())?;
    if !document.is_object() {
        return Err("the document is not an object".to_owned());
    }
    columns
        .iter()
        .map(|column| read_column(column, &document))
        .collect()
}

fn read_column(column: &ColumnSpec, document: &Json) -> Result<Value, String> {
    let name = &column.name.value;
    let mut found = Some(document);
    for field in &column.path {
        found = match found {
            Some(Json::Object(fields)) => fields.get(field),
            Some(Json::Null) | None => None,
            Some(_) => {
                return Err(format!(
                    "column {name}: its path leads through something that is no object"
                ));
            }
        };
    }
    match found {
        None | Some(Json::Null) if column.required => Err(format!("column {name} is required")),
        None | Some(Json::Null) => Ok(Value::Null),
        Some(json) => read_value(&column.kind, json)
            .ok_or_else(|| format!("column {name}: {json} is of another type")),
    }
}

fn read_value(kind: &ColumnType, json: &Json) -> Option<Value> {
    match (kind, json) {
        (ColumnType::String, Json::String(text)) => Some(Value::Text(text.clone())),
        (ColumnType::Boolean, Json::Bool(value)) => Some(Value::Bool(*value)),
        (ColumnType::Int32, Json::Number(number)) => number
            .as_str()
            .parse::<i32>()
            .ok()
            .map(|value| Value::integer(value.into())),
        (ColumnType::Int64, Json::Number(number)) => number
            .as_str()
            .parse::<i64>()
            .ok()
            .map(|value| Value::integer(value.into())),
        (ColumnType::Double, Json::Number(number)) => {
            let value: f64 = number.as_str().parse().ok()?;
            value
                .is_finite()
                .then(|| Value::Double(super::value::Double::new(value)))
        }
        (ColumnType::Decimal { precision, scale }, Json::Number(number)) => {
            let exact = Exact::parse(number.as_str())?;
            let scale = u32::try_from(*scale).ok()?;
            let fits =
                exact.scale() <= scale && exact.whole_digits() + scale <= u32::from(*precision);
            fits.then_some(Value::Exact(exact))
        }
        (ColumnType::TimestampMs, Json::Number(number)) => {
            number.as_str().parse().ok().map(Value::time_ms)
        }
        (ColumnType::TimestampS, Json::Number(number)) => number
            .as_str()
            .parse::<i64>()
            .ok()?
            .checked_mul(1000)
            .map(Value::time_ms),
        (ColumnType::Timestamp { pattern }, Json::String(text)) => {
            let us = match pattern {
                None => parse_time(text)?,
                Some(pattern) => parse_pattern(text, pattern)?,
            };
            // Finer fractions than milliseconds are floored.
            Some(Value::Time(us.div_euclid(1000) * 1000))
        }
        (ColumnType::Date, Json::String(text)) => parse_date(text).map(Value::Date),
        _ => None,
    }
}

/// A time by a strftime pattern, in UTC where the pattern has no zone.
fn parse_pattern(text: &str, pattern: &str) -> Option<i128> {
    let utc = match DateTime::parse_from_str(text, pattern) {
        Ok(time) => time.naive_utc(),
        Err(_) => NaiveDateTime::parse_from_str(text, pattern).ok()?,
    };
    let utc = utc.and_utc();
    Some(i128::from(utc.timestamp()) * 1_000_000 + i128::from(utc.timestamp_subsec_micros()))
}

/// Succeeds where no object of the document holds a key twice.
struct DistinctKeys;

impl<'de> Deserialize<'de> for DistinctKeys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DistinctKeys)
    }
}

impl<'de> Visitor<'de> for DistinctKeys {
    type Value = DistinctKeys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a document")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<DistinctKeys>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self, A::Error> {
        let mut keys = HashSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            // serde_json hands a number of any size out as a map with a private key and a text.
            if key == "$serde_json::private::Number" {
                entries.next_value::<IgnoredAny>()?;
            } else {
                entries.next_value::<DistinctKeys>()?;
            }
            if !keys.insert(key) {
                return Err(A::Error::custom("a key stands twice in one object"));
            }
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::audit::testing::column;

    #[test]
    fn rows_and_rejects_are_told_apart() {
        let mut nested = column("who", ColumnType::String);
        nested.path = vec!["user".to_owned(), "name".to_owned()];
        let mut required = column("n", ColumnType::Int64);
        required.required = true;
        let columns = [
            column("t", ColumnType::TimestampMs),
            nested,
            required,
            column(
                "d",
                ColumnType::Decimal {
                    precision: 5,
                    scale: 2,
                },
            ),
        ];
        let good = [
            (
                r#"{"t":1,"n":2,"other":[{"a":1.5}]}"#,
                "1970-01-01T00:00:00.001Z NULL 2 NULL",
            ),
            (
                r#"{"n":-9223372036854775808,"user":{"name":"x"},"d":123.40}"#,
                "NULL x -9223372036854775808 123.4",
            ),
        ];
        for (text, shown) in good {
            let row = read(&columns, Some(text.as_bytes())).unwrap();
            assert_eq!(
                row.iter()
                    .map(ToString::to_string)
                    .collect::<Vec<_>>()
                    .join(" "),
                shown
            );
        }
        let bad = [
            r#"{"t":1}"#,
            r#"{"n":1,"n":1}"#,
            r#"{"n":1,"x":{"a":1,"a":2}}"#,
            r#"{"n":1} {"n":1}"#,
            r#"{"n":1.0}"#,
            r#"{"n":"1"}"#,
            r#"{"n":9223372036854775808}"#,
            r#"{"n":1,"d":0.001}"#,
            r#"{"n":1,"d":1234}"#,
            r#"{"n":1,"t":1.5}"#,
            r#"{"n":1,"user":3}"#,
            r#"{"n":1"#,
            "[1]",
            "",
        ];
        for text in bad {
            assert!(read(&columns, Some(text.as_bytes())).is_err(), "{text}");
        }
        assert!(read(&columns, None).is_err());
        assert!(read(&columns, Some(b"{\"n\":1,\"user\":{\"name\":\"\xff\"}}")).is_err());
    }

    #[test]
    fn times_as_text_are_floored_to_milliseconds() {
        let columns = [column("t", ColumnType::Timestamp { pattern: None })];
        let row = read(&columns, Some(br#"{"t":"1970-01-01T00:00:01.0019+00:00"}"#)).unwrap();
        assert_eq!(row, [Value::time_ms(1001)]);
        let pattern = ColumnType::Timestamp {
            pattern: Some("%d.%m.%Y %H:%M:%S".to_owned()),
        };
        let row = read(
            &[column("t", pattern)],
            Some(br#"{"t":"02.01.1970 00:00:00"}"#),
        )
        .unwrap();
        assert_eq!(row, [Value::time_ms(86_400_000)]);
    }
}
