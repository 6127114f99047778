//! Partials in blocks: column by column, cut by rows so that each block stays under the limit.
//!
//! Invariant: concatenating the entries of all blocks gives the entries that were encoded, in their order, with the
//! carried records still pointing at theirs. Window ends and first offsets are deltas from the entry before them, last
//! offsets from the entry's first; what is the same in all entries is written once.

use super::frame::{self, Kind};
use super::{Carried, Header, Partials, damaged};
use crate::state::Result;
use crate::state::values::{ByteColumn, Column, StateColumn, StateType, Texts};
use crate::state::varint::put_signed_128;
use crate::state::varint::{
    Reader, put, put_all, put_bytes, put_optional_bytes, put_signed, unzigzag, zigzag,
};
use std::ops::Range;

/// All entries have one window end, which follows.
const SAME: u8 = 0;
/// A delta per entry follows.
const DELTAS: u8 = 1;

/// Encodes partials into as many blocks as the limit (bytes) wants, at least one. `part` and `parts` of the header are
/// set here. A single entry over the limit goes alone.
pub fn encode_partials(header: &Header, partials: &Partials, limit: usize) -> Vec<Vec<u8>> {
    let begin = frame::begin(header, Kind::Partials);
    let mut carried: Vec<&Carried> = partials.carried.iter().collect();
    carried.sort_by_key(|c| c.entry);
    let source = Source { partials, carried };
    let total = partials.keys.len();
    let mut blocks = Vec::new();
    let mut start = 0;
    let mut rows = first_guess(partials, limit);
    loop {
        let taken = rows.clamp(1, (total - start).max(1)).min(total - start);
        let mut block = begin.clone();
        source.encode(start..start + taken, &mut block);
        let fitting = (taken as u128 * limit as u128 * 15 / 16 / block.len() as u128) as usize;
        if block.len() > limit && taken > 1 {
            // At most half: it also ends where one huge entry spoils the average.
            rows = fitting.clamp(1, taken / 2);
            continue;
        }
        rows = fitting.max(taken);
        start += taken;
        blocks.push(block);
        if start >= total {
            frame::close_all(&mut blocks);
            return blocks;
        }
    }
}

/// Rows that fit into a block if their numbers are neither tiny nor huge.
fn first_guess(partials: &Partials, limit: usize) -> usize {
    let rows = partials.keys.len().max(1);
    let row = partials.keys.data.len() / rows + 12 + 6 * partials.states.len();
    limit / row
}

struct Source<'a> {
    partials: &'a Partials,
    /// By entry.
    carried: Vec<&'a Carried>,
}

impl Source<'_> {
    fn encode(&self, range: Range<usize>, out: &mut Vec<u8>) {
        let p = self.partials;
        put(out, range.len() as u64);
        put_window_ends(&p.window_ends[range.clone()], out);
        let from = p.keys.start(range.start);
        let mut before = from;
        put_all(
            out,
            p.keys.ends[range.clone()].iter().map(|end| {
                let len = *end as usize - before;
                before = *end as usize;
                len as u64
            }),
        );
        out.extend_from_slice(&p.keys.data[from..before]);
        put_all(out, p.rows[range.clone()].iter().copied());
        let (firsts, lasts) = (
            &p.first_offsets[range.clone()],
            &p.last_offsets[range.clone()],
        );
        put_deltas(firsts, out);
        put_all(
            out,
            firsts
                .iter()
                .zip(lasts)
                .map(|(first, last)| zigzag(last.wrapping_sub(*first))),
        );
        put(out, p.states.len() as u64);
        for state in &p.states {
            put_state(state, range.clone(), out);
        }
        self.put_carried(range, out);
    }

    fn put_carried(&self, range: Range<usize>, out: &mut Vec<u8>) {
        let from = self
            .carried
            .partition_point(|c| (c.entry as usize) < range.start);
        let to = self
            .carried
            .partition_point(|c| (c.entry as usize) < range.end);
        put(out, (to - from) as u64);
        for carried in &self.carried[from..to] {
            put(out, (carried.entry as usize - range.start) as u64);
            put_signed(out, carried.timestamp);
            put_optional_bytes(out, carried.key.as_deref());
            put_optional_bytes(out, carried.value.as_deref());
        }
    }
}

