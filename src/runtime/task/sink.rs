//! The Kafka sink: rows to records of the output topic, in the worker's own transaction.
//!
//! Invariant: the same key always goes to the same partition (Java's default partitioner); a record that the broker
//! would refuse (too large, stamped too far ahead) becomes a reject, because one of them would fail its whole batch.

use crate::batch::{Batch, Cause};
use crate::broker::Outgoing;
use crate::format::Slab;
use crate::format::json::JsonEncoder;
use crate::operator::{NodeCounts, Reject, origin_of};
use crate::plan::graph::SinkPlan;
use crate::runtime::outbox::Outbox;
use crate::spec::SinkTimestamp;
use crate::state::partition::partition_of;
use arrow_array::types::TimestampMillisecondType;
use arrow_array::{Array, PrimitiveArray};
use std::collections::BTreeMap;

/// What a record takes beside its key and value, at most.
const RECORD_OVERHEAD: usize = 128;
/// The broker's default `message.timestamp.after.max.ms`.
const STAMP_AHEAD_MS: i64 = 60 * 60 * 1000;
/// For clocks that differ, and for the way to the broker.
const STAMP_MARGIN_MS: i64 = 60 * 1000;

/// Facts of the output topic.
#[derive(Debug, Clone, Copy)]
pub struct OutputTopic {
    pub partitions: i32,
    /// `max.message.bytes`.
    pub max_bytes: usize,
    pub stamps: StampLimits,
}

/// Which timestamps the topic takes, as distances from the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StampLimits {
    before_ms: i64,
    after_ms: i64,
}

impl Default for StampLimits {
    fn default() -> Self {
        StampLimits::of(&BTreeMap::new())
    }
}

impl StampLimits {
    /// From the topic's settings. With `LogAppendTime` the broker stamps by itself and refuses none.
    pub fn of(config: &BTreeMap<String, String>) -> Self {
        let limit = |name: &str, default: i64| {
            let set = config.get(name).and_then(|value| value.parse().ok());
            let limit: i64 = set.unwrap_or(default).max(0);
            limit - STAMP_MARGIN_MS.min(limit / 2)
        };
        let own = config.get("message.timestamp.type");
        if own.is_some_and(|kind| kind == "LogAppendTime") {
            return StampLimits {
                before_ms: i64::MAX,
                after_ms: i64::MAX,
            };
        }
        // The name before Kafka 3.6, for both directions; there it holds beside the new ones.
        let both = limit("message.timestamp.difference.max.ms", i64::MAX);
        StampLimits {
            before_ms: limit("message.timestamp.before.max.ms", i64::MAX).min(both),
            after_ms: limit("message.timestamp.after.max.ms", STAMP_AHEAD_MS).min(both),
        }
    }

    fn take(&self, stamp: i64, wall_ms: i64) -> bool {
        let within = wall_ms.saturating_sub(self.before_ms)..=wall_ms.saturating_add(self.after_ms);
        stamp >= 0 && within.contains(&stamp)
    }
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
                    origin: origin_of(batch, row as u32),
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
    let refused = timestamp.filter(|t| !output.stamps.take(*t, wall_ms))?;
    Some(format!(
        "the broker would refuse the record's timestamp {refused} (message.timestamp.before.max.ms, after.max.ms); \
         `timestamp: wall_clock` avoids it"
    ))
}

fn time_at(batch: &Batch, column: usize, row: usize) -> Option<i64> {
    let array = batch.columns.column(column);
    let times = array
        .as_any()
        .downcast_ref::<PrimitiveArray<TimestampMillisecondType>>()?;
    times.is_valid(row).then(|| times.value(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn limits(settings: &[(&str, &str)]) -> StampLimits {
        let entry = |(name, value): &(&str, &str)| ((*name).to_string(), (*value).to_string());
        StampLimits::of(&settings.iter().map(entry).collect())
    }

    #[test]
    fn a_topic_takes_old_stamps_and_refuses_those_an_hour_ahead_unless_it_says_otherwise() {
        let usual = limits(&[]);
        assert!(usual.take(0, NOW) && usual.take(NOW + STAMP_AHEAD_MS - STAMP_MARGIN_MS, NOW));
        assert!(!usual.take(-1, NOW) && !usual.take(NOW + STAMP_AHEAD_MS, NOW));
        let strict = limits(&[("message.timestamp.before.max.ms", "3600000")]);
        assert!(!strict.take(NOW - 3_600_000, NOW) && strict.take(NOW - 3_000_000, NOW));
        let old = limits(&[("message.timestamp.difference.max.ms", "1000")]);
        assert!(!old.take(NOW - 501, NOW) && !old.take(NOW + 501, NOW) && old.take(NOW, NOW));
        let own = limits(&[("message.timestamp.type", "LogAppendTime")]);
        assert!(own.take(0, NOW) && own.take(i64::MAX, NOW));
    }
}
