//! The Kafka sink: rows to records of the output topic, in the worker's own transaction.
//!
//! Invariant: the same key always goes to the same partition (Java's default partitioner); a record that the broker
//! would refuse (too large, stamped too far ahead) becomes a reject, because one of them would fail its whole batch.

use crate::batch::{Batch, Cause, Origin};
use crate::broker::Outgoing;
use crate::format::Slab;
use crate::format::json::JsonEncoder;
use crate::operator::{NodeCounts, Reject, RejectOrigin};
use crate::plan::graph::SinkPlan;
use crate::runtime::outbox::Outbox;
use crate::spec::SinkTimestamp;
use crate::state::partition::partition_of;
use arrow_array::types::TimestampMillisecondType;
use arrow_array::{Array, PrimitiveArray};

/// What a record takes beside its key and value, at most.
const RECORD_OVERHEAD: usize = 128;
/// The broker's default `message.timestamp.after.max.ms`, less a minute for clocks that differ.
const STAMP_AHEAD_MS: i64 = 59 * 60 * 1000;

/// Facts of the output topic.
#[derive(Debug, Clone, Copy)]
pub struct OutputTopic {
    pub partitions: i32,
    /// `max.message.bytes`.
    pub max_bytes: usize,
}

/// Writes one sink's rows.
pub struct SinkWriter {
    topic: String,
    output: OutputTopic,
    encoder: JsonEncoder,
    keyed: bool,
    stamp: Option<usize>,
    values: Slab,
    keys: Slab,
    /// Rows without a key go round.
    next: i32,
    /// Bytes of keys and values since they were last asked for.
    written: u64,
}

impl SinkWriter {
    pub fn new(plan: &SinkPlan, output: OutputTopic, first: i32) -> Self {
        let spec = &plan.spec;
        SinkWriter {
            topic: spec.topic.value.clone(),
            output,
            encoder: JsonEncoder::new(
                &plan.schema,
                &plan.key,
                spec.timestamp_format,
                spec.decimals_as_string,
            ),
            keyed: !plan.key.is_empty(),
            stamp: plan
                .time
                .filter(|_| spec.timestamp == SinkTimestamp::EventTime),
            values: Slab::default(),
            keys: Slab::default(),
            next: first,
            written: 0,
        }
    }

    pub fn take_written(&mut self) -> u64 {
        std::mem::take(&mut self.written)
    }

    pub fn write(
        &mut self,
        batch: &Batch,
        wall_ms: i64,
        counts: &mut NodeCounts,
        rejects: &mut Vec<Reject>,
        outbox: &mut Outbox,
    ) -> crate::broker::Result<()> {
        self.values.clear();
        self.keys.clear();
        self.encoder.encode(&batch.columns, &mut self.values);
        if self.keyed {
            self.encoder.encode_keys(&batch.columns, &mut self.keys);
        }
        counts.received += batch.len() as u64;
        for row in 0..batch.len() {
            let key = (self.keyed && !self.encoder.null_key(&batch.columns, row))
                .then(|| self.keys.row(row));
            let value = self.values.row(row);
            let timestamp = self.stamp.and_then(|column| time_at(batch, column, row));
            let refused = refusal(&self.output, key, value, timestamp, wall_ms);
            if let Some(message) = refused {
                counts.rejected += 1;
                rejects.push(Reject {
                    cause: Cause::Unwritable,
                    message,
                    origin: origin_of(batch, row),
                });
                continue;
            }
            counts.used += 1;
            self.written += (key.map_or(0, <[u8]>::len) + value.len()) as u64;
            let partition = match key {
                Some(key) => partition_of(key, self.output.partitions),
                None => {
                    self.next = (self.next + 1).rem_euclid(self.output.partitions);
                    self.next
                }
            };
            outbox.send(Outgoing {
                topic: &self.topic,
                partition,
                key,
                value: Some(value),
                timestamp,
            })?;
        }
        Ok(())
    }
}

fn refusal(
    output: &OutputTopic,
    key: Option<&[u8]>,
    value: &[u8],
    timestamp: Option<i64>,
    wall_ms: i64,
) -> Option<String> {
    let bytes = key.map_or(0, <[u8]>::len) + value.len() + RECORD_OVERHEAD;
    if bytes > output.max_bytes {
        let limit = output.max_bytes;
        return Some(format!(
            "the output record has {bytes} bytes, the topic takes {limit} (max.message.bytes)"
        ));
    }
    let ahead = timestamp.filter(|t| *t > wall_ms.saturating_add(STAMP_AHEAD_MS) || *t < 0)?;
    Some(format!(
        "the broker would refuse the record's timestamp {ahead}; `timestamp: wall_clock` avoids it"
    ))
}

fn time_at(batch: &Batch, column: usize, row: usize) -> Option<i64> {
    let array = batch.columns.column(column);
    let times = array
        .as_any()
        .downcast_ref::<PrimitiveArray<TimestampMillisecondType>>()?;
    times.is_valid(row).then(|| times.value(row))
}

fn origin_of(batch: &Batch, row: usize) -> RejectOrigin {
    match &batch.origin {
        Origin::Source { rows, records } => RejectOrigin::Record {
            rows: rows.clone(),
            record: records[row],
        },
        Origin::Derived => RejectOrigin::Derived("a row of the output".into()),
    }
}
