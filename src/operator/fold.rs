//! The sending half of a windowed aggregation: folds rows into one partial per key and window, until the next commit.
//!
//! Invariant: every row received is filtered, rejected or used, and every used row is in exactly one entry of what
//! the next `drain` hands out. A row that came behind its partition's watermark stays an entry of its own, with its
//! record, so that the receiver can name it if it is late. What is late is not decided here.

mod drain;
mod oversized;
mod time;

use super::accumulator::{Accumulators, SKIPPED};
use super::groups::{Index, Keys, tag};
use super::rows::Failed;
use super::{NodeCounts, Reject, map};
use crate::batch::{Batch, Cause, Origin, SourceRows};
use crate::expr::Expr;
use crate::plan::graph::{Window, WindowPlan};
use crate::spec::LatePolicy;
use crate::state::block::{Carried, Partials};
use crate::state::chunked::Chunked;
use crate::state::keys::KeyEncoder;
use arrow_array::{Array, ArrayRef, BooleanArray};
use arrow_schema::{DataType, SchemaRef};
use oversized::Limits;
use std::collections::BTreeMap;

/// Folding is judged once this many rows came since the last drain.
const JUDGED_ROWS: u64 = 16_384;
/// For so many drains a verdict against folding holds; then it is judged anew.
const VERDICT_DRAINS: u32 = 16;
/// What an index entry takes, with room to grow.
const INDEX_BYTES: usize = 12;
/// Bytes of a carried record's key and of its value that are kept.
const CARRIED_PART: usize = 64 * 1024;

/// Holds nothing durable: it is drained at every commit and discarded at every abort.
pub struct Fold {
    calls: Vec<CallInputs>,
    filter: Option<Expr>,
    key_exprs: Vec<Expr>,
    encoder: KeyEncoder,
    time: usize,
    window: Window,
    /// The input's columns and the window's own, where an expression reads those.
    extended: Option<SchemaRef>,
    carry_values: bool,
    limits: Limits,
    shards: i32,
    groups: Groups,
}

/// What one aggregate call is evaluated from.
struct CallInputs {
    argument: Option<Expr>,
    filter: Option<Expr>,
}

/// An aggregate call's inputs, evaluated over one batch.
struct Evaluated {
    argument: Option<ArrayRef>,
    filter: Option<BooleanArray>,
}

/// All entries since the last drain, numbered as they were first seen.
struct Groups {
    keys: Keys<Source>,
    /// Window end of each group.
    ends: Chunked<i64>,
    accumulators: Accumulators,
    /// Where the index of each window stands in `indexes`.
    windows: BTreeMap<i64, usize>,
    /// More indexes than windows: the others are empty and wait to be used again.
    indexes: Vec<Index>,
    /// Groups of carried rows, ascending.
    carried: Vec<(u32, Carried)>,
    carried_bytes: usize,
    rows: u64,
    /// Nearly every row is a new group: rows are passed on without looking for their group.
    pass_through: bool,
    /// Drains since that was decided.
    verdict_drains: u32,
}

/// Which rows are in a group.
struct Source {
    rows: u32,
    first: i64,
    last: i64,
}

impl Fold {
    /// `shards` = partitions of the repartition topic.
    ///
    /// # Panics
    /// If keys or aggregates have types that the planner refuses.
    pub fn new(plan: &WindowPlan, shards: i32) -> Self {
        let calls = plan.aggregates.iter();
        Fold {
            calls: calls
                .map(|c| CallInputs {
                    argument: c.argument.clone(),
                    filter: c.filter.clone(),
                })
                .collect(),
            filter: plan.filter.clone(),
            key_exprs: plan.keys.clone(),
            encoder: key_encoder(&plan.key_types),
            time: plan.time,
            window: plan.window,
            extended: plan.reads_window.then(|| time::extended(&plan.input)),
            carry_values: plan.late == LatePolicy::Reject,
            limits: Limits::new(&plan.aggregates),
            shards,
            groups: Groups {
                keys: Keys::default(),
                ends: Chunked::new(),
                accumulators: Accumulators::new(&plan.aggregates),
                windows: BTreeMap::new(),
                indexes: Vec::new(),
                carried: Vec::new(),
                carried_bytes: 0,
                rows: 0,
                pass_through: false,
                verdict_drains: 0,
            },
        }
    }

