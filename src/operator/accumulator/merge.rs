//! Merging partial state into accumulators, and the arithmetic that folding and merging share.
//!
//! Invariant: merging partials in any order gives what folding all rows at once would give. A 128-bit sum that
//! overflows stays at its bound for ever, outside of what any result type can hold, so that the result is refused
//! and never wrong.

use super::Accumulators;
use super::update::wanted;
use crate::plan::graph::AggregateFunction;
use crate::state::values::StateColumn;
use std::cmp::Ordering;

impl Accumulators {
    /// Merges row `rows[i]` of `partial` into group `groups[i]`. `partial` has the columns of [`Self::state_types`].
    pub fn merge(&mut self, groups: &[u32], partial: &[StateColumn], rows: &[u32]) {
        let Accumulators {
            calls,
            columns,
            heap,
            ..
        } = self;
        let mut grown = 0;
        for call in calls.iter() {
            let (state, partial) = (&mut columns[call.first..], &partial[call.first..]);
            match call.function {
                AggregateFunction::Count | AggregateFunction::Sum => {
                    add(&mut state[0], groups, &partial[0], rows)
                }
                AggregateFunction::Avg => {
                    add(&mut state[0], groups, &partial[0], rows);
                    add(&mut state[1], groups, &partial[1], rows);
                }
                AggregateFunction::Min | AggregateFunction::Max => {
                    grown += extreme(
                        &mut state[0],
                        groups,
                        &partial[0],
                        rows,
                        wanted(call.function),
                    );
                }
            }
        }
        *heap = heap.wrapping_add_signed(grown);
    }
}

fn pairs<'a, T>(
    groups: &'a [u32],
    values: &'a [Option<T>],
    rows: &'a [u32],
) -> impl Iterator<Item = (usize, &'a T)> {
    let values = rows.iter().map(|row| values[*row as usize].as_ref());
    groups
        .iter()
        .zip(values)
        .filter_map(|(group, value)| Some((*group as usize, value?)))
}

fn add(state: &mut StateColumn, groups: &[u32], partial: &StateColumn, rows: &[u32]) {
    match (state, partial) {
        (StateColumn::I64(state), StateColumn::I64(partial)) => {
            for (group, value) in pairs(groups, partial, rows) {
                state[group] = Some(state[group].unwrap_or(0).saturating_add(*value));
            }
        }
        (StateColumn::I128(state), StateColumn::I128(partial)) => {
            pairs(groups, partial, rows)
                .for_each(|(group, value)| add_i128(&mut state[group], *value));
        }
        (StateColumn::F64(state), StateColumn::F64(partial)) => {
            pairs(groups, partial, rows)
                .for_each(|(group, value)| add_f64(&mut state[group], *value));
        }
        _ => unreachable!("partials have the types of the state"),
    }
}

fn extreme(
    state: &mut StateColumn,
    groups: &[u32],
    partial: &StateColumn,
    rows: &[u32],
    wanted: Ordering,
) -> isize {
    let mut grown = 0;
    match (state, partial) {
        (StateColumn::I64(state), StateColumn::I64(partial)) => {
            pairs(groups, partial, rows)
                .for_each(|(group, v)| keep(&mut state[group], *v, wanted, i64::cmp));
        }
        (StateColumn::I128(state), StateColumn::I128(partial)) => {
            pairs(groups, partial, rows)
                .for_each(|(group, v)| keep(&mut state[group], *v, wanted, i128::cmp));
        }
        (StateColumn::F64(state), StateColumn::F64(partial)) => {
            pairs(groups, partial, rows)
                .for_each(|(group, v)| keep(&mut state[group], *v, wanted, f64::total_cmp));
        }
        (StateColumn::Bytes(state), StateColumn::Bytes(partial)) => {
            pairs(groups, partial, rows)
                .for_each(|(group, v)| grown += keep_bytes(&mut state[group], v, wanted));
        }
        _ => unreachable!("partials have the types of the state"),
    }
    grown
}

#[inline]
pub(super) fn add_i128(slot: &mut Option<i128>, value: i128) {
    let Some(sum) = slot else {
        *slot = Some(value);
        return;
    };
    if *sum != i128::MAX && *sum != i128::MIN {
        // A partial may itself be at its bound, and then the sum goes there too.
        *sum = if value == i128::MAX || value == i128::MIN {
            value
        } else {
            sum.saturating_add(value)
        };
    }
}

#[inline]
pub(super) fn add_f64(slot: &mut Option<f64>, value: f64) {
    // From 0.0 on, so that a sum of nothing but −0.0 is the one zero.
    *slot = Some(slot.unwrap_or(0.0) + value);
}

/// Replaces the value kept if the new one compares with it as `wanted`.
#[inline]
pub(super) fn keep<T: Copy>(
    slot: &mut Option<T>,
    value: T,
    wanted: Ordering,
    compare: fn(&T, &T) -> Ordering,
) {
    if slot.is_none_or(|kept| compare(&value, &kept) == wanted) {
        *slot = Some(value);
    }
}

/// As [`keep`], for bytes; returns by how many bytes the slot has grown.
#[inline]
pub(super) fn keep_bytes(slot: &mut Option<Box<[u8]>>, value: &[u8], wanted: Ordering) -> isize {
    let before = match slot {
        Some(kept) if value.cmp(kept) != wanted => return 0,
        Some(kept) => kept.len(),
        None => 0,
    };
    *slot = Some(value.into());
    value.len() as isize - before as isize
}

/// The one 0.0, the one NaN; the latter is greater than all numbers in the total order.
#[inline]
pub(super) fn canonical(value: f64) -> f64 {
    if value == 0.0 {
        0.0
    } else if value.is_nan() {
        f64::NAN
    } else {
        value
    }
}
