//! Folding rows into accumulators: one pass per call over its argument.
//!
//! Invariant: rows that are skipped, whose argument is NULL or whose filter is not TRUE change nothing. −0.0 counts
//! as 0.0 and all NaN as one, the greatest. Types without a loop of their own are cast first.

use super::merge::{add_f64, add_i128, canonical, keep, keep_bytes};
use super::{Accumulators, Call, Lane, SKIPPED};
use crate::plan::graph::AggregateFunction;
use crate::state::values::{Column, StateColumn};
use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Float64Type, Int64Type};
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_buffer::BooleanBuffer;
use arrow_schema::DataType;
use std::cmp::Ordering;

impl Accumulators {
    /// Folds one row per entry of `groups` into call `call`: row `i` into group `groups[i]`, or into none where that
    /// is [`SKIPPED`]. `argument` is `None` for `COUNT(*)`.
    pub fn update(
        &mut self,
        call: usize,
        groups: &[u32],
        argument: Option<&ArrayRef>,
        filter: Option<&BooleanArray>,
    ) {
        let Accumulators {
            calls,
            columns,
            heap,
            ..
        } = self;
        let call = &calls[call];
        let mask = mask(argument, filter);
        let state = &mut columns[call.first..];
        if call.function == AggregateFunction::Count {
            if let StateColumn::I64(counts) = &mut state[0] {
                each(counts, groups, mask.as_ref(), |_| (), count);
            }
            return;
        }
        let Some(argument) = argument else { return };
        let argument = normalise(argument, call.lane);
        match call.function {
            AggregateFunction::Sum => {
                sum(&mut state[0], groups, &argument, call.lane, mask.as_ref())
            }
            AggregateFunction::Avg => {
                sum(&mut state[0], groups, &argument, call.lane, mask.as_ref());
                if let StateColumn::I64(counts) = &mut state[1] {
                    each(counts, groups, mask.as_ref(), |_| (), count);
                }
            }
            _ => {
                let grown = extreme(call, &mut state[0], groups, &argument, mask.as_ref());
                *heap = heap.wrapping_add_signed(grown);
            }
        }
    }
}

#[inline]
fn count(counted: Option<i64>, _: ()) -> i64 {
    counted.unwrap_or(0) + 1
}

/// Rows to take: those whose argument is not NULL and whose filter is TRUE; `None` stands for all.
fn mask(argument: Option<&ArrayRef>, filter: Option<&BooleanArray>) -> Option<BooleanBuffer> {
    let nulls = argument
        .and_then(|a| a.logical_nulls())
        .filter(|n| n.null_count() > 0);
    let truth = filter.map(|f| match f.nulls() {
        Some(nulls) => f.values() & nulls.inner(),
        None => f.values().clone(),
    });
    match (nulls, truth) {
        (Some(nulls), Some(truth)) => Some(nulls.inner() & &truth),
        (Some(nulls), None) => Some(nulls.into_inner()),
        (None, truth) => truth,
    }
}

#[inline]
fn for_each(groups: &[u32], mask: Option<&BooleanBuffer>, mut f: impl FnMut(usize, usize)) {
    match mask {
        None => {
            for (row, group) in groups.iter().enumerate() {
                if *group != SKIPPED {
                    f(row, *group as usize);
                }
            }
        }
        Some(mask) => {
            for row in mask.set_indices() {
                if groups[row] != SKIPPED {
                    f(row, groups[row] as usize);
                }
            }
        }
    }
}

/// Updates the groups of the rows to take, each with what `value` says of its row.
#[inline]
fn each<T: Copy + Default, V>(
    column: &mut Column<T>,
    groups: &[u32],
    mask: Option<&BooleanBuffer>,
    value: impl Fn(usize) -> V,
    make: impl Fn(Option<T>, V) -> T,
) {
    let pair = |row: usize, group: u32| (group != SKIPPED).then(|| (group as usize, value(row)));
    match mask {
        None => {
            let rows = groups.iter().enumerate();
            column.update(rows.filter_map(|(row, group)| pair(row, *group)), make);
        }
        Some(mask) => {
            let rows = mask.set_indices();
            column.update(rows.filter_map(|row| pair(row, groups[row])), make);
        }
    }
}