    /// Counts: filtered, rejected (a failed expression or no time), used (folded or carried).
    pub fn process(&mut self, batch: &Batch, counts: &mut NodeCounts, rejects: &mut Vec<Reject>) {
        counts.received += batch.len() as u64;
        let extended = self
            .extended
            .as_ref()
            .map(|schema| time::extend(batch, schema, self.time, self.window));
        let batch = extended.as_ref().unwrap_or(batch);
        let Some(batch) = map::filter(self.filter.as_ref(), batch, counts, rejects) else {
            return;
        };
        let mut failed = Failed::default();
        let ends = self.window_ends(&batch, &mut failed);
        let mut evaluate = |expr: &Expr| {
            let evaluated = expr.evaluate(&batch.columns);
            failed.add(evaluated.errors);
            evaluated.values
        };
        let keys: Vec<ArrayRef> = self.key_exprs.iter().map(&mut evaluate).collect();
        let inputs: Vec<Evaluated> = self
            .calls
            .iter()
            .map(|call| call.evaluate(&batch, &mut failed))
            .collect();
        self.limits.check(&keys, &inputs, &mut failed);
        let dropped = if failed.is_empty() {
            Vec::new()
        } else {
            failed.reject(&batch, rejects)
        };
        counts.rejected += dropped.len() as u64;
        counts.used += (batch.len() - dropped.len()) as u64;
        let groups = self.assign(&batch.origin, &ends, &keys, &dropped);
        for (call, input) in inputs.iter().enumerate() {
            let (argument, filter) = (input.argument.as_ref(), input.filter.as_ref());
            self.groups
                .accumulators
                .update(call, &groups, argument, filter);
        }
    }

    /// The end of each row's window; a row without one fails.
    fn window_ends(&self, batch: &Batch, failed: &mut Failed) -> Vec<i64> {
        let times = time::Times::of(batch.columns.column(self.time));
        let mut last = 0..0;
        let size = time::size(self.window);
        let mut end = |row: usize| {
            let Some(time) = times.get(row) else {
                failed.push(
                    row as u32,
                    Cause::BadTimestamp,
                    "the event time is NULL".to_owned(),
                );
                return 0;
            };
            if !last.contains(&time) {
                let Some(end) = time::window_end(self.window, time) else {
                    let message =
                        format!("the window of time {time} ms is outside the range of timestamps");
                    failed.push(row as u32, Cause::BadTimestamp, message);
                    return 0;
                };
                last = end - size..end;
            }
            last.end
        };
        (0..batch.len()).map(&mut end).collect()
    }

    /// The group of each row; makes the new ones.
    fn assign(
        &mut self,
        origin: &Origin,
        ends: &[i64],
        keys: &[ArrayRef],
        dropped: &[u32],
    ) -> Vec<u32> {
        let source = match origin {
            Origin::Source { rows, records } => Some((rows.as_ref(), records.as_ref())),
            Origin::Derived => None,
        };
        let keys = self.encoder.bind(keys);
        let mut dropped = dropped.iter().copied().peekable();
        let mut key = Vec::new();
        let mut window = None;
        let mut assigned = Vec::with_capacity(ends.len());
        for (row, end) in ends.iter().enumerate() {
            if dropped.next_if_eq(&(row as u32)).is_some() {
                assigned.push(SKIPPED);
                continue;
            }
            key.clear();
            keys.encode(row, &mut key);
            let record = source.map(|(rows, records)| (rows, records[row] as usize));
            let offset = record.map_or(-1, |(rows, record)| rows.fetch.offset(record));
            let group = match record {
                Some((rows, record)) if rows.behind.get(record).is_some_and(|behind| *behind) => {
                    let carried = carried(rows, record, self.carry_values);
                    self.groups.carry(&key, *end, carried, offset)
                }
                _ if self.groups.pass_through => self.groups.push(&key, *end, offset),
                _ => self.groups.find_or_push(&key, *end, offset, &mut window),
            };
            let source = self.groups.keys.extra_mut(group);
            source.rows = source.rows.saturating_add(1);
            source.last = offset;
            assigned.push(group);
        }
        self.groups.accumulators.resize(self.groups.keys.len());
        self.groups.judge(assigned.len() as u64);
        assigned
    }

    /// Bytes of what is folded and not drained yet. Memory that is kept for the next fold does not count: it would call for a commit
    /// as soon as one was over.
    pub fn bytes(&self) -> usize {
        self.groups.bytes()
    }

    /// Hands out everything and starts empty; only shards that got rows are named, in ascending order.
    pub fn drain(&mut self) -> Vec<(i32, Partials)> {
        let partials = self.groups.partials(self.shards);
        self.groups.clear();
        partials
    }

