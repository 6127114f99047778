//! The input of a keyed task: blocks of partials into a window's state, and that state's changelog and store.
//!
//! Invariant: a block's rows are taken before its watermark; the store is written only between two commits and is
//! never ahead of Kafka; the position of a save is the task's last committed block.

use super::rejects::RejectWriter;
use crate::batch::Batch;
use crate::broker::Outgoing;
use crate::fetch::{Fetch, TopicPartition};
use crate::operator::accumulator::state_types;
use crate::operator::window::WindowOperator;
use crate::operator::{NodeCounts, Reject};
use crate::plan::graph::{WindowInput, WindowPlan};
use crate::protocol::facts::{ChangelogFacts, Facts};
use crate::protocol::refresh::Refresh;
use crate::runtime::error::{Result, TaskError};
use crate::runtime::outbox::Outbox;
use crate::state::block::{self, Body, Changes, Header};
use crate::state::values::StateType;
use crate::state::{Change, SavedPosition, Store};
use crate::time::watermark::{Heard, Producers};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Blocks stay well under the broker's default message limit (1 MiB).
pub const BLOCK_LIMIT: usize = 900_000;
/// The index of the window's state within its task: a keyed task has one node with state.
const NODE: u8 = 0;

/// A window's operator with its store and changelog.
pub struct KeyedInput {
    pub node: Arc<str>,
    pub operator: WindowOperator,
    pub store: Box<dyn Store>,
    pub changelog: TopicPartition,
    plan: WindowPlan,
    producers: Vec<String>,
    states: Vec<StateType>,
    refresh: Refresh,
    refreshing: Option<Refresh>,
    /// The task's last committed block.
    last_block: Option<SavedPosition>,
    scratch: Vec<Reject>,
}

impl KeyedInput {
    pub fn new(
        plan: &WindowInput,
        changelog: TopicPartition,
        store: Box<dyn Store>,
    ) -> Result<Self> {
        let node: Arc<str> = plan.window.node.as_str().into();
        let operator = WindowOperator::open(&plan.window, store.as_ref(), &node)?;
        Ok(KeyedInput {
            // The planner refuses aggregates that have no state of ours.
            states: state_types(&plan.window.aggregates).unwrap_or_default(),
            operator,
            node,
            plan: plan.window.clone(),
            store,
            changelog,
            producers: plan.producers.clone(),
            refresh: Refresh::default(),
            refreshing: None,
            last_block: None,
            scratch: Vec::new(),
        })
    }

    /// Goes on from committed facts; `last_block` is where the replayed changelog ended.
    ///
    /// A refresh cycle of the owner before is given up: its slices came from a store that was saved at the cycle's begin, and ours was
    /// not. The next save begins another.
    pub fn resume(&mut self, facts: ChangelogFacts, last_block: Option<SavedPosition>) {
        self.refresh = Refresh::new(ChangelogFacts {
            cycle: None,
            ..facts
        });
        self.last_block = last_block;
    }

    /// Merges the block at `index` of the fetch, then takes its watermark.
    pub fn take(
        &mut self,
        fetch: &Fetch,
        index: usize,
        time: &mut Producers,
        counts: &mut NodeCounts,
        rejects: &mut RejectWriter,
    ) -> Result<()> {
        let damaged = |message: String| TaskError::Internal {
            topic: fetch.at.topic.to_string(),
            partition: fetch.at.partition,
            offset: fetch.offset(index),
            message,
        };
        let Some(bytes) = fetch.value(index) else {
            return Err(damaged("a record without value".into()));
        };
        let (header, body) =
            block::decode(bytes, &self.states).map_err(|e| damaged(e.to_string()))?;
        let Body::Partials(partials) = body else {
            return Err(damaged("changes stand where partials belong".into()));
        };
        let Some(sub) = self
            .producers
            .iter()
            .position(|p| *p == header.sub_topology)
        else {
            return Err(damaged(format!(
                "written by {}, which this topology does not know",
                header.sub_topology
            )));
        };
        self.operator.merge(
            &header,
            partials,
            self.store.as_ref(),
            counts,
            &mut self.scratch,
        )?;
        rejects.add_all(&self.node, &mut self.scratch);
        if header.part + 1 == header.parts {
            let said = Heard::from_header(header.watermark, header.idle);
            time.hear((sub as u32, header.partition), header.producers, said);
            self.operator
                .advance(time.watermark(self.producers.len() as u32));
            if self.ended(time) {
                self.operator.close_all();
            }
        }
        Ok(())
    }

    pub fn idle(&self, time: &Producers) -> bool {
        time.idle(self.producers.len() as u32)
    }

    /// `--until-end`: nothing more comes in this run.
    pub fn ended(&self, time: &Producers) -> bool {
        time.ended(self.producers.len() as u32)
    }

