//! One declared column: from the value in the record to a typed vector, and from the vector to an Arrow array.
//!
//! Invariant: a value that the column refuses leaves it as it was; `truncate` takes back a whole row. Each column
//! holds one value per finished row. Which key belongs to which column is not known here.

use super::number::Number;
use super::reader::{Fault, Reader};
use super::skip::{Keys, skip};
use super::time::{Pattern, parse_date, parse_timestamp};
use crate::spec::{ColumnSpec, ColumnType};
use arrow_array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array,
    StringArray, TimestampMillisecondArray,
};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder, Buffer, NullBuffer, OffsetBuffer};
use arrow_schema::{DataType, TimeUnit};
use std::mem::take;
use std::sync::Arc;

/// What the columns of one decoder share while a record is read.
#[derive(Default)]
pub(super) struct Session {
    pub coerce: bool,
    /// The first value of the record that its column refused.
    pub refused: Option<String>,
    pub keys: Keys,
    pub scratch: Vec<u8>,
}

/// The values of a column; the variant says how they are read.
enum Values {
    /// `ends[i]..ends[i + 1]` of `data` is row `i`.
    Text {
        ends: Vec<i32>,
        data: Vec<u8>,
    },
    Boolean(Vec<bool>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Double(Vec<f64>),
    Decimal {
        values: Vec<i128>,
        precision: u8,
        scale: i8,
    },
    /// Times are milliseconds since 1970, however they are written.
    Millis(Vec<i64>),
    Seconds(Vec<i64>),
    Rfc3339(Vec<i64>),
    Pattern {
        values: Vec<i64>,
        pattern: Pattern,
    },
    /// Days since 1970.
    Date(Vec<i32>),
}

pub(super) struct Column {
    pub name: String,
    pub required: bool,
    values: Values,
    /// Rows whose value is NULL, ascending.
    nulls: Vec<u32>,
    /// Rows held.
    pub rows: u32,
}

/// The Arrow type that values of `kind` are decoded into.
pub(super) fn data_type(kind: &ColumnType) -> DataType {
    match kind {
        ColumnType::String => DataType::Utf8,
        ColumnType::Boolean => DataType::Boolean,
        ColumnType::Int32 => DataType::Int32,
        ColumnType::Int64 => DataType::Int64,
        ColumnType::Double => DataType::Float64,
        ColumnType::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale),
        ColumnType::TimestampMs | ColumnType::TimestampS | ColumnType::Timestamp { .. } => {
            DataType::Timestamp(TimeUnit::Millisecond, None)
        }
        ColumnType::Date => DataType::Date32,
    }
}

impl Column {
    pub fn new(spec: &ColumnSpec) -> Self {
        let values = match &spec.kind {
            ColumnType::String => Values::Text {
                ends: vec![0],
                data: vec![],
            },
            ColumnType::Boolean => Values::Boolean(vec![]),
            ColumnType::Int32 => Values::Int32(vec![]),
            ColumnType::Int64 => Values::Int64(vec![]),
            ColumnType::Double => Values::Double(vec![]),
            ColumnType::Decimal { precision, scale } => Values::Decimal {
                values: vec![],
                precision: *precision,
                scale: *scale,
            },
            ColumnType::TimestampMs => Values::Millis(vec![]),
            ColumnType::TimestampS => Values::Seconds(vec![]),
            ColumnType::Timestamp { pattern: None } => Values::Rfc3339(vec![]),
            ColumnType::Timestamp {
                pattern: Some(pattern),
            } => Values::Pattern {
                values: vec![],
                pattern: Pattern::new(pattern),
            },
            ColumnType::Date => Values::Date(vec![]),
        };
        Column {
            name: spec.name.value.clone(),
            required: spec.required,
            values,
            nulls: vec![],
            rows: 0,
        }
    }

    /// Makes room for `rows` more rows.
    pub fn reserve(&mut self, rows: usize) {
        match &mut self.values {
            Values::Text { ends, data } => {
                ends.reserve(rows);
                data.reserve(rows * 8);
            }
            Values::Boolean(values) => values.reserve(rows),
            Values::Int32(values) | Values::Date(values) => values.reserve(rows),
            Values::Int64(values)
            | Values::Millis(values)
            | Values::Seconds(values)
            | Values::Rfc3339(values)
            | Values::Pattern { values, .. } => values.reserve(rows),
            Values::Double(values) => values.reserve(rows),
            Values::Decimal { values, .. } => values.reserve(rows),
        }
    }

    /// Reads the value at `input`, which lies inside `depth` objects. A null is read and nothing is stored: what is
    /// still missing when the record ends becomes NULL. A value of another type is noted in the session.
    #[inline(always)]
    pub fn read(
        &mut self,
        input: &mut Reader<'_>,
        depth: u32,
        session: &mut Session,
    ) -> Result<(), Fault> {
        let first = input.peek();
        if first == b'"'
            && let Values::Text { ends, data } = &mut self.values
        {
            input.string_into(data)?;
            ends.push(data.len() as i32);
            self.rows += 1;
            return Ok(());
        }
        if let Values::Int64(values) | Values::Millis(values) = &mut self.values
            && let Some(value) = input.short_integer()
        {
            values.push(value);
            self.rows += 1;
            return Ok(());
        }
        if first == b'n' {
            return input.literal(b"null");
        }
        input.aside(|input| self.read_other(first, input, depth, session))
    }

