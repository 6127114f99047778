//! Accumulators of aggregate functions: typed columns of state, one row per group.
//!
//! Invariant: state can be merged in any order and grouping with the same result (sums of doubles up to rounding);
//! NULL state means that nothing was seen, and a count of NULL is 0. Sums of integers and decimals are kept in 128
//! bits, so that only a result can fail to fit. Groups are numbers here: keys and windows are known to the callers.

mod column;
mod finish;
mod merge;
mod update;

use crate::plan::graph::{AggregateCall, AggregateFunction};
use crate::state::values::{self, StateColumn, StateType};
use arrow_schema::DataType;

/// In place of a group's number: the row is not to be folded.
pub const SKIPPED: u32 = u32::MAX;

/// How the values of an argument are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lane {
    /// Integers, dates, timestamps, booleans.
    I64,
    /// Decimals, and unsigned integers of 64 bits.
    I128,
    F64,
    /// Text and binary.
    Bytes,
}

/// One aggregate call, and where its state begins among the columns.
#[derive(Clone)]
struct Call {
    function: AggregateFunction,
    lane: Lane,
    /// Scale of a decimal argument, 0 for others.
    scale: i8,
    output: DataType,
    first: usize,
}

/// State of all aggregate calls of a node: a row per group.
#[derive(Clone)]
pub struct Accumulators {
    calls: Vec<Call>,
    types: Vec<StateType>,
    columns: Vec<StateColumn>,
    /// Bytes behind the columns of texts.
    heap: usize,
    len: usize,
}

/// The types of the state columns of a list of calls, in order; `None` if a call's types are not supported.
pub fn state_types(calls: &[AggregateCall]) -> Option<Vec<StateType>> {
    let mut types = Vec::new();
    for call in calls {
        types.extend_from_slice(types_of(call.function, lane(call)?)?);
    }
    Some(types)
}

fn types_of(function: AggregateFunction, lane: Lane) -> Option<&'static [StateType]> {
    use AggregateFunction::{Avg, Count, Max, Min, Sum};
    Some(match (function, lane) {
        (Count, _) => &[StateType::I64],
        (Sum, Lane::I64 | Lane::I128) => &[StateType::I128],
        (Sum, Lane::F64) => &[StateType::F64],
        (Avg, Lane::I64 | Lane::I128) => &[StateType::I128, StateType::I64],
        (Avg, Lane::F64) => &[StateType::F64, StateType::I64],
        (Min | Max, Lane::I64) => &[StateType::I64],
        (Min | Max, Lane::I128) => &[StateType::I128],
        (Min | Max, Lane::F64) => &[StateType::F64],
        (Min | Max, Lane::Bytes) => &[StateType::Bytes],
        (Sum | Avg, Lane::Bytes) => return None,
    })
}

fn lane(call: &AggregateCall) -> Option<Lane> {
    use DataType as T;
    let Some(argument) = &call.argument_type else {
        return (call.function == AggregateFunction::Count).then_some(Lane::I64);
    };
    let numeric = matches!(
        call.function,
        AggregateFunction::Sum | AggregateFunction::Avg
    );
    Some(match argument {
        T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::UInt8 | T::UInt16 | T::UInt32 => Lane::I64,
        T::UInt64 | T::Decimal32(..) | T::Decimal64(..) | T::Decimal128(..) => Lane::I128,
        T::Float16 | T::Float32 | T::Float64 => Lane::F64,
        T::Boolean | T::Date32 | T::Date64 | T::Timestamp(..) | T::Time32(_) | T::Time64(_)
            if !numeric =>
        {
            Lane::I64
        }
        T::Utf8 | T::LargeUtf8 | T::Utf8View | T::Binary | T::LargeBinary | T::BinaryView
            if !numeric =>
        {
            Lane::Bytes
        }
        _ if call.function == AggregateFunction::Count => Lane::I64,
        _ => return None,
    })
}

fn scale(argument: Option<&DataType>) -> i8 {
    match argument {
        Some(
            DataType::Decimal32(_, s) | DataType::Decimal64(_, s) | DataType::Decimal128(_, s),
        ) => *s,
        _ => 0,
    }
}