    /// The next rows of closed windows.
    pub fn fire(
        &mut self,
        rows: usize,
        counts: &mut NodeCounts,
        rejects: &mut RejectWriter,
    ) -> Result<Option<Batch>> {
        let batch = self
            .operator
            .fire(rows, self.store.as_ref(), counts, &mut self.scratch)?;
        rejects.add_all(&self.node, &mut self.scratch);
        Ok(batch)
    }

    /// What the refresh stands at in the open transaction; becomes a committed fact with it.
    pub fn changelog_facts(&mut self) -> ChangelogFacts {
        self.refreshing.as_ref().unwrap_or(&self.refresh).facts()
    }

    /// Collects a refresh slice and the transaction's own changes, in this order.
    pub fn changes(&mut self) -> Result<Changes> {
        let mut refresh = self.refresh.clone();
        let mut changes = Changes::default();
        if let Some((after, limit)) = refresh.slice(self.operator.changed_bytes() as u64) {
            let after = after.to_vec();
            let last = self.slice(&after, limit as usize, &mut changes)?;
            refresh.sliced(last.as_deref());
        }
        self.operator.seal(NODE, &mut changes);
        refresh.wrote(changes.bytes() as u64);
        self.refreshing = Some(refresh);
        Ok(changes)
    }

    /// Writes the store's rows after `after` as puts, about `limit` bytes of them. Returns the last key visited, `None`
    /// at the end of the store.
    fn slice(&self, after: &[u8], limit: usize, changes: &mut Changes) -> Result<Option<Vec<u8>>> {
        let mut last = None;
        let after = (!after.is_empty()).then_some(after);
        self.store.scan(&self.node, b"", after, &mut |key, value| {
            if changes.bytes() >= limit {
                return Ok(false);
            }
            if !self.operator.unsaved(key) {
                changes.push(NODE, Change::Put { key, value });
            }
            last = Some(key.to_vec());
            Ok(true)
        })?;
        Ok(if changes.bytes() >= limit { last } else { None })
    }

    /// Writes the blocks of one commit to the changelog; `facts` stand in the last one.
    pub fn write(
        &mut self,
        header: &Header,
        mut changes: Changes,
        facts: &Facts,
        outbox: &mut Outbox,
    ) -> Result<()> {
        changes.facts = Some(facts.encode());
        for bytes in block::encode_changes(header, &changes, BLOCK_LIMIT) {
            outbox.send_block(Outgoing {
                topic: &self.changelog.topic,
                partition: self.changelog.partition,
                key: None,
                value: Some(&bytes),
                timestamp: None,
            })?;
        }
        Ok(())
    }

    /// The transaction is committed; `blocks` are the last offsets of this transaction by partition.
    pub fn committed(&mut self, facts: &Facts, blocks: &BTreeMap<TopicPartition, i64>) {
        self.operator.committed();
        if let Some(refresh) = self.refreshing.take() {
            self.refresh = refresh;
        }
        if let Some(offset) = blocks.get(&self.changelog) {
            self.last_block = Some(SavedPosition {
                offset: *offset,
                epoch: facts.epoch,
                nonce: facts.nonce,
            });
        }
    }

    pub fn aborted(&mut self) {
        self.operator.aborted();
        self.refreshing = None;
        self.scratch.clear();
    }

    /// Writes unsaved rows into the store, between two commits; `min_log_bytes` is the length of log that is worth a
    /// refresh cycle.
    pub fn save(&mut self, evict: bool, min_log_bytes: u64) -> Result<()> {
        let Some(position) = self.last_block else {
            return Ok(());
        };
        if self.operator.bytes().1 > 0 || self.store.position()? != Some(position) {
            self.operator.save(&self.node, self.store.as_mut())?;
            self.store.set_position(position)?;
        }
        if evict {
            self.operator.evict();
        }
        self.refresh.after_save(position.offset + 1, min_log_bytes);
        Ok(())
    }

    /// Writes what a replay has restored so far, and gives its memory back.
    pub fn save_at(&mut self, position: SavedPosition) -> Result<()> {
        self.operator.save(&self.node, self.store.as_mut())?;
        self.store.set_position(position)?;
        self.operator.evict();
        Ok(())
    }

    /// Forgets all state, in memory and in the store.
    pub fn wipe(&mut self) -> Result<()> {
        self.store.wipe()?;
        self.operator = WindowOperator::open(&self.plan, self.store.as_ref(), &self.node)?;
        Ok(())
    }

    /// Everything in the changelog below this offset is dead.
    pub fn complete_from(&self) -> i64 {
        self.refresh.complete_from()
    }

    pub fn log_bytes(&self) -> u64 {
        self.refresh.log_bytes()
    }
}