    /// What the usual path leaves over.
    #[inline(never)]
    fn read_other(
        &mut self,
        first: u8,
        input: &mut Reader<'_>,
        depth: u32,
        session: &mut Session,
    ) -> Result<(), Fault> {
        let start = input.pos;
        if self.store(first, input, session)? {
            self.rows += 1;
            return Ok(());
        }
        input.pos = start;
        self.refuse(input, depth, session)
    }

    #[cold]
    fn refuse(
        &self,
        input: &mut Reader<'_>,
        depth: u32,
        session: &mut Session,
    ) -> Result<(), Fault> {
        let start = input.pos;
        skip(input, depth, &mut session.keys, &mut session.scratch)?;
        if session.refused.is_none() {
            let found = describe(&input.bytes[start..input.pos]);
            session.refused = Some(format!(
                "column `{}`: expected {}, found {found}",
                self.name,
                self.expected()
            ));
        }
        Ok(())
    }

    /// Stores the value if it is of the column's type.
    fn store(
        &mut self,
        first: u8,
        input: &mut Reader<'_>,
        session: &mut Session,
    ) -> Result<bool, Fault> {
        Ok(match &mut self.values {
            Values::Text { ends, data } => {
                if !session.coerce || !starts_number(first) {
                    return Ok(false);
                }
                data.extend_from_slice(input.number()?.literal);
                ends.push(data.len() as i32);
                true
            }
            Values::Boolean(values) => push(values, boolean(first, input, session)?),
            Values::Int64(values) | Values::Millis(values) => push(
                values,
                number(first, input, session, |number| number.to_i64())?,
            ),
            Values::Int32(values) => {
                let narrow = |number: &Number<'_>| {
                    number.to_i64().and_then(|value| i32::try_from(value).ok())
                };
                push(values, number(first, input, session, narrow)?)
            }
            Values::Seconds(values) => {
                let to_millis = |number: &Number<'_>| {
                    number
                        .to_i64()
                        .and_then(|seconds| seconds.checked_mul(1000))
                };
                push(values, number(first, input, session, to_millis)?)
            }
            Values::Double(values) => push(
                values,
                number(first, input, session, |number| number.to_f64())?,
            ),
            Values::Decimal {
                values,
                precision,
                scale,
            } => {
                let convert = |number: &Number<'_>| number.to_decimal(*precision, *scale);
                push(values, number(first, input, session, convert)?)
            }
            Values::Rfc3339(values) => push(values, text(first, input, session, parse_timestamp)?),
            Values::Pattern { values, pattern } => push(
                values,
                text(first, input, session, |text| pattern.parse(text))?,
            ),
            Values::Date(values) => push(values, text(first, input, session, parse_date)?),
        })
    }

    pub fn push_null(&mut self) {
        match &mut self.values {
            Values::Text { ends, data } => ends.push(data.len() as i32),
            Values::Boolean(values) => values.push(false),
            Values::Int32(values) | Values::Date(values) => values.push(0),
            Values::Int64(values)
            | Values::Millis(values)
            | Values::Seconds(values)
            | Values::Rfc3339(values)
            | Values::Pattern { values, .. } => values.push(0),
            Values::Double(values) => values.push(0.0),
            Values::Decimal { values, .. } => values.push(0),
        }
        self.nulls.push(self.rows);
        self.rows += 1;
    }

    /// Takes everything after the first `rows` rows back, a value that was cut off by a fault included.
    pub fn truncate(&mut self, rows: u32) {
        let len = rows as usize;
        match &mut self.values {
            Values::Text { ends, data } => {
                ends.truncate(len + 1);
                data.truncate(ends.last().map_or(0, |end| *end as usize));
            }
            Values::Boolean(values) => values.truncate(len),
            Values::Int32(values) | Values::Date(values) => values.truncate(len),
            Values::Int64(values)
            | Values::Millis(values)
            | Values::Seconds(values)
            | Values::Rfc3339(values)
            | Values::Pattern { values, .. } => values.truncate(len),
            Values::Double(values) => values.truncate(len),
            Values::Decimal { values, .. } => values.truncate(len),
        }
        while self.nulls.last().is_some_and(|row| *row >= rows) {
            self.nulls.pop();
        }
        self.rows = rows;
    }

    /// The rows as an array; the column is empty afterwards.
    pub fn take(&mut self) -> ArrayRef {
        let rows = take(&mut self.rows) as usize;
        let nulls = (!self.nulls.is_empty()).then(|| {
            let mut valid = BooleanBufferBuilder::new(rows);
            valid.append_n(rows, true);
            self.nulls
                .drain(..)
                .for_each(|row| valid.set_bit(row as usize, false));
            NullBuffer::new(valid.finish())
        });
        match &mut self.values {
            Values::Text { ends, data } => {
                let ends = OffsetBuffer::new(std::mem::replace(ends, vec![0]).into());
                Arc::new(StringArray::new(ends, Buffer::from_vec(take(data)), nulls))
            }
            Values::Boolean(values) => {
                Arc::new(BooleanArray::new(BooleanBuffer::from(take(values)), nulls))
            }
            Values::Int32(values) => Arc::new(Int32Array::new(take(values).into(), nulls)),
            Values::Int64(values) => Arc::new(Int64Array::new(take(values).into(), nulls)),
            Values::Double(values) => Arc::new(Float64Array::new(take(values).into(), nulls)),
            Values::Decimal {
                values,
                precision,
                scale,
            } => {
                let unscaled = Decimal128Array::new(take(values).into(), nulls);
                Arc::new(unscaled.with_data_type(DataType::Decimal128(*precision, *scale)))
            }
            Values::Millis(values)
            | Values::Seconds(values)
            | Values::Rfc3339(values)
            | Values::Pattern { values, .. } => {
                Arc::new(TimestampMillisecondArray::new(take(values).into(), nulls))
            }
            Values::Date(values) => Arc::new(Date32Array::new(take(values).into(), nulls)),
        }
    }

    fn expected(&self) -> String {
        match &self.values {
            Values::Text { .. } => "text".to_owned(),
            Values::Boolean(_) => "true or false".to_owned(),
            Values::Int32(_) => "an integer of 32 bits".to_owned(),
            Values::Int64(_) => "an integer of 64 bits".to_owned(),
            Values::Double(_) => "a double".to_owned(),
            Values::Decimal {
                precision, scale, ..
            } => format!("a decimal({precision},{scale})"),
            Values::Millis(_) => "an integer (milliseconds since 1970)".to_owned(),
            Values::Seconds(_) => "an integer (seconds since 1970)".to_owned(),
            Values::Rfc3339(_) => "an RFC 3339 time".to_owned(),
            Values::Pattern { pattern, .. } => {
                format!("a time of the strftime pattern `{}`", pattern.text)
            }
            Values::Date(_) => "a date YYYY-MM-DD".to_owned(),
        }
    }
}

