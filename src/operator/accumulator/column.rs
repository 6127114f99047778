//! Row-wise work on columns of state: append, copy, gather, give back.
//!
//! Invariant: functions that take two columns are given columns of the same type (both were made for the same
//! calls); bytes behind texts are reported to the caller, who keeps the sum. No aggregate is computed here.

use crate::state::values::StateColumn;

/// Runs `$body` with the vectors of two columns of one type.
macro_rules! pair {
    ($a:expr, $b:expr, |$x:ident, $y:ident| $body:expr) => {
        match ($a, $b) {
            (StateColumn::I64($x), StateColumn::I64($y)) => $body,
            (StateColumn::I128($x), StateColumn::I128($y)) => $body,
            (StateColumn::F64($x), StateColumn::F64($y)) => $body,
            (StateColumn::Bytes($x), StateColumn::Bytes($y)) => $body,
            _ => unreachable!("columns of the same calls have the same types"),
        }
    };
}

/// Runs `$body` with the vector of a column.
macro_rules! each {
    ($a:expr, |$x:ident| $body:expr) => {
        match $a {
            StateColumn::I64($x) => $body,
            StateColumn::I128($x) => $body,
            StateColumn::F64($x) => $body,
            StateColumn::Bytes($x) => $body,
        }
    };
}

pub(super) fn resize(column: &mut StateColumn, len: usize) {
    each!(column, |v| v.resize(len, None));
}

/// Gives memory back that holding `used` rows does not need.
pub(super) fn shrink(column: &mut StateColumn, used: usize) {
    each!(
        column,
        |v| if v.capacity() > 4096 && v.capacity() / 4 > used {
            v.shrink_to(2 * used);
        }
    );
}

/// Bytes behind the texts from row `from` on.
pub(super) fn heap_from(column: &StateColumn, from: usize) -> usize {
    match column {
        StateColumn::Bytes(v) => v[from..].iter().flatten().map(|text| text.len()).sum(),
        _ => 0,
    }
}

fn heap_at(column: &StateColumn, row: usize) -> usize {
    match column {
        StateColumn::Bytes(v) => v[row].as_ref().map_or(0, |text| text.len()),
        _ => 0,
    }
}

/// Returns the bytes behind the new row.
pub(super) fn push_from(to: &mut StateColumn, from: &StateColumn, row: usize) -> usize {
    pair!(to, from, |t, f| t.extend_from_slice(&f[row..=row]));
    heap_at(from, row)
}

/// Returns the bytes behind the row before and after.
pub(super) fn assign(
    to: &mut StateColumn,
    row: usize,
    from: &StateColumn,
    source: usize,
) -> (usize, usize) {
    let heap = (heap_at(to, row), heap_at(from, source));
    pair!(to, from, |t, f| t[row].clone_from(&f[source]));
    heap
}

pub(super) fn gather(column: &StateColumn, rows: &[u32]) -> StateColumn {
    macro_rules! pick {
        ($v:expr) => {
            rows.iter().map(|row| $v[*row as usize].clone()).collect()
        };
    }
    match column {
        StateColumn::I64(v) => StateColumn::I64(pick!(v)),
        StateColumn::I128(v) => StateColumn::I128(pick!(v)),
        StateColumn::F64(v) => StateColumn::F64(pick!(v)),
        StateColumn::Bytes(v) => StateColumn::Bytes(pick!(v)),
    }
}

/// Bytes of one value, without the text it may point to.
pub(super) fn width(column: &StateColumn) -> usize {
    fn of<T>(_: &Vec<T>) -> usize {
        size_of::<T>()
    }
    each!(column, |v| of(v))
}

pub(super) fn bytes(column: &StateColumn) -> usize {
    fn held<T>(v: &Vec<T>) -> usize {
        v.capacity() * size_of::<T>()
    }
    each!(column, |v| held(v))
}
