//! Merging partial state into accumulators, and the arithmetic that folding and merging share.
//!
//! Invariant: merging partials in any order gives what folding all rows at once would give. A 128-bit sum that
//! overflows stays at its bound for ever, outside of what any result type can hold, so that the result is refused
//! and never wrong.

use super::Accumulators;
use super::update::wanted;
use crate::plan::graph::AggregateFunction;
use crate::state::values::{Column, StateColumn};
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

/// Groups and what is merged into them: the values of the rows that are not NULL.
#[inline]
fn pairs<T: Copy + Default>(
    groups: &[u32],
    values: &Column<T>,
    rows: &[u32],
) -> impl Iterator<Item = (usize, T)> {
    let pairs = groups.iter().zip(rows);
    pairs.filter_map(|(group, row)| Some((*group as usize, values.get(*row as usize)?)))
}

fn add(state: &mut StateColumn, groups: &[u32], partial: &StateColumn, rows: &[u32]) {
    match (state, partial) {
        (StateColumn::I64(state), StateColumn::I64(partial)) => {
            state.update(pairs(groups, partial, rows), |sum, v| {
                sum.unwrap_or(0).saturating_add(v)
            });
        }
        (StateColumn::I128(state), StateColumn::I128(partial)) => {
            state.update(pairs(groups, partial, rows), add_i128);
        }
        (StateColumn::F64(state), StateColumn::F64(partial)) => {
            state.update(pairs(groups, partial, rows), add_f64);
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
            state.update(pairs(groups, partial, rows), keep(wanted, i64::cmp));
        }
        (StateColumn::I128(state), StateColumn::I128(partial)) => {
            state.update(pairs(groups, partial, rows), keep(wanted, i128::cmp));
        }
        (StateColumn::F64(state), StateColumn::F64(partial)) => {
            state.update(pairs(groups, partial, rows), keep(wanted, f64::total_cmp));
        }
        (StateColumn::Bytes(state), StateColumn::Bytes(partial)) => {
            for (group, row) in groups.iter().zip(rows) {
                if let Some(text) = &partial[*row as usize] {
                    grown += keep_bytes(&mut state[*group as usize], text, wanted);
                }
            }
        }
        _ => unreachable!("partials have the types of the state"),
    }
    grown
}

#[inline]
pub(super) fn add_i128(sum: Option<i128>, value: i128) -> i128 {
    let at_bound = |v: i128| v == i128::MAX || v == i128::MIN;
    let sum = sum.unwrap_or(0);
    if at_bound(sum) {
        sum
    } else if at_bound(value) {
        // A partial may itself be at its bound, and then the sum goes there too.
        value
    } else {
        sum.saturating_add(value)
    }
}

#[inline]
pub(super) fn add_f64(sum: Option<f64>, value: f64) -> f64 {
    // From 0.0 on, so that a sum of nothing but −0.0 is the one zero.
    sum.unwrap_or(0.0) + value
}

/// Of the value kept and a new one: the new one if it compares with the other as `wanted`.
#[inline]
pub(super) fn keep<T: Copy>(
    wanted: Ordering,
    compare: impl Fn(&T, &T) -> Ordering,
) -> impl Fn(Option<T>, T) -> T {
    move |kept, value| match kept {
        Some(kept) if compare(&value, &kept) != wanted => kept,
        _ => value,
    }
}

/// Replaces a text as [`keep`] does; returns by how many bytes the slot has grown.
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