    pub fn discard(&mut self) {
        self.groups.clear();
    }
}

/// # Panics
/// If a type cannot be part of a key: the planner refuses it.
pub(super) fn key_encoder(types: &[DataType]) -> KeyEncoder {
    match KeyEncoder::new(types) {
        Ok(encoder) => encoder,
        Err(error) => panic!("the planner accepted a key: {error}"),
    }
}

impl CallInputs {
    fn evaluate(&self, batch: &Batch, failed: &mut Failed) -> Evaluated {
        let filter = self.filter.as_ref().map(|filter| {
            let evaluated = filter.evaluate(&batch.columns);
            failed.add(evaluated.errors);
            map::truth(&evaluated.values)
                .cloned()
                .unwrap_or_else(|| BooleanArray::new_null(batch.len()))
        });
        let argument = self.argument.as_ref().map(|argument| {
            let mut evaluated = argument.evaluate(&batch.columns);
            if let Some(filter) = &filter {
                // What FILTER leaves out is not evaluated, as far as a user can tell.
                let taken = |row: usize| filter.is_valid(row) && filter.value(row);
                evaluated.errors.retain(|error| taken(error.row as usize));
            }
            failed.add(evaluated.errors);
            evaluated.values
        });
        Evaluated { argument, filter }
    }
}

fn carried(rows: &SourceRows, record: usize, with_value: bool) -> Carried {
    let cut = |part: &[u8]| part[..part.len().min(CARRIED_PART)].to_vec();
    Carried {
        entry: 0,
        timestamp: rows.fetch.timestamp(record),
        key: rows.fetch.key(record).map(cut),
        value: rows.fetch.value(record).filter(|_| with_value).map(cut),
    }
}

impl Groups {
    /// Adds a group that no later row will find.
    fn push(&mut self, key: &[u8], end: i64, offset: i64) -> u32 {
        self.ends.push(end);
        self.keys.push(
            key,
            Source {
                rows: 0,
                first: offset,
                last: offset,
            },
        )
    }

    fn carry(&mut self, key: &[u8], end: i64, carried: Carried, offset: i64) -> u32 {
        let group = self.push(key, end, offset);
        let bytes = |part: &Option<Vec<u8>>| part.as_ref().map_or(0, Vec::len);
        self.carried_bytes += size_of::<Carried>() + bytes(&carried.key) + bytes(&carried.value);
        self.carried.push((group, carried));
        group
    }

    /// `window` remembers the window of the row before: most rows are in the same one.
    #[inline]
    fn find_or_push(
        &mut self,
        key: &[u8],
        end: i64,
        offset: i64,
        window: &mut Option<(i64, usize)>,
    ) -> u32 {
        let index = match window {
            Some((last, index)) if *last == end => *index,
            _ => {
                let index = self.index_of(end);
                *window = Some((end, index));
                index
            }
        };
        let tag = tag(key);
        if let Some(group) = self.indexes[index].find(tag, |group| self.keys.key(group) == key) {
            return group;
        }
        let group = self.push(key, end, offset);
        self.indexes[index].insert(tag, group);
        group
    }

    fn index_of(&mut self, end: i64) -> usize {
        let next = self.windows.len();
        let index = *self.windows.entry(end).or_insert(next);
        if index == self.indexes.len() {
            self.indexes.push(Index::default());
        }
        index
    }

    fn judge(&mut self, rows: u64) {
        self.rows += rows;
        // More than 0.8 groups per row.
        if self.rows >= JUDGED_ROWS && self.keys.len() as u64 * 5 > self.rows * 4 {
            self.pass_through = true;
        }
    }

    fn bytes(&self) -> usize {
        let beside = size_of::<i64>() + INDEX_BYTES;
        self.keys.used_bytes()
            + self.keys.len() * (beside + self.accumulators.row_bytes())
            + self.carried_bytes
    }

    fn clear(&mut self) {
        // Windows come and go: the next ones use the indexes of these again.
        self.indexes.truncate(self.windows.len());
        self.indexes.iter_mut().for_each(Index::clear);
        self.windows.clear();
        self.ends.clear();
        self.keys.clear();
        self.accumulators.clear();
        self.carried.clear();
        (self.carried_bytes, self.rows) = (0, 0);
        self.verdict_drains += u32::from(self.pass_through);
        if self.verdict_drains >= VERDICT_DRAINS {
            (self.verdict_drains, self.pass_through) = (0, false);
        }
    }
}

#[cfg(test)]
mod tests;
