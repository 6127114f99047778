//! Encoded keys back to Arrow columns.
//!
//! Invariant: the columns have exactly the encoder's types (time zone, precision and scale included), and bytes that
//! were not encoded with these types are an error, never a panic or another value.

use super::ordered::{Ordered, take_text};
use super::{NULL, TRUE, VALUE};
use crate::state::{Error, Result};
use arrow_array::ArrayRef;
use arrow_array::builder::{
    ArrayBuilder, BinaryBuilder, BooleanBuilder, LargeStringBuilder, PrimitiveBuilder,
    StringBuilder, StringViewBuilder,
};
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal128Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_schema::{DataType, TimeUnit};

pub(super) fn decode<'k>(
    types: &[DataType],
    keys: impl Iterator<Item = &'k [u8]>,
    n: usize,
) -> Result<Vec<ArrayRef>> {
    let mut columns: Vec<Box<dyn ColumnDecoder>> = types.iter().map(|t| decoder(t, n)).collect();
    for key in keys {
        let mut rest = key;
        for (column, data_type) in columns.iter_mut().zip(types) {
            column
                .push(&mut rest)
                .ok_or_else(|| Error::damaged("key", format!("no {data_type} in {key:02x?}")))?;
        }
        if !rest.is_empty() {
            return Err(Error::damaged(
                "key",
                format!("{} bytes too many in {key:02x?}", rest.len()),
            ));
        }
    }
    Ok(columns.iter_mut().map(|c| c.finish()).collect())
}

/// Builds one column.
trait ColumnDecoder {
    /// Takes the column's part off the front of a key; `None` where it is not of this type.
    fn push(&mut self, key: &mut &[u8]) -> Option<()>;
    fn finish(&mut self) -> ArrayRef;
}

struct Primitive<T: ArrowPrimitiveType>(PrimitiveBuilder<T>);

impl<T: ArrowPrimitiveType> ColumnDecoder for Primitive<T>
where
    T::Native: Ordered,
{
    fn push(&mut self, key: &mut &[u8]) -> Option<()> {
        match take_marker(key)? {
            NULL => self.0.append_null(),
            VALUE => self.0.append_value(T::Native::take(key)?),
            _ => return None,
        }
        Some(())
    }

    fn finish(&mut self) -> ArrayRef {
        ArrayBuilder::finish(&mut self.0)
    }
}

struct Bool(BooleanBuilder);

impl ColumnDecoder for Bool {
    fn push(&mut self, key: &mut &[u8]) -> Option<()> {
        match take_marker(key)? {
            NULL => self.0.append_null(),
            VALUE => self.0.append_value(false),
            TRUE => self.0.append_value(true),
            _ => return None,
        }
        Some(())
    }

    fn finish(&mut self) -> ArrayRef {
        ArrayBuilder::finish(&mut self.0)
    }
}

enum TextBuilder {
    Utf8(StringBuilder),
    LargeUtf8(LargeStringBuilder),
    Utf8View(StringViewBuilder),
    Binary(BinaryBuilder),
}

struct Text {
    builder: TextBuilder,
    scratch: Vec<u8>,
}

impl ColumnDecoder for Text {
    fn push(&mut self, key: &mut &[u8]) -> Option<()> {
        let bytes = match take_marker(key)? {
            NULL => None,
            VALUE => Some(take_text(key, &mut self.scratch)?),
            _ => return None,
        };
        match &mut self.builder {
            TextBuilder::Binary(b) => b.append_option(bytes),
            TextBuilder::Utf8(b) => b.append_option(utf8(bytes)?),
            TextBuilder::LargeUtf8(b) => b.append_option(utf8(bytes)?),
            TextBuilder::Utf8View(b) => b.append_option(utf8(bytes)?),
        }
        Some(())
    }

    fn finish(&mut self) -> ArrayRef {
        match &mut self.builder {
            TextBuilder::Utf8(b) => ArrayBuilder::finish(b),
            TextBuilder::LargeUtf8(b) => ArrayBuilder::finish(b),
            TextBuilder::Utf8View(b) => ArrayBuilder::finish(b),
            TextBuilder::Binary(b) => ArrayBuilder::finish(b),
        }
    }
}

/// `None` where the bytes are no text; NULL stays NULL.
fn utf8(bytes: Option<&[u8]>) -> Option<Option<&str>> {
    bytes.map(std::str::from_utf8).transpose().ok()
}

fn take_marker(key: &mut &[u8]) -> Option<u8> {
    let (marker, rest) = key.split_first()?;
    *key = rest;
    Some(*marker)
}

fn primitive<T: ArrowPrimitiveType>(data_type: &DataType, n: usize) -> Box<dyn ColumnDecoder>
where
    T::Native: Ordered,
{
    Box::new(Primitive(
        PrimitiveBuilder::<T>::with_capacity(n).with_data_type(data_type.clone()),
    ))
}

fn text(builder: TextBuilder) -> Box<dyn ColumnDecoder> {
    Box::new(Text {
        builder,
        scratch: Vec::new(),
    })
}

fn decoder(data_type: &DataType, n: usize) -> Box<dyn ColumnDecoder> {
    use DataType as D;
    use TimeUnit as U;
    match data_type {
        D::Boolean => Box::new(Bool(BooleanBuilder::with_capacity(n))),
        D::Int8 => primitive::<Int8Type>(data_type, n),
        D::Int16 => primitive::<Int16Type>(data_type, n),
        D::Int32 => primitive::<Int32Type>(data_type, n),
        D::Int64 => primitive::<Int64Type>(data_type, n),
        D::UInt8 => primitive::<UInt8Type>(data_type, n),
        D::UInt16 => primitive::<UInt16Type>(data_type, n),
        D::UInt32 => primitive::<UInt32Type>(data_type, n),
        D::UInt64 => primitive::<UInt64Type>(data_type, n),
        D::Float32 => primitive::<Float32Type>(data_type, n),
        D::Float64 => primitive::<Float64Type>(data_type, n),
        D::Decimal128(..) => primitive::<Decimal128Type>(data_type, n),
        D::Utf8 => text(TextBuilder::Utf8(StringBuilder::with_capacity(n, 0))),
        D::LargeUtf8 => text(TextBuilder::LargeUtf8(LargeStringBuilder::with_capacity(
            n, 0,
        ))),
        D::Utf8View => text(TextBuilder::Utf8View(StringViewBuilder::with_capacity(n))),
        D::Binary => text(TextBuilder::Binary(BinaryBuilder::with_capacity(n, 0))),
        D::Date32 => primitive::<Date32Type>(data_type, n),
        D::Date64 => primitive::<Date64Type>(data_type, n),
        D::Time32(U::Second) => primitive::<Time32SecondType>(data_type, n),
        D::Time32(_) => primitive::<Time32MillisecondType>(data_type, n),
        D::Time64(U::Microsecond) => primitive::<Time64MicrosecondType>(data_type, n),
        D::Time64(_) => primitive::<Time64NanosecondType>(data_type, n),
        D::Timestamp(U::Second, _) => primitive::<TimestampSecondType>(data_type, n),
        D::Timestamp(U::Millisecond, _) => primitive::<TimestampMillisecondType>(data_type, n),
        D::Timestamp(U::Microsecond, _) => primitive::<TimestampMicrosecondType>(data_type, n),
        D::Timestamp(U::Nanosecond, _) => primitive::<TimestampNanosecondType>(data_type, n),
        other => unreachable!("KeyEncoder::new refuses {other}"),
    }
}
