//! Group keys as bytes: an order-preserving encoding of our own, version 1.
//!
//! Invariant: comparing two encoded keys byte by byte is comparing their values column by column: NULL first, numbers
//! by value, text by code point, false before true. Equal values have equal bytes (−0.0 is 0.0, all NaN are one and
//! sort last), and no key is the beginning of another one, so a key can be followed by anything. The bytes are
//! persisted and decide partitions: they change only with [`VERSION`]. This file knows nothing of windows.
//!
//! Each column is one marker byte (0 = NULL, 1 = a value follows; booleans: 1 = false, 2 = true) and its value:
//! integers and decimals big-endian with the sign bit flipped, floats as their order-preserving bits, text as its
//! bytes with 00 and 01 escaped as `01 01` and `01 02`, ended by 00.

mod decode;
mod ordered;
#[cfg(test)]
mod tests;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, BooleanArray, StringViewArray};
use arrow_buffer::NullBuffer;
use arrow_schema::{DataType, TimeUnit};
use ordered::{Ordered, put_text};

/// Version of the encoding; stores and blocks that hold keys carry a version of their own, which changes with it.
pub const VERSION: u8 = 1;

pub(crate) const NULL: u8 = 0;
pub(crate) const VALUE: u8 = 1;
pub(crate) const TRUE: u8 = 2;

/// A type that cannot be part of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a column of type {0} cannot be part of a key")]
pub struct UnsupportedKey(pub DataType);

/// Encodes and decodes keys of fixed column types.
#[derive(Debug, Clone)]
pub struct KeyEncoder {
    types: Vec<DataType>,
}

impl KeyEncoder {
    /// # Errors
    /// Names the first type that cannot be part of a key.
    pub fn new(types: &[DataType]) -> Result<Self, UnsupportedKey> {
        match types.iter().find(|t| !supported(t)) {
            Some(unsupported) => Err(UnsupportedKey(unsupported.clone())),
            None => Ok(KeyEncoder {
                types: types.to_vec(),
            }),
        }
    }

    pub fn types(&self) -> &[DataType] {
        &self.types
    }

    /// Looks into the columns once per batch.
    ///
    /// # Panics
    /// If the columns do not have the encoder's types: the plan is wrong, not the data.
    pub fn bind<'a>(&'a self, columns: &'a [ArrayRef]) -> BoundKeys<'a> {
        assert_eq!(columns.len(), self.types.len(), "key columns");
        BoundKeys {
            columns: columns
                .iter()
                .zip(&self.types)
                .map(|(c, t)| Column::bind(c, t))
                .collect(),
        }
    }

    /// Decodes keys to columns of exactly the encoder's types. `n` is how many are expected.
    ///
    /// # Errors
    /// Damaged where a key was not encoded with these types.
    pub fn decode<'k>(
        &self,
        keys: impl Iterator<Item = &'k [u8]>,
        n: usize,
    ) -> super::Result<Vec<ArrayRef>> {
        decode::decode(&self.types, keys, n)
    }
}

/// The key columns of one batch.
pub struct BoundKeys<'a> {
    columns: Vec<Column<'a>>,
}

impl BoundKeys<'_> {
    /// Appends the key of row `row` to `out`.
    #[inline]
    pub fn encode(&self, row: usize, out: &mut Vec<u8>) {
        for column in &self.columns {
            column.encode(row, out);
        }
    }
}

struct Column<'a> {
    /// Absent where no row is NULL.
    nulls: Option<&'a NullBuffer>,
    values: Values<'a>,
}

