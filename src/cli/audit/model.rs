//! The model: what the output must be, computed from the input that was read back. A map from window and group to
//! accumulators, and nothing clever.
//!
//! Invariant: each row is counted once, in the window of its event time, unless the engine says in the reject topic that it was
//! late (whether it was allowed to is judged apart). Rows whose lateness cannot be known (`late: drop`) make their
//! window and group undecided; they are never guessed.
//!
//! Which rows may be late: a window closes only when the watermark of every partition has passed its end, so a row whose
//! window its own partition's watermark had not passed is on time (unless its partition was idle, new or resumed).

mod ranges;

use super::compare::{Anomaly, AnomalyKind, Expected, ExpectedRow, GroupKey};
use super::rejects::{Place, RejectBook};
use super::row;
use super::shape::{Aggregate, ItemFrom, Shape};
use super::sql::Function;
use super::value::{Double, Exact, Value};
use crate::spec::LatePolicy;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// What became of one input record.
pub struct InputRecord<'a> {
    pub place: Place,
    /// Kafka's timestamp, ms since 1970.
    pub timestamp: i64,
    pub value: Option<&'a [u8]>,
}

/// A row that is kept apart, because the reject topic decides about it.
struct Apart {
    group: GroupKey,
    row: Vec<Value>,
    /// It came behind its partition's watermark: the engine does not fold such a row with others.
    behind: bool,
    /// The engine had no right to call it late, unless its partition was idle, new or resumed.
    on_time: bool,
}

#[derive(Clone)]
struct Group {
    rows: u64,
    accumulators: Vec<Accumulator>,
}

#[derive(Debug, Clone)]
struct Accumulator {
    count: u64,
    exact: Option<Exact>,
    double: f64,
    best: Option<Value>,
}

/// Counts of what was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct InputCounts {
    pub records: u64,
    /// Records that are no rows.
    pub bad: u64,
    pub filtered: u64,
    /// Rows whose window may have been closed when they came.
    pub possibly_late: u64,
}

#[derive(Default)]
pub struct Model {
    groups: BTreeMap<GroupKey, Group>,
    apart: BTreeMap<Place, Apart>,
    /// Records that must be rejected, and why.
    bad: BTreeMap<Place, String>,
    /// Records that were rejected although nothing is wrong with them.
    wrongly_rejected: BTreeSet<Place>,
    /// Greatest event time seen per partition, ms.
    newest: BTreeMap<i32, i64>,
    pub counts: InputCounts,
}

impl Model {
    /// Takes one record; those of a partition come in the order of their offsets. `book` is what is known of the
    /// reject topic so far, `now_ms` the wall clock.
    pub fn read(
        &mut self,
        shape: &Shape,
        book: &RejectBook,
        record: &InputRecord<'_>,
        now_ms: i64,
    ) {
        self.counts.records += 1;
        let decided = row::read(&shape.columns, record.value)
            .and_then(|row| Ok((event_time(shape, book, record, &row, now_ms)?, row)));
        match decided {
            Ok((time, row)) => self.take_row(shape, book, record.place, time, row),
            Err(why) => {
                self.counts.bad += 1;
                self.bad.insert(record.place, why);
            }
        }
    }

    fn take_row(
        &mut self,
        shape: &Shape,
        book: &RejectBook,
        place: Place,
        time: i64,
        row: Vec<Value>,
    ) {
        if book.is_bad(place) {
            self.wrongly_rejected.insert(place);
        }
        let watermark = self
            .newest
            .get(&place.0)
            .map(|newest| newest.saturating_sub(shape.event_time.out_of_orderness_ms + 1));
        let newest = self.newest.entry(place.0).or_insert(time);
        *newest = time.max(*newest);
        if shape
            .filter
            .as_ref()
            .is_some_and(|filter| filter(&row) != Some(true))
        {
            self.counts.filtered += 1;
            return;
        }
        let Some(end) = shape.window_end(time) else {
            return;
        };
        let possibly_late = watermark.is_some_and(|watermark| end - 1 <= watermark);
        self.counts.possibly_late += u64::from(possibly_late);
        let group = GroupKey {
            end,
            key: key_of(shape, &row),
        };
        if possibly_late || book.is_late(place) || book.in_late_range(place) {
            let apart = Apart {
                group,
                row,
                behind: watermark.is_some_and(|watermark| time <= watermark),
                on_time: !possibly_late,
            };
            self.apart.insert(place, apart);
        } else {
            let group = self.groups.entry(group);
            group.or_insert_with(|| Group::new(shape)).add(shape, &row);
        }
    }

