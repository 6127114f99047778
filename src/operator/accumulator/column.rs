//! Row-wise work on columns of state: append, copy, gather.
//!
//! Invariant: functions that take two columns are given columns of the same type (both were made for the same
//! calls); bytes behind texts are reported to the caller, who keeps the sum. No aggregate is computed here.

use crate::state::values::StateColumn;

/// Runs `$body` with two columns of numbers of one type, or `$texts` with two of texts.
macro_rules! pair {
    ($a:expr, $b:expr, |$x:ident, $y:ident| $body:expr, $texts:expr) => {
        match ($a, $b) {
            (StateColumn::I64($x), StateColumn::I64($y)) => $body,
            (StateColumn::I128($x), StateColumn::I128($y)) => $body,
            (StateColumn::F64($x), StateColumn::F64($y)) => $body,
            (StateColumn::Bytes($x), StateColumn::Bytes($y)) => $texts,
            _ => unreachable!("columns of the same calls have the same types"),
        }
    };
}

/// Bytes behind the texts from row `from` on.
pub(super) fn heap_from(column: &StateColumn, from: usize) -> usize {
    match column {
        StateColumn::Bytes(_) => (from..column.len()).map(|row| heap_at(column, row)).sum(),
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
    pair!(to, from, |t, f| t.push(f.get(row)), t.push(f[row].clone()));
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
    pair!(
        to,
        from,
        |t, f| t.set(row, f.get(source)),
        t[row].clone_from(&f[source])
    );
    heap
}

pub(super) fn gather(column: &StateColumn, rows: &[u32]) -> StateColumn {
    match column {
        StateColumn::I64(v) => StateColumn::I64(v.gather(rows)),
        StateColumn::I128(v) => StateColumn::I128(v.gather(rows)),
        StateColumn::F64(v) => StateColumn::F64(v.gather(rows)),
        StateColumn::Bytes(v) => {
            StateColumn::Bytes(rows.iter().map(|row| v[*row as usize].clone()).collect())
        }
    }
}

/// Bytes of one value, without the text it may point to.
pub(super) fn width(column: &StateColumn) -> usize {
    match column {
        StateColumn::I64(_) | StateColumn::F64(_) => 8,
        StateColumn::I128(_) => 16,
        StateColumn::Bytes(_) => size_of::<Option<Box<[u8]>>>(),
    }
}