fn push<T>(values: &mut Vec<T>, value: Option<T>) -> bool {
    let Some(value) = value else { return false };
    values.push(value);
    true
}

fn starts_number(first: u8) -> bool {
    first == b'-' || first.is_ascii_digit()
}

/// Reads a number, under `coerce` also from text, and converts it. `None`: not a number, or it does not fit.
fn number<T>(
    first: u8,
    input: &mut Reader<'_>,
    session: &mut Session,
    convert: impl Fn(&Number<'_>) -> Option<T>,
) -> Result<Option<T>, Fault> {
    if starts_number(first) {
        return Ok(convert(&input.number()?));
    }
    if first != b'"' || !session.coerce {
        return Ok(None);
    }
    session.scratch.clear();
    input.string_into(&mut session.scratch)?;
    let mut inner = Reader::new(&session.scratch);
    Ok(inner
        .number()
        .ok()
        .filter(|_| inner.at_end())
        .and_then(|number| convert(&number)))
}

/// Reads a boolean; under `coerce` also the texts true and false, in capital letters too.
fn boolean(
    first: u8,
    input: &mut Reader<'_>,
    session: &mut Session,
) -> Result<Option<bool>, Fault> {
    match first {
        b't' => input.literal(b"true").map(|()| Some(true)),
        b'f' => input.literal(b"false").map(|()| Some(false)),
        b'"' if session.coerce => text(first, input, session, |text| match text {
            _ if text.eq_ignore_ascii_case(b"true") => Some(true),
            _ if text.eq_ignore_ascii_case(b"false") => Some(false),
            _ => None,
        }),
        _ => Ok(None),
    }
}

/// Reads text and converts it. `None`: not text, or it does not fit.
fn text<T>(
    first: u8,
    input: &mut Reader<'_>,
    session: &mut Session,
    convert: impl Fn(&[u8]) -> Option<T>,
) -> Result<Option<T>, Fault> {
    if first != b'"' {
        return Ok(None);
    }
    let text = input.string()?;
    if !text.escaped {
        return Ok(convert(text.raw));
    }
    session.scratch.clear();
    input.unescape(text, &mut session.scratch)?;
    Ok(convert(&session.scratch))
}

/// A well-formed value in words, cut where it is long.
pub(super) fn describe(value: &[u8]) -> String {
    const SHOWN: usize = 48;
    let kind = match value.first() {
        Some(b'"') => "text",
        Some(b't' | b'f') => "boolean",
        Some(b'{') => return "an object".to_owned(),
        Some(b'[') => return "an array".to_owned(),
        _ => "number",
    };
    let text = String::from_utf8_lossy(value);
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{kind} {}…", &text[..end]),
        None => format!("{kind} {text}"),
    }
}