fn put_window_ends(ends: &[i64], out: &mut Vec<u8>) {
    match ends.first() {
        Some(first) if ends.iter().all(|end| end == first) => {
            out.push(SAME);
            put_signed(out, *first);
        }
        _ => {
            out.push(DELTAS);
            put_deltas(ends, out);
        }
    }
}

fn put_deltas(values: &[i64], out: &mut Vec<u8>) {
    let mut before = 0i64;
    put_all(
        out,
        values.iter().map(|value| {
            let delta = value.wrapping_sub(before);
            before = *value;
            zigzag(delta)
        }),
    );
}

fn type_tag(state_type: StateType) -> u8 {
    match state_type {
        StateType::I64 => 1,
        StateType::I128 => 2,
        StateType::F64 => 3,
        StateType::Bytes => 4,
    }
}

fn put_state(column: &StateColumn, range: Range<usize>, out: &mut Vec<u8>) {
    out.push(type_tag(column.state_type()));
    match column {
        StateColumn::I64(v) => {
            put_nulls(v, range.clone(), out);
            put_all(out, v.present(range).map(zigzag));
        }
        StateColumn::I128(v) => {
            put_nulls(v, range.clone(), out);
            v.present(range).for_each(|v| put_signed_128(out, v));
        }
        StateColumn::F64(v) => {
            put_nulls(v, range.clone(), out);
            v.present(range)
                .for_each(|v| out.extend_from_slice(&v.to_le_bytes()));
        }
        StateColumn::Bytes(v) => {
            // Texts keep no bits of their own; those of a column of nothing else have the same form.
            let texts = || range.clone().map(|row| &v[row]);
            let seen: Column<u8> = texts().map(|v| v.as_ref().map(|_| 0)).collect();
            put_nulls(&seen, 0..seen.len(), out);
            texts().flatten().for_each(|v| put_bytes(out, v));
        }
    }
}

/// 0 where nothing is NULL, else 1 and a bitmap (bit set = NULL).
fn put_nulls<T: Copy + Default>(column: &Column<T>, range: Range<usize>, out: &mut Vec<u8>) {
    if column.all_seen(range.clone()) {
        out.push(0);
        return;
    }
    out.push(1);
    for row in range.clone().step_by(64) {
        let rows = (range.end - row).min(64);
        let nulls = !column.bits(row) & (!0 >> (64 - rows));
        out.extend_from_slice(&nulls.to_le_bytes()[..rows.div_ceil(8)]);
    }
}

pub(super) fn decode(reader: &mut Reader<'_>, types: &[StateType]) -> Result<Partials> {
    // Every entry takes more than one byte: a count beyond the bytes that are left is refused before any allocation.
    let n = reader.count().ok_or_else(|| damaged("count of entries"))?;
    let mut partials = Partials {
        window_ends: window_ends(reader, n).ok_or_else(|| damaged("window ends"))?,
        keys: keys(reader, n).ok_or_else(|| damaged("keys"))?,
        rows: column(n, || reader.varint()).ok_or_else(|| damaged("row counts"))?,
        first_offsets: deltas(reader, n).ok_or_else(|| damaged("first offsets"))?,
        ..Partials::default()
    };
    let mut firsts = partials.first_offsets.iter();
    partials.last_offsets = column(n, || Some(reader.signed()?.wrapping_add(*firsts.next()?)))
        .ok_or_else(|| damaged("last offsets"))?;
    let columns = reader.varint();
    if n == 0 && columns == Some(0) {
        // A block that only moves the watermark need not know the types.
        partials.states = types.iter().map(|t| StateColumn::new(*t)).collect();
        carried(reader, n).ok_or_else(|| damaged("carried records"))?;
        return Ok(partials);
    }
    if columns != Some(types.len() as u64) {
        return Err(damaged(format!("state columns are not {types:?}")));
    }
    for state_type in types {
        partials.states.push(
            state(reader, *state_type, n)
                .ok_or_else(|| damaged(format!("no {state_type:?} state")))?,
        );
    }
    partials.carried = carried(reader, n).ok_or_else(|| damaged("carried records"))?;
    Ok(partials)
}

