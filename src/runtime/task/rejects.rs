//! Rejects on their way out: collected while a batch is processed, written to the reject topic in the transaction.
//!
//! Invariant: every reject is counted by its cause, and every one but a late row under `late: drop` (which makes no
//! reject at all) becomes one record on the reject topic.

use crate::batch::Cause;
use crate::broker::{Outgoing, Result};
use crate::fetch::TopicPartition;
use crate::format::reject::{RejectRecord, encode};
use crate::operator::{Reject, RejectOrigin};
use crate::runtime::outbox::Outbox;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Collects the rejects of one task.
#[derive(Default)]
pub struct RejectWriter {
    pending: Vec<(Arc<str>, Reject)>,
    /// Since the last call of `take_counts`, by node and cause.
    counts: BTreeMap<(Arc<str>, Cause), u64>,
}

/// Where rejects are written, and what origins of other tasks mean.
pub struct RejectTarget<'a> {
    pub topic: &'a str,
    pub partition: i32,
    /// The topic that tasks of a sub-topology read.
    pub input_topic: &'a dyn Fn(&str) -> Option<String>,
}

impl RejectWriter {
    pub fn add(&mut self, node: &Arc<str>, reject: Reject) {
        *self.counts.entry((node.clone(), reject.cause)).or_default() += 1;
        self.pending.push((node.clone(), reject));
    }

    pub fn add_all(&mut self, node: &Arc<str>, rejects: &mut Vec<Reject>) {
        for reject in rejects.drain(..) {
            self.add(node, reject);
        }
    }

    pub fn take_counts(&mut self) -> BTreeMap<(Arc<str>, Cause), u64> {
        std::mem::take(&mut self.counts)
    }

    pub fn discard(&mut self) {
        self.pending.clear();
        self.counts.clear();
    }

    /// Writes what was collected.
    pub fn write(&mut self, target: &RejectTarget<'_>, outbox: &mut Outbox) -> Result<()> {
        for (node, reject) in self.pending.drain(..) {
            let value = encode_reject(&node, &reject, target);
            outbox.send(Outgoing {
                topic: target.topic,
                partition: target.partition,
                key: None,
                value: Some(&value),
                timestamp: None,
            })?;
        }
        Ok(())
    }
}

fn encode_reject(node: &str, reject: &Reject, target: &RejectTarget<'_>) -> Vec<u8> {
    let mut record = RejectRecord::new(reject.cause.as_str(), node, &reject.message);
    let place;
    match &reject.origin {
        RejectOrigin::Record { rows, record: index } => {
            let (fetch, index) = (&rows.fetch, *index as usize);
            let TopicPartition { topic, partition } = &fetch.at;
            record = record
                .at(topic, *partition, fetch.offset(index), fetch.timestamp(index))
                .bytes(fetch.key(index), fetch.value(index));
        }
        RejectOrigin::Carried { sub_topology, partition, offset, record: carried } => {
            place = (target.input_topic)(sub_topology).unwrap_or_else(|| sub_topology.clone());
            record = record
                .at(&place, *partition, *offset, carried.timestamp)
                .bytes(carried.key.as_deref(), carried.value.as_deref());
        }
        RejectOrigin::Range { sub_topology, partition, first, last, rows } => {
            place = (target.input_topic)(sub_topology).unwrap_or_else(|| sub_topology.clone());
            record = record.range(&place, *partition, *first, *last, *rows);
        }
        RejectOrigin::Derived(known) => record = record.derived(known),
    }
    encode(&record)
}