/// The argument in the one type of its lane.
fn normalise(argument: &ArrayRef, lane: Lane) -> ArrayRef {
    let target = match (lane, argument.data_type()) {
        (Lane::I64, _) => DataType::Int64,
        (Lane::F64, _) => DataType::Float64,
        (
            Lane::I128,
            DataType::Decimal32(p, s) | DataType::Decimal64(p, s) | DataType::Decimal128(p, s),
        ) => DataType::Decimal128(*p, *s),
        (Lane::I128, _) => DataType::Decimal128(20, 0),
        (Lane::Bytes, _) => DataType::Binary,
    };
    if *argument.data_type() == target {
        return argument.clone();
    }
    let argument = match argument.data_type() {
        // There is no direct cast from these two.
        DataType::Time32(_) => cast(argument, &DataType::Int32),
        _ => argument.clone(),
    };
    cast(&argument, &target)
}

pub(super) fn cast(array: &ArrayRef, target: &DataType) -> ArrayRef {
    match arrow_cast::cast(array, target) {
        Ok(array) => array,
        Err(error) => panic!("a cast to the type of an accumulator always exists: {error}"),
    }
}

fn sum(
    state: &mut StateColumn,
    groups: &[u32],
    argument: &ArrayRef,
    lane: Lane,
    mask: Option<&BooleanBuffer>,
) {
    match (state, lane) {
        (StateColumn::I128(sums), Lane::I64) => {
            let values = argument.as_primitive::<Int64Type>().values();
            let value = |row: usize| i128::from(values[row]);
            each(sums, groups, mask, value, add_i128);
        }
        (StateColumn::I128(sums), Lane::I128) => {
            let values = argument.as_primitive::<Decimal128Type>().values();
            each(sums, groups, mask, |row| values[row], add_i128);
        }
        (StateColumn::F64(sums), _) => {
            let values = argument.as_primitive::<Float64Type>().values();
            each(sums, groups, mask, |row| values[row], add_f64);
        }
        _ => unreachable!("sums are kept as I128 or F64"),
    }
}

/// MIN and MAX. Returns by how many bytes the texts have grown.
fn extreme(
    call: &Call,
    state: &mut StateColumn,
    groups: &[u32],
    argument: &ArrayRef,
    mask: Option<&BooleanBuffer>,
) -> isize {
    let wanted = wanted(call.function);
    let mut grown = 0;
    match state {
        StateColumn::I64(kept) => {
            let values = argument.as_primitive::<Int64Type>().values();
            let keep = keep(wanted, i64::cmp);
            each(kept, groups, mask, |row| values[row], keep);
        }
        StateColumn::I128(kept) => {
            let values = argument.as_primitive::<Decimal128Type>().values();
            let keep = keep(wanted, i128::cmp);
            each(kept, groups, mask, |row| values[row], keep);
        }
        StateColumn::F64(kept) => {
            let values = argument.as_primitive::<Float64Type>().values();
            let keep = keep(wanted, f64::total_cmp);
            each(kept, groups, mask, |row| canonical(values[row]), keep);
        }
        StateColumn::Bytes(kept) => {
            let values = argument.as_binary::<i32>();
            for_each(groups, mask, |row, group| {
                grown += keep_bytes(&mut kept[group], values.value(row), wanted)
            });
        }
    }
    grown
}

/// How a new value must compare with the one kept, to replace it.
pub(super) fn wanted(function: AggregateFunction) -> Ordering {
    if function == AggregateFunction::Max {
        Ordering::Greater
    } else {
        Ordering::Less
    }
}