enum Values<'a> {
    Bool(&'a BooleanArray),
    I8(&'a [i8]),
    I16(&'a [i16]),
    I32(&'a [i32]),
    I64(&'a [i64]),
    I128(&'a [i128]),
    U8(&'a [u8]),
    U16(&'a [u16]),
    U32(&'a [u32]),
    U64(&'a [u64]),
    F32(&'a [f32]),
    F64(&'a [f64]),
    Bytes(&'a [i32], &'a [u8]),
    LargeBytes(&'a [i64], &'a [u8]),
    TextView(&'a StringViewArray),
}

impl<'a> Column<'a> {
    fn bind(array: &'a ArrayRef, data_type: &DataType) -> Self {
        Column {
            nulls: array.nulls().filter(|n| n.null_count() > 0),
            values: Values::bind(array, data_type),
        }
    }

    #[inline]
    fn encode(&self, row: usize, out: &mut Vec<u8>) {
        if let Some(nulls) = self.nulls
            && nulls.is_null(row)
        {
            out.push(NULL);
            return;
        }
        match self.values {
            Values::I64(v) => v[row].put(out),
            Values::Bytes(ends, data) => {
                put_text(&data[ends[row] as usize..ends[row + 1] as usize], out)
            }
            Values::LargeBytes(ends, data) => {
                put_text(&data[ends[row] as usize..ends[row + 1] as usize], out)
            }
            Values::TextView(v) => put_text(v.value(row).as_bytes(), out),
            Values::Bool(v) => out.push(if v.value(row) { TRUE } else { VALUE }),
            Values::I8(v) => v[row].put(out),
            Values::I16(v) => v[row].put(out),
            Values::I32(v) => v[row].put(out),
            Values::I128(v) => v[row].put(out),
            Values::U8(v) => v[row].put(out),
            Values::U16(v) => v[row].put(out),
            Values::U32(v) => v[row].put(out),
            Values::U64(v) => v[row].put(out),
            Values::F32(v) => v[row].put(out),
            Values::F64(v) => v[row].put(out),
        }
    }
}

fn supported(data_type: &DataType) -> bool {
    use DataType as D;
    match data_type {
        D::Boolean
        | D::Int8
        | D::Int16
        | D::Int32
        | D::Int64
        | D::UInt8
        | D::UInt16
        | D::UInt32
        | D::UInt64 => true,
        D::Float32 | D::Float64 | D::Decimal128(..) | D::Date32 | D::Date64 | D::Timestamp(..) => {
            true
        }
        D::Utf8 | D::LargeUtf8 | D::Utf8View | D::Binary => true,
        D::Time32(unit) => matches!(unit, TimeUnit::Second | TimeUnit::Millisecond),
        D::Time64(unit) => matches!(unit, TimeUnit::Microsecond | TimeUnit::Nanosecond),
        _ => false,
    }
}

impl<'a> Values<'a> {
    fn bind(array: &'a ArrayRef, data_type: &DataType) -> Self {
        use DataType as D;
        match data_type {
            D::Boolean => Values::Bool(array.as_boolean()),
            D::Int8 => Values::I8(array.as_primitive::<Int8Type>().values()),
            D::Int16 => Values::I16(array.as_primitive::<Int16Type>().values()),
            D::Int32 => Values::I32(array.as_primitive::<Int32Type>().values()),
            D::Int64 => Values::I64(array.as_primitive::<Int64Type>().values()),
            D::UInt8 => Values::U8(array.as_primitive::<UInt8Type>().values()),
            D::UInt16 => Values::U16(array.as_primitive::<UInt16Type>().values()),
            D::UInt32 => Values::U32(array.as_primitive::<UInt32Type>().values()),
            D::UInt64 => Values::U64(array.as_primitive::<UInt64Type>().values()),
            D::Float32 => Values::F32(array.as_primitive::<Float32Type>().values()),
            D::Float64 => Values::F64(array.as_primitive::<Float64Type>().values()),
            D::Decimal128(..) => Values::I128(array.as_primitive::<Decimal128Type>().values()),
            D::Utf8 => {
                let text = array.as_string::<i32>();
                Values::Bytes(text.value_offsets(), text.value_data())
            }
            D::LargeUtf8 => {
                let text = array.as_string::<i64>();
                Values::LargeBytes(text.value_offsets(), text.value_data())
            }
            D::Utf8View => Values::TextView(array.as_string_view()),
            D::Binary => {
                let bytes = array.as_binary::<i32>();
                Values::Bytes(bytes.value_offsets(), bytes.value_data())
            }
            _ => Self::bind_time(array, data_type),
        }
    }

    fn bind_time(array: &'a ArrayRef, data_type: &DataType) -> Self {
        use DataType as D;
        use TimeUnit as U;
        match data_type {
            D::Date32 => Values::I32(array.as_primitive::<Date32Type>().values()),
            D::Date64 => Values::I64(array.as_primitive::<Date64Type>().values()),
            D::Time32(U::Second) => Values::I32(array.as_primitive::<Time32SecondType>().values()),
            D::Time32(_) => Values::I32(array.as_primitive::<Time32MillisecondType>().values()),
            D::Time64(U::Microsecond) => {
                Values::I64(array.as_primitive::<Time64MicrosecondType>().values())
            }
            D::Time64(_) => Values::I64(array.as_primitive::<Time64NanosecondType>().values()),
            D::Timestamp(U::Second, _) => {
                Values::I64(array.as_primitive::<TimestampSecondType>().values())
            }
            D::Timestamp(U::Millisecond, _) => {
                Values::I64(array.as_primitive::<TimestampMillisecondType>().values())
            }
            D::Timestamp(U::Microsecond, _) => {
                Values::I64(array.as_primitive::<TimestampMicrosecondType>().values())
            }
            D::Timestamp(U::Nanosecond, _) => {
                Values::I64(array.as_primitive::<TimestampNanosecondType>().values())
            }
            other => unreachable!("KeyEncoder::new refuses {other}"),
        }
    }
}
