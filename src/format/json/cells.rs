//! The cells of one Arrow array as JSON values.
//!
//! Invariant: whatever the array holds, what is written is one JSON value: NULL, NaN and the infinities are `null`.
//! The array's type is looked at once per batch, not once per row. What a row is made of is not known here.

use super::escape::{write_part, write_string};
use super::time::{write_date, write_time, write_timestamp};
use crate::spec::TimestampFormat;
use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, BooleanArray, LargeStringArray, StringViewArray};
use arrow_buffer::NullBuffer;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::{DataType, TimeUnit};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// How values are written that JSON has no form of its own for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    pub timestamps: TimestampFormat,
    pub decimals_as_string: bool,
}

/// The cells of one array.
pub(super) struct Cells<'a> {
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
}

enum Values<'a> {
    Null,
    Boolean(&'a BooleanArray),
    Int8(&'a [i8]),
    Int16(&'a [i16]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    UInt8(&'a [u8]),
    UInt16(&'a [u16]),
    UInt32(&'a [u32]),
    UInt64(&'a [u64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    Decimal {
        values: &'a [i128],
        scale: i8,
        quoted: bool,
    },
    Utf8 {
        ends: &'a [i32],
        data: &'a [u8],
    },
    LargeUtf8(&'a LargeStringArray),
    Utf8View(&'a StringViewArray),
    Binary(Box<dyn Fn(usize) -> &'a [u8] + 'a>),
    Date32(&'a [i32]),
    Date64(&'a [i64]),
    IsoTime {
        values: &'a [i64],
        per_second: i64,
    },
    EpochMs {
        values: &'a [i64],
        per_second: i64,
    },
    Time32 {
        values: &'a [i32],
        per_second: i64,
    },
    Time64 {
        values: &'a [i64],
        per_second: i64,
    },
    List {
        offsets: &'a [i32],
        items: Box<Cells<'a>>,
    },
    LargeList {
        offsets: &'a [i64],
        items: Box<Cells<'a>>,
    },
    /// Each field's value with what stands before it, `{` or `,` included.
    Struct(Vec<(Vec<u8>, Cells<'a>)>),
    /// Any other type, as the text that Arrow shows.
    Other(ArrayFormatter<'a>),
}

fn per_second(unit: &TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

/// What stands before the value of each field of an object with these names.
pub(super) fn prefixes<'n>(names: impl Iterator<Item = &'n str>) -> Vec<Vec<u8>> {
    let prefix = |(index, name): (usize, &str)| {
        let mut prefix = vec![if index == 0 { b'{' } else { b',' }];
        write_string(name.as_bytes(), &mut prefix);
        prefix.push(b':');
        prefix
    };
    names.enumerate().map(prefix).collect()
}

impl<'a> Cells<'a> {
    pub fn new(array: &'a dyn Array, style: Style) -> Self {
        Cells {
            nulls: array.nulls(),
            values: Values::new(array, style),
        }
    }

    #[inline]
    pub fn is_null(&self, row: usize) -> bool {
        self.nulls.is_some_and(|nulls| nulls.is_null(row)) || matches!(self.values, Values::Null)
    }

    /// Appends the value of `row`.
    #[inline]
    pub fn write(&self, row: usize, out: &mut Vec<u8>) {
        if self.is_null(row) {
            out.extend_from_slice(b"null");
            return;
        }
        match &self.values {
            Values::Int64(values) => write_integer(values[row], out),
            Values::Utf8 { ends, data } => {
                write_part(data, ends[row] as usize, ends[row + 1] as usize, out)
            }
            Values::IsoTime { values, per_second } => write_iso(values[row], *per_second, out),
            Values::EpochMs { values, per_second } => write_epoch_ms(values[row], *per_second, out),
            Values::Float64(values) => write_double(values[row], out),
            _ => self.write_other(row, out),
        }
    }

    fn write_other(&self, row: usize, out: &mut Vec<u8>) {
        match &self.values {
            Values::Boolean(array) => {
                out.extend_from_slice(if array.value(row) { b"true" } else { b"false" })
            }
            Values::Int8(values) => write_integer(values[row], out),
            Values::Int16(values) => write_integer(values[row], out),
            Values::Int32(values) => write_integer(values[row], out),
            Values::UInt8(values) => write_integer(values[row], out),
            Values::UInt16(values) => write_integer(values[row], out),
            Values::UInt32(values) => write_integer(values[row], out),
            Values::UInt64(values) => write_integer(values[row], out),
            Values::Float32(values) => write_float(values[row], out),
            Values::Decimal {
                values,
                scale,
                quoted,
            } => write_decimal(values[row], *scale, *quoted, out),
            Values::LargeUtf8(array) => write_string(array.value(row).as_bytes(), out),
            Values::Utf8View(array) => write_string(array.value(row).as_bytes(), out),
            Values::Binary(value) => write_string(STANDARD.encode(value(row)).as_bytes(), out),
            Values::Date32(values) => quoted(out, |out| write_date(values[row] as i64, out)),
            Values::Date64(values) => quoted(out, |out| {
                write_date(values[row].div_euclid(86_400_000), out)
            }),
            Values::Time32 { values, per_second } => {
                write_clock(values[row] as i64, *per_second, out)
            }
            Values::Time64 { values, per_second } => write_clock(values[row], *per_second, out),
            Values::List { offsets, items } => {
                items.write_list(offsets[row] as usize, offsets[row + 1] as usize, out)
            }
            Values::LargeList { offsets, items } => {
                items.write_list(offsets[row] as usize, offsets[row + 1] as usize, out);
            }
            Values::Struct(fields) => {
                for (prefix, cells) in fields {
                    out.extend_from_slice(prefix);
                    cells.write(row, out);
                }
                out.extend_from_slice(if fields.is_empty() { b"{}" } else { b"}" });
            }
            Values::Other(formatter) => {
                write_string(formatter.value(row).to_string().as_bytes(), out)
            }
            _ => out.extend_from_slice(b"null"),
        }
    }

    /// The bytes of a text cell that is not NULL; `None` for other types.
    pub fn text(&self, row: usize) -> Option<&'a [u8]> {
        match &self.values {
            Values::Utf8 { ends, data } => Some(&data[ends[row] as usize..ends[row + 1] as usize]),
            Values::LargeUtf8(array) => Some(array.value(row).as_bytes()),
            Values::Utf8View(array) => Some(array.value(row).as_bytes()),
            _ => None,
        }
    }

    fn write_list(&self, start: usize, end: usize, out: &mut Vec<u8>) {
        out.push(b'[');
        for row in start..end {
            if row > start {
                out.push(b',');
            }
            self.write(row, out);
        }
        out.push(b']');
    }
}

impl<'a> Values<'a> {
    fn new(array: &'a dyn Array, style: Style) -> Self {
        match array.data_type() {
            DataType::Null => Values::Null,
            DataType::Boolean => Values::Boolean(array.as_boolean()),
            DataType::Int8 => Values::Int8(array.as_primitive::<Int8Type>().values()),
            DataType::Int16 => Values::Int16(array.as_primitive::<Int16Type>().values()),
            DataType::Int32 => Values::Int32(array.as_primitive::<Int32Type>().values()),
            DataType::Int64 => Values::Int64(array.as_primitive::<Int64Type>().values()),
            DataType::UInt8 => Values::UInt8(array.as_primitive::<UInt8Type>().values()),
            DataType::UInt16 => Values::UInt16(array.as_primitive::<UInt16Type>().values()),
            DataType::UInt32 => Values::UInt32(array.as_primitive::<UInt32Type>().values()),
            DataType::UInt64 => Values::UInt64(array.as_primitive::<UInt64Type>().values()),
            DataType::Float32 => Values::Float32(array.as_primitive::<Float32Type>().values()),
            DataType::Float64 => Values::Float64(array.as_primitive::<Float64Type>().values()),
            DataType::Decimal128(_, scale) => Values::Decimal {
                values: array.as_primitive::<Decimal128Type>().values(),
                scale: *scale,
                quoted: style.decimals_as_string,
            },
            DataType::Utf8 => {
                let text = array.as_string::<i32>();
                Values::Utf8 {
                    ends: text.value_offsets(),
                    data: text.value_data(),
                }
            }
            DataType::LargeUtf8 => Values::LargeUtf8(array.as_string()),
            DataType::Utf8View => Values::Utf8View(array.as_string_view()),
            DataType::List(_) => {
                let list = array.as_list::<i32>();
                let items = Box::new(Cells::new(list.values().as_ref(), style));
                Values::List {
                    offsets: list.value_offsets(),
                    items,
                }
            }
            DataType::LargeList(_) => {
                let list = array.as_list::<i64>();
                let items = Box::new(Cells::new(list.values().as_ref(), style));
                Values::LargeList {
                    offsets: list.value_offsets(),
                    items,
                }
            }
            DataType::Struct(fields) => {
                let prefixes = prefixes(fields.iter().map(|field| field.name().as_str()));
                let columns = array
                    .as_struct()
                    .columns()
                    .iter()
                    .map(|column| Cells::new(column.as_ref(), style));
                Values::Struct(prefixes.into_iter().zip(columns).collect())
            }
            _ => Self::temporal(array, style)
                .or_else(|| Self::binary(array))
                .unwrap_or_else(|| Self::other(array)),
        }
    }

    fn temporal(array: &'a dyn Array, style: Style) -> Option<Self> {
        Some(match array.data_type() {
            DataType::Timestamp(unit, _) => {
                let values: &[i64] = match unit {
                    TimeUnit::Second => array.as_primitive::<TimestampSecondType>().values(),
                    TimeUnit::Millisecond => {
                        array.as_primitive::<TimestampMillisecondType>().values()
                    }
                    TimeUnit::Microsecond => {
                        array.as_primitive::<TimestampMicrosecondType>().values()
                    }
                    TimeUnit::Nanosecond => {
                        array.as_primitive::<TimestampNanosecondType>().values()
                    }
                };
                let per_second = per_second(unit);
                match style.timestamps {
                    TimestampFormat::Iso => Values::IsoTime { values, per_second },
                    TimestampFormat::EpochMs => Values::EpochMs { values, per_second },
                }
            }
            DataType::Date32 => Values::Date32(array.as_primitive::<Date32Type>().values()),
            DataType::Date64 => Values::Date64(array.as_primitive::<Date64Type>().values()),
            DataType::Time32(unit) => {
                let values: &[i32] = match unit {
                    TimeUnit::Second => array.as_primitive::<Time32SecondType>().values(),
                    _ => array.as_primitive::<Time32MillisecondType>().values(),
                };
                Values::Time32 {
                    values,
                    per_second: per_second(unit),
                }
            }
            DataType::Time64(unit) => {
                let values: &[i64] = match unit {
                    TimeUnit::Microsecond => array.as_primitive::<Time64MicrosecondType>().values(),
                    _ => array.as_primitive::<Time64NanosecondType>().values(),
                };
                Values::Time64 {
                    values,
                    per_second: per_second(unit),
                }
            }
            _ => return None,
        })
    }

    fn binary(array: &'a dyn Array) -> Option<Self> {
        Some(Values::Binary(match array.data_type() {
            DataType::Binary => {
                let array = array.as_binary::<i32>();
                Box::new(move |row| array.value(row))
            }
            DataType::LargeBinary => {
                let array = array.as_binary::<i64>();
                Box::new(move |row| array.value(row))
            }
            DataType::BinaryView => {
                let array = array.as_binary_view();
                Box::new(move |row| array.value(row))
            }
            DataType::FixedSizeBinary(_) => {
                let array = array.as_fixed_size_binary();
                Box::new(move |row| array.value(row))
            }
            _ => return None,
        }))
    }

    fn other(array: &'a dyn Array) -> Self {
        ArrayFormatter::try_new(array, &FormatOptions::new()).map_or(Values::Null, Values::Other)
    }
}

#[inline]
fn write_integer(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn write_double(value: f64, out: &mut Vec<u8>) {
    let mut buffer = ryu::Buffer::new();
    let text = if value.is_finite() {
        // There is one zero: -0.0 + 0.0 is 0.0.
        buffer.format_finite(value + 0.0)
    } else {
        "null"
    };
    out.extend_from_slice(text.as_bytes());
}

fn write_float(value: f32, out: &mut Vec<u8>) {
    let mut buffer = ryu::Buffer::new();
    let text = if value.is_finite() {
        // As for doubles.
        buffer.format_finite(value + 0.0)
    } else {
        "null"
    };
    out.extend_from_slice(text.as_bytes());
}

fn write_decimal(unscaled: i128, scale: i8, as_string: bool, out: &mut Vec<u8>) {
    if as_string {
        return quoted(out, |out| write_decimal(unscaled, scale, false, out));
    }
    if unscaled < 0 {
        out.push(b'-');
    }
    let mut buffer = itoa::Buffer::new();
    let digits = buffer.format(unscaled.unsigned_abs()).as_bytes();
    let places = scale.unsigned_abs() as usize;
    if scale <= 0 {
        out.extend_from_slice(digits);
        if unscaled != 0 {
            out.resize(out.len() + places, b'0');
        }
        return;
    }
    if digits.len() > places {
        let (whole, fraction) = digits.split_at(digits.len() - places);
        out.extend_from_slice(whole);
        out.push(b'.');
        out.extend_from_slice(fraction);
        return;
    }
    out.extend_from_slice(b"0.");
    out.resize(out.len() + places - digits.len(), b'0');
    out.extend_from_slice(digits);
}

#[inline]
fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

#[inline]
fn write_iso(value: i64, per_second: i64, out: &mut Vec<u8>) {
    quoted(out, |out| write_timestamp(value, per_second, out));
}

/// Milliseconds since 1970, finer units floored.
fn write_epoch_ms(value: i64, per_second: i64, out: &mut Vec<u8>) {
    match per_second {
        1000 => write_integer(value, out),
        _ => write_integer((value as i128 * 1000).div_euclid(per_second as i128), out),
    }
}

fn write_clock(value: i64, per_second: i64, out: &mut Vec<u8>) {
    let nanos = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
    quoted(out, |out| {
        write_time(value.div_euclid(per_second).rem_euclid(86_400), nanos, out)
    });
}
