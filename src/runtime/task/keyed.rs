//! The input of a keyed task: blocks of partials into a window's state, and that state's changelog and store.
//!
//! Invariant: a block's rows are taken before its watermark; the store is written only between two commits and is
//! never ahead of Kafka; the position of a save is the task's last committed block.

mod slice;

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
use crate::state::{SavedPosition, Store};
use crate::time::watermark::{Heard, Producers};
use slice::Slice;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Blocks stay well under the broker's default message limit (1 MiB).
pub const BLOCK_LIMIT: usize = 900_000;
/// The index of the window's state within its task: a keyed task has one node with state.
const NODE: u8 = 0;

/// What a task's state has cost since it was last asked, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StateWork {
    /// Rows asked of and written to the store.
    pub reads: u64,
    pub writes: u64,
    /// Bytes of committed changes, and of rows written again.
    pub changed: u64,
    pub refreshed: u64,
}

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
    /// What the open transaction makes of the refresh, and the bytes that it writes.
    refreshing: Option<(Refresh, StateWork)>,
    /// The task's last committed block.
    last_block: Option<SavedPosition>,
    /// The last write to the store failed: it has to be opened again before the next.
    broken: bool,
    work: StateWork,
    /// Rows and bytes of all changes so far: what a row takes in the changelog.
    sealed: (u64, u64),
    /// Reads and writes that were told already.
    told: (u64, u64),
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
            broken: false,
            work: StateWork::default(),
            sealed: (0, 0),
            told: (0, 0),
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
        let refreshing = self.refreshing.as_ref().map(|(refresh, _)| refresh);
        refreshing.unwrap_or(&self.refresh).facts()
    }

    /// Collects a refresh slice and the transaction's own changes, in this order.
    pub fn changes(&mut self) -> Result<Changes> {
        let mut refresh = self.refresh.clone();
        let mut changes = Changes::default();
        if let Some((after, limit)) = refresh.slice(self.operator.changed_bytes() as u64) {
            let slice = Slice {
                node: &self.node,
                number: NODE,
                after,
                limit: limit as usize,
            };
            let unsaved = |key: &[u8]| self.operator.unsaved(key);
            let last = slice.write(self.store.as_ref(), &unsaved, &mut changes)?;
            refresh.sliced(last.as_deref());
        }
        let refreshed = changes.bytes() as u64;
        self.operator.seal(NODE, &mut changes);
        let bytes = changes.bytes() as u64;
        self.sealed.0 += self.operator.changed_rows() as u64;
        self.sealed.1 += bytes - refreshed;
        refresh.wrote(bytes);
        let work = StateWork {
            changed: bytes - refreshed,
            refreshed,
            ..StateWork::default()
        };
        self.refreshing = Some((refresh, work));
        Ok(changes)
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
        if let Some((refresh, work)) = self.refreshing.take() {
            self.refresh = refresh;
            self.work.changed += work.changed;
            self.work.refreshed += work.refreshed;
        }
        if let Some(offset) = blocks.get(&self.changelog) {
            if self.last_block.is_some_and(|last| last.offset >= *offset) {
                self.refresh.truncated();
            }
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

    /// Writes unsaved rows into the store, between two commits, and begins a refresh cycle where that is due;
    /// `min_log_bytes` is the least length of log that is worth one.
    pub fn save(&mut self, evict: bool, min_log_bytes: u64) -> Result<()> {
        let Some(position) = self.save_rows()? else {
            return Ok(());
        };
        if evict {
            self.operator.evict();
        }
        // A cycle writes all rows again: it is worth it where half of the log or more is dead.
        let worth = min_log_bytes.max(2 * self.added_bytes());
        let cut = self.refresh.after_save(position.offset + 1, worth);
        if let Some(cut) = cut {
            tracing::warn!(
                changelog = %self.changelog,
                "the changelog was cut from outside: {cut}; all of the state is written again, and until then only this process has it"
            );
        }
        Ok(())
    }

    /// What the rows that this process has added take in the changelog, once each. After a takeover it begins at 0.
    fn added_bytes(&self) -> u64 {
        let (rows, bytes) = self.sealed;
        self.operator.added_rows() * (bytes / rows.max(1))
    }

    /// Writes unsaved rows into the store, between two commits. Returns what the store holds now.
    pub fn save_rows(&mut self) -> Result<Option<SavedPosition>> {
        let Some(position) = self.last_block else {
            return Ok(None);
        };
        if self.broken {
            self.store.recover()?;
            self.broken = false;
        }
        if self.operator.bytes().1 > 0 || self.store.position()? != Some(position) {
            let saved = self.operator.save(&self.node, self.store.as_mut());
            let saved = saved.and_then(|()| self.store.set_position(position));
            self.broken = saved.is_err();
            saved?;
        }
        Ok(Some(position))
    }

    /// The broker's log begins at this offset.
    pub fn saw_log_start(&mut self, log_start: i64) {
        self.refresh.saw_start(log_start);
    }

    /// The log was cut from outside, and the cycle that mends it must begin with a save.
    pub fn needs_save(&self) -> bool {
        self.refresh.unmended().is_some()
    }

    /// The log was cut from outside and is not whole again: commits must go on, whether or not rows come.
    pub fn is_mending(&self) -> bool {
        !self.refresh.is_whole()
    }

    /// What the state has cost since the last call.
    pub fn take_work(&mut self) -> StateWork {
        let store = self.store.figures();
        let (reads, writes) = std::mem::replace(&mut self.told, (store.reads, store.writes));
        StateWork {
            reads: store.reads.saturating_sub(reads),
            writes: store.writes.saturating_sub(writes),
            ..std::mem::take(&mut self.work)
        }
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
