//! Rejects on their way out: collected while a batch is processed, written to the reject topic in the transaction.
//!
//! Invariant: every reject is counted by its cause, and every one but a late row under `late: drop` (which makes no
//! reject at all) becomes one record on the reject topic.

use crate::batch::Cause;
use crate::broker::{Outgoing, Result};
use crate::format::reject::{self, VALUE_LIMIT};
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
    let blank = reject::Reject {
        cause: reject.cause,
        node,
        topic: None,
        partition: None,
        offset: None,
        timestamp: None,
        message: &reject.message,
        key: None,
        value: None,
        range: None,
        derived: None,
    };
    let place = |sub: &str| (target.input_topic)(sub).unwrap_or_else(|| sub.to_string());
    let mut out = Vec::new();
    let mut write = |record: reject::Reject<'_>| record.encode(VALUE_LIMIT, &mut out);
    match &reject.origin {
        RejectOrigin::Record { rows, record } => {
            let (fetch, record) = (&rows.fetch, *record as usize);
            write(reject::Reject {
                topic: Some(&fetch.at.topic),
                partition: Some(fetch.at.partition),
                offset: Some(fetch.offset(record)),
                timestamp: Some(fetch.timestamp(record)).filter(|t| *t >= 0),
                key: fetch.key(record),
                value: fetch.value(record),
                ..blank
            });
        }
        RejectOrigin::Carried {
            sub_topology,
            partition,
            offset,
            record,
        } => write(reject::Reject {
            topic: Some(&place(sub_topology)),
            partition: Some(*partition),
            offset: Some(*offset),
            timestamp: Some(record.timestamp).filter(|t| *t >= 0),
            key: record.key.as_deref(),
            value: record.value.as_deref(),
            ..blank
        }),
        RejectOrigin::Range {
            sub_topology,
            partition,
            first,
            last,
            rows,
        } => write(reject::Reject {
            topic: Some(&place(sub_topology)),
            partition: Some(*partition),
            range: Some(reject::Range {
                rows: *rows as i64,
                first_offset: *first,
                last_offset: *last,
            }),
            ..blank
        }),
        RejectOrigin::Derived(known) => write(reject::Reject {
            derived: Some(known),
            ..blank
        }),
    }
    out
}
