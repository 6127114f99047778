//! The input of a source task: records to rows, event time, and the rejects of both.
//!
//! Invariant: `records = rejected + rows handed on`, record by record; a time that cannot be true never moves the
//! watermark; idleness follows from the broker's end offset and elapsed time, never from silence alone.

use super::rejects::RejectWriter;
use crate::batch::{Batch, Cause, Origin, SourceRows};
use crate::fetch::Fetch;
use crate::format::json::JsonDecoder;
use crate::format::{Bad, Decoded};
use crate::operator::{Reject, RejectOrigin};
use crate::plan::graph::SourcePlan;
use crate::spec::EventTimeSpec;
use crate::time::watermark::SourceWatermark;
use arrow_array::types::TimestampMillisecondType;
use arrow_array::{Array, PrimitiveArray, RecordBatch, UInt32Array};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// Decodes one partition of a source.
pub struct SourceInput {
    name: Arc<str>,
    decoder: JsonDecoder,
    event_time: Option<(usize, EventTimeSpec)>,
    /// Since when the reader has stood at the broker's end.
    caught_up: Option<Duration>,
}

/// What a stretch of records became.
pub struct Taken {
    pub batch: Option<Batch>,
    pub records: u64,
    pub rejected: u64,
}

impl SourceInput {
    pub fn new(plan: &SourcePlan) -> Self {
        SourceInput {
            name: plan.spec.name.value.as_str().into(),
            decoder: JsonDecoder::new(&plan.spec.columns, plan.spec.coerce),
            event_time: plan.event_time.zip(plan.spec.event_time.clone()),
            caught_up: None,
        }
    }

    pub fn out_of_orderness(&self) -> i64 {
        self.event_time
            .as_ref()
            .map_or(0, |(_, spec)| spec.out_of_orderness_ms)
    }

    /// Decodes the records of `range`. Rejects go to `rejects` at once.
    pub fn take(
        &mut self,
        fetch: Fetch,
        range: Range<usize>,
        time: &mut SourceWatermark,
        wall_ms: i64,
        rejects: &mut RejectWriter,
    ) -> Taken {
        let records = range.len() as u64;
        if records > 0 {
            self.caught_up = None;
            time.idle = false;
        }
        let decoded = self.decoder.decode(&fetch, range);
        let mut bad = decoded.bad;
        let (kept, behind) = match &self.event_time {
            None => (None, Vec::new()),
            Some((column, spec)) => {
                let decoded = Decoded {
                    bad: Vec::new(),
                    records: decoded.records.clone(),
                    columns: decoded.columns.clone(),
                };
                check_times(
                    *column,
                    spec,
                    &decoded,
                    fetch.len(),
                    time,
                    wall_ms,
                    &mut bad,
                )
            }
        };
        let rows = Arc::new(SourceRows { fetch, behind });
        let rejected = bad.len() as u64;
        for bad in bad {
            let origin = RejectOrigin::Record {
                rows: rows.clone(),
                record: bad.record,
            };
            rejects.add(
                &self.name,
                Reject {
                    cause: bad.cause,
                    message: bad.message,
                    origin,
                },
            );
        }
        let (columns, kept_records) = match kept {
            None => (decoded.columns, decoded.records),
            Some(kept) => select(&decoded.columns, &decoded.records, &kept),
        };
        let batch = (columns.num_rows() > 0).then(|| Batch {
            columns,
            origin: Origin::Source {
                rows,
                records: kept_records.into(),
            },
        });
        Taken {
            batch,
            records,
            rejected,
        }
    }

    /// The reader stands at the broker's end, or has left it.
    pub fn at_end(&mut self, caught_up: bool, elapsed: Duration) {
        if caught_up {
            self.caught_up.get_or_insert(elapsed);
        } else {
            self.caught_up = None;
        }
    }

    /// Marks the partition idle when it was caught up for long enough. Returns whether that changed something.
    pub fn rest(&self, time: &mut SourceWatermark, elapsed: Duration) -> bool {
        let Some(idle_after) = self
            .event_time
            .as_ref()
            .and_then(|(_, spec)| spec.idle_after_ms)
        else {
            return false;
        };
        let due = self.caught_up.is_some_and(|since| {
            elapsed.saturating_sub(since) >= Duration::from_millis(idle_after.max(0) as u64)
        });
        if due && !time.idle {
            time.idle = true;
            return true;
        }
        false
    }
}

/// Checks every row's time and moves the watermark. Returns the rows to keep (`None` for all) and, per record of the
/// fetch, whether its row came behind the watermark (empty where none did).
fn check_times(
    column: usize,
    spec: &EventTimeSpec,
    decoded: &Decoded,
    records: usize,
    time: &mut SourceWatermark,
    wall_ms: i64,
    bad: &mut Vec<Bad>,
) -> (Option<Vec<u32>>, Vec<bool>) {
    let array = decoded.columns.column(column);
    let Some(times) = array
        .as_any()
        .downcast_ref::<PrimitiveArray<TimestampMillisecondType>>()
    else {
        return (None, Vec::new());
    };
    let latest = spec
        .valid_ahead_ms
        .map_or(i64::MAX, |ahead| wall_ms.saturating_add(ahead));
    let mut kept: Option<Vec<u32>> = None;
    let mut behind = Vec::new();
    for row in 0..times.len() {
        let at = times.value(row);
        if times.is_null(row) || at < spec.valid_from_ms || at > latest {
            kept.get_or_insert_with(|| (0..row as u32).collect());
            let message = describe(times.is_valid(row).then_some(at), spec, latest);
            bad.push(Bad {
                record: decoded.records[row],
                cause: Cause::BadTimestamp,
                message,
            });
            continue;
        }
        if time.observe(at, spec.out_of_orderness_ms) {
            behind.resize(records, false);
            behind[decoded.records[row] as usize] = true;
        }
        if let Some(kept) = &mut kept {
            kept.push(row as u32);
        }
    }
    (kept, behind)
}

fn describe(at: Option<i64>, spec: &EventTimeSpec, latest: i64) -> String {
    let column = &spec.column.value;
    match at {
        None => format!("event time column {column} is NULL"),
        Some(at) if at < spec.valid_from_ms => {
            format!(
                "event time {at} (column {column}) lies before event_time.valid.from = {}",
                spec.valid_from_ms
            )
        }
        Some(at) => format!(
            "event time {at} (column {column}) lies past the wall clock + event_time.valid.ahead = {latest}"
        ),
    }
}

fn select(columns: &RecordBatch, records: &[u32], kept: &[u32]) -> (RecordBatch, Vec<u32>) {
    let indices = UInt32Array::from(kept.to_vec());
    // The indices come from the same batch: taking them cannot fail.
    let columns = arrow_select::take::take_record_batch(columns, &indices)
        .unwrap_or_else(|_| columns.slice(0, 0));
    (
        columns,
        kept.iter().map(|row| records[*row as usize]).collect(),
    )
}