    /// A reject was read that changes what was decided about input records read before: read the input anew.
    /// `next` is the offset after the last record read of the partition.
    pub fn contradicted_by(&self, (partition, first, last): (i32, i64, i64), next: i64) -> bool {
        first < next
            && (first..=last.min(next - 1)).any(|offset| {
                let place = (partition, offset);
                !self.apart.contains_key(&place)
                    && !self.bad.contains_key(&place)
                    && !self.wrongly_rejected.contains(&place)
            })
    }

    /// The watermark at the end of the input: the least of the partitions that have data; `None` without any.
    pub fn watermark(&self, shape: &Shape) -> Option<i64> {
        self.newest
            .values()
            .min()
            .map(|newest| newest.saturating_sub(shape.event_time.out_of_orderness_ms + 1))
    }

    /// What the output must be. Windows up to `watermark` must be there.
    pub fn expected(
        &self,
        shape: &Shape,
        book: &RejectBook,
        watermark: Option<i64>,
    ) -> BTreeMap<GroupKey, Expected> {
        let ranges = self.late_ranges(book);
        let mut touched: BTreeMap<&GroupKey, (Group, bool)> = BTreeMap::new();
        for (place, apart) in &self.apart {
            let key = &apart.group;
            let (group, undecided) = touched.entry(key).or_insert_with(|| {
                let certain = self.groups.get(key).cloned();
                (certain.unwrap_or_else(|| Group::new(shape)), false)
            });
            *undecided |=
                ranges.doubtful.contains(key) || !apart.on_time && shape.late == LatePolicy::Drop;
            if !book.is_late(*place) && !ranges.late.contains(place) {
                group.add(shape, &apart.row);
            }
        }
        let must_be_there =
            |key: &GroupKey| watermark.is_some_and(|watermark| key.end - 1 <= watermark);
        let mut expected: BTreeMap<GroupKey, Expected> = BTreeMap::new();
        for (key, group) in &self.groups {
            if !touched.contains_key(key) {
                let row = group.row(shape, key);
                expected.insert(
                    key.clone(),
                    Expected {
                        row,
                        closed: must_be_there(key),
                    },
                );
            }
        }
        for (key, (group, undecided)) in touched {
            let certain = self.groups.contains_key(key);
            let key = key.clone();
            if undecided {
                let closed = certain && must_be_there(&key);
                expected.insert(
                    key,
                    Expected {
                        row: ExpectedRow::Undecided,
                        closed,
                    },
                );
            } else if group.rows > 0 {
                let row = group.row(shape, &key);
                let closed = must_be_there(&key);
                expected.insert(key, Expected { row, closed });
            }
        }
        expected
    }

    /// Records that the engine rejected or did not reject against the rules. `idle_sources`: partitions may have been
    /// idle, new or resumed, so that a row on time by its own partition may have been late.
    pub fn judge_rejects(&self, book: &RejectBook, idle_sources: bool) -> Vec<Anomaly> {
        let mut found = vec![];
        let mut report = |kind, place: Place, detail: String| {
            let key = format!("input {}/{}", place.0, place.1);
            found.push(Anomaly {
                kind,
                window_end: None,
                key,
                place: None,
                detail,
            });
        };
        for (place, why) in &self.bad {
            if !book.is_bad(*place) {
                report(
                    AnomalyKind::NotRejected,
                    *place,
                    format!("stands in no reject record: {why}"),
                );
            }
        }
        for place in &self.wrongly_rejected {
            let causes = book
                .records
                .get(place)
                .map(|causes| causes.join(", "))
                .unwrap_or_default();
            report(
                AnomalyKind::WronglyRejected,
                *place,
                format!("nothing is wrong with it, rejected as {causes}"),
            );
        }
        for (range, why) in self.late_ranges(book).wrong {
            report(AnomalyKind::WronglyRejected, range, why);
        }
        if !idle_sources {
            for (place, _) in self
                .apart
                .iter()
                .filter(|(place, apart)| apart.on_time && book.is_late(**place))
            {
                let detail =
                    "rejected as late, but its partition's watermark had not passed its window"
                        .to_owned();
                report(AnomalyKind::LateOnTime, *place, detail);
            }
            for range in &book.late_ranges {
                let detail = format!(
                    "{} rows up to offset {} rejected as late, folded on time",
                    range.rows, range.last
                );
                report(
                    AnomalyKind::LateOnTime,
                    (range.partition, range.first),
                    detail,
                );
            }
        }
        found
    }
}

