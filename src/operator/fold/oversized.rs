//! Rows whose group key or text is too large for any block: refused before they are folded, while their record is known.
//!
//! Invariant: an entry of rows that pass fits into one block of the repartition topic, however many of them are merged,
//! and so do its row in the changelog and the record that it may carry. Folds nothing.

use super::super::accumulator::state_types;
use super::super::rows::Failed;
use super::Evaluated;
use crate::batch::Cause;
use crate::plan::graph::AggregateCall;
use crate::state::values::StateType;
use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, GenericByteArray, types::ByteArrayType};
use arrow_buffer::ArrowNativeType;
use arrow_schema::DataType;

/// What keys and texts of one entry may take. A block has 900 000 bytes, a carried record (key and value, both cut) takes 128 KiB
/// of them, and numbers little.
const ENTRY: usize = 700_000;

/// How large a key and each text may be: an entry keeps the largest text of every call, from different rows.
pub(super) struct Limits {
    part: usize,
    /// Calls that keep texts.
    texts: Vec<usize>,
}

impl Limits {
    pub fn new(calls: &[AggregateCall]) -> Self {
        let keeps_text = |call: &AggregateCall| {
            let types = state_types(std::slice::from_ref(call)).unwrap_or_default();
            types.contains(&StateType::Bytes)
        };
        let calls = calls.iter().enumerate();
        let texts: Vec<usize> = calls
            .filter(|(_, call)| keeps_text(call))
            .map(|(index, _)| index)
            .collect();
        Limits {
            part: ENTRY / (1 + texts.len()),
            texts,
        }
    }

    /// Fails the rows of `keys` and `inputs` that are too large.
    pub fn check(&self, keys: &[ArrayRef], inputs: &[Evaluated], failed: &mut Failed) {
        let limit = self.part;
        // No key can be beyond the limit unless a column has a value beyond this: nearly always that is all there is to see.
        let suspicious = limit / 2 / keys.len().max(1);
        let mut suspects: Vec<usize> = keys
            .iter()
            .flat_map(|key| longer(key, suspicious))
            .collect();
        suspects.sort_unstable();
        suspects.dedup();
        for row in suspects {
            let bytes: usize = keys.iter().map(|key| encoded(key, row)).sum();
            if bytes > limit {
                let message = format!("the group key has {bytes} bytes, the limit is {limit}");
                failed.push(row as u32, Cause::Unwritable, message);
            }
        }
        for call in &self.texts {
            let input = &inputs[*call];
            let Some(argument) = &input.argument else {
                continue;
            };
            for row in longer(argument, limit) {
                let filter = input.filter.as_ref();
                let taken = filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
                let bytes = bytes_of(argument, row).len();
                // Behind a NULL there may stand anything.
                if taken && bytes > limit {
                    let message = format!(
                        "the argument of an aggregate has {bytes} bytes, the limit is {limit}"
                    );
                    failed.push(row as u32, Cause::Unwritable, message);
                }
            }
        }
    }
}

/// Bytes of a value in an encoded key, at most: 00 and 01 are escaped, and a mark stands on both sides.
fn encoded(column: &ArrayRef, row: usize) -> usize {
    let bytes = bytes_of(column, row);
    bytes.len() + bytes.iter().filter(|byte| **byte <= 1).count() + 2
}

/// Text or bytes of a row; nothing for NULL and for values of fixed width.
fn bytes_of(column: &ArrayRef, row: usize) -> &[u8] {
    if column.is_null(row) {
        return &[];
    }
    match column.data_type() {
        DataType::Utf8 => column.as_string::<i32>().value(row).as_bytes(),
        DataType::LargeUtf8 => column.as_string::<i64>().value(row).as_bytes(),
        DataType::Utf8View => column.as_string_view().value(row).as_bytes(),
        DataType::Binary => column.as_binary::<i32>().value(row),
        DataType::LargeBinary => column.as_binary::<i64>().value(row),
        DataType::BinaryView => column.as_binary_view().value(row),
        _ => &[],
    }
}

/// Rows with more than `limit` bytes.
fn longer(column: &ArrayRef, limit: usize) -> Vec<usize> {
    match column.data_type() {
        DataType::Utf8 => longer_of(column.as_string::<i32>(), limit),
        DataType::LargeUtf8 => longer_of(column.as_string::<i64>(), limit),
        DataType::Binary => longer_of(column.as_binary::<i32>(), limit),
        DataType::LargeBinary => longer_of(column.as_binary::<i64>(), limit),
        DataType::Utf8View => longer_lengths(column.as_string_view().lengths(), limit),
        DataType::BinaryView => longer_lengths(column.as_binary_view().lengths(), limit),
        _ => Vec::new(),
    }
}