fn column<T>(n: usize, mut next: impl FnMut() -> Option<T>) -> Option<Vec<T>> {
    let mut values = Vec::with_capacity(n);
    for _ in 0..n {
        values.push(next()?);
    }
    Some(values)
}

fn deltas(reader: &mut Reader<'_>, n: usize) -> Option<Vec<i64>> {
    let mut value = 0i64;
    column(n, || {
        value = value.wrapping_add(reader.signed()?);
        Some(value)
    })
}

fn window_ends(reader: &mut Reader<'_>, n: usize) -> Option<Vec<i64>> {
    match reader.byte()? {
        SAME => Some(vec![reader.signed()?; n]),
        DELTAS => deltas(reader, n),
        _ => None,
    }
}

fn keys(reader: &mut Reader<'_>, n: usize) -> Option<ByteColumn> {
    let mut end = 0u32;
    let ends = column(n, || {
        end = end.checked_add(u32::try_from(reader.varint()?).ok()?)?;
        Some(end)
    })?;
    Some(ByteColumn {
        data: reader.take(end as usize)?.to_vec(),
        ends,
    })
}

fn state(reader: &mut Reader<'_>, state_type: StateType, n: usize) -> Option<StateColumn> {
    if reader.byte()? != type_tag(state_type) {
        return None;
    }
    let nulls = match reader.byte()? {
        0 => None,
        1 => Some(reader.take(n.div_ceil(8))?),
        _ => return None,
    };
    Some(match state_type {
        StateType::I64 => StateColumn::I64(numbers(n, nulls, || Some(unzigzag(reader.varint()?)))?),
        StateType::I128 => StateColumn::I128(numbers(n, nulls, || reader.signed_128())?),
        StateType::F64 => StateColumn::F64(numbers(n, nulls, || {
            reader.array().map(f64::from_le_bytes)
        })?),
        StateType::Bytes => {
            let mut rows = 0..n;
            let texts = Texts::filled(n, || match (rows.next()?, nulls) {
                (row, Some(nulls)) if is_null(nulls, row) => Some(None),
                _ => reader.bytes().map(|text| Some(text.into())),
            })?;
            StateColumn::Bytes(texts)
        }
    })
}

fn is_null(nulls: &[u8], row: usize) -> bool {
    nulls[row / 8] & (1 << (row % 8)) != 0
}

fn numbers<T: Copy + Default>(
    n: usize,
    nulls: Option<&[u8]>,
    mut next: impl FnMut() -> Option<T>,
) -> Option<Column<T>> {
    let Some(nulls) = nulls else {
        return Column::filled(n, next);
    };
    let mut values = Column::new();
    for row in 0..n {
        let value = if is_null(nulls, row) {
            None
        } else {
            Some(next()?)
        };
        values.push(value);
    }
    Some(values)
}

fn carried(reader: &mut Reader<'_>, n: usize) -> Option<Vec<Carried>> {
    let count = reader.count()?;
    let mut records = Vec::new();
    for _ in 0..count {
        records.push(Carried {
            entry: u32::try_from(reader.varint()?)
                .ok()
                .filter(|entry| (*entry as usize) < n)?,
            timestamp: reader.signed()?,
            key: reader.optional_bytes()?.map(<[u8]>::to_vec),
            value: reader.optional_bytes()?.map(<[u8]>::to_vec),
        });
    }
    Some(records)
}