/// The row's event time, in ms.
fn event_time(
    shape: &Shape,
    book: &RejectBook,
    record: &InputRecord<'_>,
    row: &[Value],
    now_ms: i64,
) -> Result<i64, String> {
    let Value::Time(us) = &row[shape.time] else {
        return Err("the event time is null".to_owned());
    };
    let time = i64::try_from(us.div_euclid(1000))
        .map_err(|_| "the event time is out of range".to_owned())?;
    let valid = &shape.event_time;
    if time < valid.valid_from_ms {
        return Err(format!(
            "the event time {time} lies before {}",
            valid.valid_from_ms
        ));
    }
    let Some(ahead) = valid.valid_ahead_ms else {
        return Ok(time);
    };
    // The engine compared with its wall clock when it read the record, some time between the record's timestamp and
    // now: in between only the reject topic knows.
    let too_far = time > now_ms.saturating_add(ahead)
        || time > record.timestamp.saturating_add(ahead) && book.is_bad(record.place);
    if too_far {
        Err(format!("the event time {time} lies too far ahead"))
    } else {
        Ok(time)
    }
}

fn key_of(shape: &Shape, row: &[Value]) -> Vec<Value> {
    shape
        .keys
        .iter()
        .map(|column| row[*column].clone())
        .collect()
}

impl Group {
    fn new(shape: &Shape) -> Group {
        let empty = Accumulator {
            count: 0,
            exact: Some(Exact::new(0, 0)),
            double: 0.0,
            best: None,
        };
        Group {
            rows: 0,
            accumulators: vec![empty; shape.aggregates.len()],
        }
    }

    fn add(&mut self, shape: &Shape, row: &[Value]) {
        self.rows += 1;
        for (aggregate, accumulator) in shape.aggregates.iter().zip(&mut self.accumulators) {
            if aggregate
                .filter
                .as_ref()
                .is_none_or(|filter| filter(row) == Some(true))
            {
                accumulator.add(
                    aggregate.function,
                    aggregate.argument.map(|column| &row[column]),
                );
            }
        }
    }

    fn row(&self, shape: &Shape, key: &GroupKey) -> ExpectedRow {
        let mut values = vec![];
        for item in &shape.items {
            values.push(match item.from {
                ItemFrom::WindowStart => Value::time_ms(key.end - shape.size_ms),
                ItemFrom::WindowEnd => Value::time_ms(key.end),
                ItemFrom::WindowTime => Value::time_ms(key.end - 1),
                ItemFrom::Key(index) => key.key[index].clone(),
                ItemFrom::Aggregate(index) => {
                    match self.accumulators[index].result(&shape.aggregates[index]) {
                        Some(value) => value,
                        None => return ExpectedRow::Rejected,
                    }
                }
            });
        }
        ExpectedRow::Values(values)
    }
}

impl Accumulator {
    fn add(&mut self, function: Function, value: Option<&Value>) {
        let Some(value) = value else {
            self.count += 1;
            return;
        };
        if *value == Value::Null {
            return;
        }
        self.count += 1;
        match (function, value) {
            (Function::Sum | Function::Avg, Value::Exact(number)) => {
                self.exact = self.exact.and_then(|sum| sum.checked_add(*number));
                self.double += number.as_f64();
            }
            (Function::Sum | Function::Avg, Value::Double(number)) => self.double += number.get(),
            (Function::Min | Function::Max, _) => {
                let wanted = if function == Function::Min {
                    Ordering::Less
                } else {
                    Ordering::Greater
                };
                if self
                    .best
                    .as_ref()
                    .is_none_or(|best| value.compare(best) == Some(wanted))
                {
                    self.best = Some(value.clone());
                }
            }
            _ => {}
        }
    }

    /// `None` where the result does not fit and its row is rejected.
    fn result(&self, aggregate: &Aggregate) -> Option<Value> {
        use super::value::ValueKind;
        Some(match aggregate.function {
            Function::Count => Value::integer(self.count.into()),
            _ if self.count == 0 => Value::Null,
            Function::Min | Function::Max => self.best.clone().unwrap_or(Value::Null),
            Function::Avg => Value::Double(Double::new(match self.exact {
                Some(exact) if exact != Exact::new(0, 0) => exact.as_f64() / self.count as f64,
                _ => self.double / self.count as f64,
            })),
            Function::Sum if aggregate.kind == ValueKind::Double => {
                Value::Double(Double::new(self.double))
            }
            Function::Sum => {
                let sum = self.exact?;
                if aggregate.must_fit_i64 && i64::try_from(sum.as_integer()?).is_err() {
                    return None;
                }
                Value::Exact(sum)
            }
        })
    }
}

#[cfg(test)]
mod tests;