fn longer_of<T: ByteArrayType>(array: &GenericByteArray<T>, limit: usize) -> Vec<usize> {
    let offsets = array.value_offsets();
    let (Some(first), Some(last)) = (offsets.first(), offsets.last()) else {
        return Vec::new();
    };
    if last.as_usize() - first.as_usize() <= limit {
        return Vec::new();
    }
    let lengths = offsets
        .windows(2)
        .map(|two| (two[1].as_usize() - two[0].as_usize()) as u32);
    longer_lengths(lengths, limit)
}

fn longer_lengths(lengths: impl Iterator<Item = u32>, limit: usize) -> Vec<usize> {
    lengths
        .enumerate()
        .filter(|(_, length)| *length as usize > limit)
        .map(|(row, _)| row)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::fixtures::call;
    use crate::operator::fold::key_encoder;
    use crate::plan::graph::AggregateFunction;
    use arrow_array::{BinaryArray, BooleanArray, StringArray, StringViewArray};
    use std::sync::Arc;

    fn limits() -> Limits {
        let text = |function| call(function, Some((0, DataType::Utf8)), DataType::Utf8);
        let count = call(AggregateFunction::Count, None, DataType::Int64);
        Limits::new(&[count, text(AggregateFunction::Min)])
    }

    fn input(argument: Option<ArrayRef>, filter: Option<Vec<bool>>) -> Evaluated {
        Evaluated {
            argument,
            filter: filter.map(BooleanArray::from),
        }
    }

    fn failed(keys: &[ArrayRef], texts: ArrayRef, filter: Option<Vec<bool>>) -> usize {
        let mut failed = Failed::default();
        let inputs = [input(None, None), input(Some(texts), filter)];
        limits().check(keys, &inputs, &mut failed);
        failed.len()
    }

    #[test]
    fn keys_are_measured_as_they_are_encoded() {
        let limit = limits().part;
        assert_eq!(limit, ENTRY / 2);
        let none = || Arc::new(StringArray::new_null(3)) as ArrayRef;
        let of = |lengths: [usize; 3], byte: &str| -> Vec<String> {
            lengths.iter().map(|length| byte.repeat(*length)).collect()
        };
        let keys = of([limit - 2, limit - 1, 5], "k");
        let columns: [ArrayRef; 2] = [
            Arc::new(StringArray::from(keys.clone())),
            Arc::new(StringViewArray::from_iter_values(keys)),
        ];
        for column in columns {
            assert_eq!(failed(&[column], none(), None), 1);
        }
        let half = of([limit / 2, limit / 2 - 2, 0], "h");
        let two: [ArrayRef; 2] = [
            Arc::new(StringArray::from(half.clone())),
            Arc::new(StringArray::from(half)),
        ];
        assert_eq!(failed(&two, none(), None), 1, "both together");
        let escaped = of([limit / 2 + 1, limit / 2 - 1, 0], "\u{1}");
        let values: Vec<&[u8]> = escaped.iter().map(|text| text.as_bytes()).collect();
        let columns = [Arc::new(BinaryArray::from(values)) as ArrayRef];
        assert_eq!(failed(&columns, none(), None), 1);
        let mut key = Vec::new();
        let encoder = key_encoder(&[DataType::Binary]);
        encoder.bind(&columns).encode(0, &mut key);
        assert_eq!(key.len(), encoded(&columns[0], 0));
    }

    #[test]
    fn a_text_counts_where_its_call_takes_it() {
        let limit = limits().part;
        let texts = || {
            let long = "t".repeat(limit + 1);
            Arc::new(StringArray::from(vec![
                Some(long.as_str()),
                Some("t"),
                None,
            ])) as ArrayRef
        };
        assert_eq!(failed(&[], texts(), None), 1);
        assert_eq!(failed(&[], texts(), Some(vec![false, true, true])), 0);
    }

    #[test]
    fn numbers_keep_no_texts() {
        let sum = call(
            AggregateFunction::Sum,
            Some((0, DataType::Int64)),
            DataType::Int64,
        );
        assert_eq!(Limits::new(&[sum]).part, ENTRY);
    }
}
