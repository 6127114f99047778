//! A task's part in a transaction: what it seals, and what becomes of it after the ack or the abort.
//!
//! Invariant: `sealed` exists only between `seal` and the end of its transaction; what it says is exactly what stands in the offsets
//! and, for a task with state, in the last block of its changelog.

use super::keyed::BLOCK_LIMIT;
use super::{EventTime, Facts, Input, Phase, Progress, Task};
use crate::batch::Cause;
use crate::broker::CommittedOffset;
use crate::fetch::TopicPartition;
use crate::runtime::error::{Result, TaskError};
use crate::runtime::outbox::Outbox;
use crate::state::block::Header;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The broker's default `offset.metadata.max.bytes`; beyond it no commit would ever succeed.
const MAX_FACTS: usize = 4096;

/// Who seals, with which numbers.
pub struct Sealing<'a> {
    pub transactional_id: &'a str,
    pub member_id: &'a str,
    pub nonce: u64,
    /// Tasks of this task's sub-topology.
    pub producers: u32,
}

/// Bytes of keys and values that passed a task.
pub struct Volume {
    pub read: u64,
    pub written: Vec<(Arc<str>, u64)>,
}

impl Task {
    /// Produces everything of the task that the transaction still lacks.
    pub fn seal(&mut self, by: &Sealing<'_>, outbox: &mut Outbox) -> Result<()> {
        let heard = self.heard();
        let header = Header {
            fingerprint: self.committed.fingerprint,
            sub_topology: self.id.sub_topology.to_string(),
            partition: self.id.partition,
            producers: by.producers,
            epoch: self.committed.epoch + 1,
            nonce: by.nonce,
            watermark: heard.header_watermark(),
            idle: heard.idle,
            part: 0,
            parts: 1,
        };
        if let (Input::Source(source), EventTime::Source(time)) =
            (&self.input, &mut self.working.time)
        {
            time.tell(source.out_of_orderness());
        }
        let sent = self.nodes.seal(&header, BLOCK_LIMIT, outbox)?;
        for (total, sent) in self.working.counts.sent.iter_mut().zip(sent) {
            *total += sent;
        }
        let changes = match &mut self.input {
            Input::Keyed(keyed) => Some(keyed.changes()?),
            Input::Source(_) => None,
        };
        let facts = self.next_facts(by);
        let size = facts.to_metadata().len();
        if size > MAX_FACTS {
            return Err(TaskError::Lost(format!(
                "its facts take {size} bytes, and brokers take {MAX_FACTS} (offset.metadata.max.bytes): too many tasks write to it"
            )));
        }
        if let (Input::Keyed(keyed), Some(changes)) = (&mut self.input, changes) {
            keyed.write(&header, changes, &facts, outbox)?;
        }
        self.sealed = Some(facts);
        Ok(())
    }

    fn next_facts(&mut self, by: &Sealing<'_>) -> Facts {
        let changelog = match &mut self.input {
            Input::Keyed(keyed) => Some(keyed.changelog_facts()),
            Input::Source(_) => None,
        };
        let Progress {
            position,
            time,
            counts,
            run,
        } = self.working.clone();
        Facts {
            transactional_id: by.transactional_id.to_string(),
            member_id: by.member_id.to_string(),
            epoch: self.committed.epoch + 1,
            nonce: by.nonce,
            position,
            fingerprint: self.committed.fingerprint,
            topic_id: self.committed.topic_id.clone(),
            partitions: self.committed.partitions,
            time,
            counts,
            changelog,
            run,
        }
    }

    /// The absolute position and facts, for the transaction; only after `seal`.
    pub fn sealed_offset(&self) -> Option<CommittedOffset> {
        let facts = self.sealed.as_ref()?;
        Some(CommittedOffset {
            at: self.input_at.clone(),
            offset: facts.position,
            metadata: facts.to_metadata(),
        })
    }

    /// Rejects by node and cause since the last call; asked when their transaction is committed.
    pub fn take_reject_counts(&mut self) -> BTreeMap<(Arc<str>, Cause), u64> {
        self.rejects.take_counts()
    }

    /// Bytes that the committed transaction has read, and written by sink; for people.
    pub fn take_volume(&mut self) -> Volume {
        Volume {
            read: std::mem::take(&mut self.read_bytes),
            written: self.nodes.take_written(),
        }
    }

    /// The transaction that carried the task is committed. Returns whether this was its claim.
    pub fn committed(&mut self, blocks: &BTreeMap<TopicPartition, i64>, now: Duration) -> bool {
        let Some(facts) = self.sealed.take() else {
            return false;
        };
        self.committed_at = now;
        if let Input::Keyed(keyed) = &mut self.input {
            let changed = &keyed.operator;
            self.overlay = (
                changed.changed_rows() as u64,
                changed.changed_bytes() as u64,
            );
            keyed.committed(&facts, blocks);
        }
        self.nodes.committed();
        self.committed = facts;
        self.dirty = false;
        let claimed = matches!(self.phase, Phase::Claiming);
        if claimed {
            self.phase = Phase::Running;
        }
        claimed
    }

    /// The open transaction is aborted: back to the committed state. The input must be read again from `position()`.
    pub fn aborted(&mut self) {
        self.sealed = None;
        if let Input::Keyed(keyed) = &mut self.input {
            keyed.aborted();
        }
        if let Input::Source(source) = &mut self.input {
            source.at_end(false, Duration::ZERO);
            self.end_seen = None;
        }
        self.nodes.aborted();
        self.read_bytes = 0;
        self.rejects.discard();
        self.pending.clear();
        self.working = Progress::of(&self.committed);
        self.read_to = self.committed.position;
        self.dirty = false;
    }
}