impl Accumulators {
    /// # Panics
    /// If [`state_types`] is `None` for the calls: the planner refuses them.
    pub fn new(calls: &[AggregateCall]) -> Self {
        let mut made = Accumulators {
            calls: Vec::new(),
            types: Vec::new(),
            columns: Vec::new(),
            heap: 0,
            len: 0,
        };
        for call in calls {
            let lane = lane(call);
            let Some((lane, types)) = lane.and_then(|l| Some((l, types_of(call.function, l)?)))
            else {
                panic!(
                    "{:?} of {:?} passed the planner",
                    call.function, call.argument_type
                );
            };
            made.calls.push(Call {
                function: call.function,
                lane,
                scale: scale(call.argument_type.as_ref()),
                output: call.output_type.clone(),
                first: made.types.len(),
            });
            made.types.extend_from_slice(types);
        }
        made.columns = made.types.iter().map(|t| StateColumn::new(*t)).collect();
        made
    }

    /// The same calls, no groups.
    pub fn new_empty(&self) -> Self {
        let columns = self.types.iter().map(|t| StateColumn::new(*t)).collect();
        Accumulators {
            calls: self.calls.clone(),
            types: self.types.clone(),
            columns,
            heap: 0,
            len: 0,
        }
    }

    /// The types of the state columns, those of the calls one after the other.
    pub fn state_types(&self) -> &[StateType] {
        &self.types
    }

    /// Groups.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds groups that have seen nothing, or drops the last ones.
    pub fn resize(&mut self, groups: usize) {
        for column in &mut self.columns {
            self.heap -= column::heap_from(column, groups.min(self.len));
            column.resize_null(groups);
        }
        self.len = groups;
    }

    /// Drops all groups; memory that the last use did not need is given back.
    pub fn clear(&mut self) {
        self.columns.iter_mut().for_each(StateColumn::clear);
        (self.heap, self.len) = (0, 0);
    }

    /// Appends a copy of one group of `other`, which has the same calls.
    pub fn push_from(&mut self, other: &Accumulators, group: u32) {
        for (to, from) in self.columns.iter_mut().zip(&other.columns) {
            self.heap += column::push_from(to, from, group as usize);
        }
        self.len += 1;
    }

    /// Makes one group a copy of group `from` of `other`.
    pub fn assign(&mut self, group: u32, other: &Accumulators, from: u32) {
        for (to, source) in self.columns.iter_mut().zip(&other.columns) {
            let (old, new) = column::assign(to, group as usize, source, from as usize);
            self.heap = self.heap + new - old;
        }
    }

    /// The state of the given groups as columns, in the order given.
    pub fn gather(&self, groups: &[u32]) -> Vec<StateColumn> {
        self.columns
            .iter()
            .map(|column| column::gather(column, groups))
            .collect()
    }

    /// Appends the encoded state of one group to `out`.
    pub fn encode(&self, group: u32, out: &mut Vec<u8>) {
        values::encode_row(&self.columns, group as usize, out);
    }

    /// Appends a group with the state encoded in `bytes`.
    ///
    /// # Errors
    /// Damaged, if `bytes` are not what [`Self::encode`] wrote for the same calls; then nothing is appended.
    pub fn push_encoded(&mut self, bytes: &[u8]) -> crate::state::Result<()> {
        values::decode_row(&self.types, bytes, &mut self.columns)?;
        self.heap += self
            .columns
            .iter()
            .map(|c| column::heap_from(c, self.len))
            .sum::<usize>();
        self.len += 1;
        Ok(())
    }

    /// Replaces the state of a group by the one encoded in `bytes`.
    ///
    /// # Errors
    /// As [`Self::push_encoded`]; then nothing is replaced.
    pub fn replace_encoded(&mut self, group: u32, bytes: &[u8]) -> crate::state::Result<()> {
        self.push_encoded(bytes)?;
        let last = self.len - 1;
        for column in &mut self.columns {
            column.swap(group as usize, last);
        }
        self.resize(last);
        Ok(())
    }

    /// Memory held, in bytes.
    pub fn bytes(&self) -> usize {
        self.heap + self.columns.iter().map(StateColumn::bytes).sum::<usize>()
    }

    /// What one group takes in memory, texts included.
    pub fn row_bytes(&self) -> usize {
        self.columns.iter().map(column::width).sum::<usize>()
            + self.heap.checked_div(self.len).unwrap_or(0)
    }

    /// About how many bytes one encoded group takes.
    pub fn encoded_size(&self) -> usize {
        self.columns.len() * 10 + self.heap.checked_div(self.len).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
