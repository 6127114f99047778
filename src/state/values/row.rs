//! One row of accumulator state as bytes: the values of stores and changelogs, version 1.
//!
//! Invariant: `decode_row` undoes `encode_row` for the same types, and takes nothing else. A row is a bitmap (bit set =
//! NULL, first column in the lowest bit of the first byte) and the values that are not NULL: integers as zigzag
//! varints, floats as 8 bytes little-endian, texts with their length before them.

use super::{StateColumn, StateType};
use crate::state::varint::{Reader, put_bytes, put_signed, put_signed_128};
use crate::state::{Error, Result};

/// Version of the encoding; stores and blocks that hold rows carry a version of their own, which changes with it.
pub const VERSION: u8 = 1;

/// Appends row `row` of the columns to `out`.
pub fn encode_row(columns: &[StateColumn], row: usize, out: &mut Vec<u8>) {
    let bitmap = out.len();
    out.resize(bitmap + columns.len().div_ceil(8), 0);
    for (i, column) in columns.iter().enumerate() {
        let present = match column {
            StateColumn::I64(v) => v.get(row).map(|v| put_signed(out, v)),
            StateColumn::I128(v) => v.get(row).map(|v| put_signed_128(out, v)),
            StateColumn::F64(v) => v.get(row).map(|v| out.extend_from_slice(&v.to_le_bytes())),
            StateColumn::Bytes(v) => v[row].as_ref().map(|v| put_bytes(out, v)),
        };
        if present.is_none() {
            out[bitmap + i / 8] |= 1 << (i % 8);
        }
    }
}

/// Appends a row to the columns, which have the types `types`.
///
/// # Errors
/// Damaged where the bytes are not a row of these types; then nothing is appended.
pub fn decode_row(types: &[StateType], bytes: &[u8], into: &mut [StateColumn]) -> Result<()> {
    let matching =
        types.len() == into.len() && types.iter().zip(&*into).all(|(t, c)| *t == c.state_type());
    if !matching {
        return Err(Error::damaged(
            "state row",
            format!("columns are not {types:?}"),
        ));
    }
    let rows = into.first().map_or(0, StateColumn::len);
    let decoded = push_row(bytes, into);
    if decoded.is_none() {
        into.iter_mut().for_each(|c| c.truncate(rows));
        return Err(Error::damaged(
            "state row",
            format!("{bytes:02x?} is not a row of {types:?}"),
        ));
    }
    Ok(())
}

fn push_row(bytes: &[u8], into: &mut [StateColumn]) -> Option<()> {
    let mut reader = Reader::new(bytes);
    let bitmap = reader.take(into.len().div_ceil(8))?;
    for (i, column) in into.iter_mut().enumerate() {
        if bitmap[i / 8] & (1 << (i % 8)) != 0 {
            column.push_null();
            continue;
        }
        match column {
            StateColumn::I64(v) => v.push(Some(reader.signed()?)),
            StateColumn::I128(v) => v.push(Some(reader.signed_128()?)),
            StateColumn::F64(v) => v.push(Some(f64::from_le_bytes(reader.array()?))),
            StateColumn::Bytes(v) => v.push(Some(reader.bytes()?.into())),
        }
    }
    reader.is_empty().then_some(())
}
