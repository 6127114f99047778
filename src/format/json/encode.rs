//! Rows to JSON records, and their keys.
//!
//! Invariant: one object per row, with the schema's columns in their order, each exactly once. NULL is written as
//! `null`. Nothing is allocated per row but what the output needs to grow.

#[cfg(test)]
mod tests;

use super::cells::{Cells, Style, prefixes};
use super::reader::append;
use crate::format::Slab;
use crate::spec::TimestampFormat;
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, SchemaRef};

/// Encodes the rows of one sink.
///
/// Timestamps are ISO 8601 in UTC with `Z` and only the digits needed, or milliseconds since 1970; decimals are numbers
/// with all their digits, or strings; doubles are the shortest text that reads back as the same double; binary is
/// base64; a type without a form of its own is written as the text that Arrow shows for it.
pub struct JsonEncoder {
    /// What stands before each column's value: `{` or `,`, the escaped name, `:`.
    prefixes: Vec<Vec<u8>>,
    /// Indices of the key's columns.
    key: Vec<usize>,
    key_is_text: bool,
    style: Style,
}

impl JsonEncoder {
    /// `key` lists the indices of the record key's columns.
    pub fn new(
        schema: &SchemaRef,
        key: &[usize],
        timestamps: TimestampFormat,
        decimals_as_string: bool,
    ) -> JsonEncoder {
        let text = |index: &usize| {
            matches!(
                schema.field(*index).data_type(),
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
            )
        };
        JsonEncoder {
            prefixes: prefixes(schema.fields().iter().map(|field| field.name().as_str())),
            key: key.to_vec(),
            key_is_text: key.len() == 1 && key.iter().all(text),
            style: Style {
                timestamps,
                decimals_as_string,
            },
        }
    }

    /// Appends one JSON object per row.
    pub fn encode(&self, rows: &RecordBatch, out: &mut Slab) {
        let columns: Vec<Cells<'_>> = rows
            .columns()
            .iter()
            .map(|column| Cells::new(column.as_ref(), self.style))
            .collect();
        out.ends.reserve(rows.num_rows());
        for row in 0..rows.num_rows() {
            for (prefix, cells) in self.prefixes.iter().zip(&columns) {
                append(prefix, 0, prefix.len(), &mut out.data);
                cells.write(row, &mut out.data);
            }
            out.data
                .extend_from_slice(if columns.is_empty() { b"{}" } else { b"}" });
            out.ends.push(out.data.len());
        }
    }

    /// Appends the record key of each row: the bytes of a single text column, otherwise a JSON array of the key's
    /// columns. A row whose key is null ([`JsonEncoder::null_key`]) gets an empty one, to be written as a null key.
    pub fn encode_keys(&self, rows: &RecordBatch, out: &mut Slab) {
        let columns: Vec<Cells<'_>> = self
            .key
            .iter()
            .map(|index| Cells::new(rows.column(*index).as_ref(), self.style))
            .collect();
        out.ends.reserve(rows.num_rows());
        for row in 0..rows.num_rows() {
            if self.key_is_text {
                let text = columns[0].text(row).filter(|_| !columns[0].is_null(row));
                out.data.extend_from_slice(text.unwrap_or_default());
            } else if !columns.is_empty() {
                for (index, cells) in columns.iter().enumerate() {
                    out.data.push(if index == 0 { b'[' } else { b',' });
                    cells.write(row, &mut out.data);
                }
                out.data.push(b']');
            }
            out.ends.push(out.data.len());
        }
    }

    /// Whether the record of `row` has a null key: there are no key columns, or the single text column is NULL. (A
    /// key of several columns, or of one that is no text, is never null: it is an array with `null` in it.)
    pub fn null_key(&self, rows: &RecordBatch, row: usize) -> bool {
        match self.key.first() {
            None => true,
            Some(column) => self.key_is_text && rows.column(*column).is_null(row),
        }
    }
}
