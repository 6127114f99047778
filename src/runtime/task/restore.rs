//! Replays a task's changelog into its state, up to the barrier.
//!
//! Invariant: the replay begins at the local store's position if that block is still in the log, otherwise the store is
//! wiped and the log alone counts; it ends at exactly the committed facts or the state is lost. Per task, cancellable:
//! dropping it is enough.

use super::keyed::KeyedInput;
use crate::broker::LogRange;
use crate::fetch::Fetch;
use crate::protocol::facts::Facts;
use crate::protocol::replay::{Fault, Replay};
use crate::runtime::error::{Result, TaskError};
use crate::state::SavedPosition;
use crate::state::block::{self, Body};

/// One restore under way.
pub struct Restore {
    replay: Option<Replay>,
    barrier: i64,
    /// From the committed offsets; absent where those are gone.
    facts: Option<Facts>,
    /// From the last block that carried any.
    log_facts: Option<Facts>,
    /// Next offset to be replayed.
    position: i64,
    /// Unsaved bytes beyond which the restored rows are written to the store.
    save_bytes: usize,
    pub blocks: u64,
    /// The local store was good: only the log's tail is replayed.
    pub from_store: bool,
    log_start: i64,
}

impl Restore {
    /// Decides where to begin; wipes a local store that does not belong to the log.
    pub fn begin(
        keyed: &mut KeyedInput,
        facts: Option<Facts>,
        log: LogRange,
        barrier: i64,
        save_bytes: usize,
    ) -> Result<Restore> {
        let complete_from = facts
            .as_ref()
            .and_then(|f| f.changelog.as_ref())
            .map_or(log.start, |c| c.complete_from);
        let store = keyed.store.position()?;
        let good = store.filter(|p| p.offset >= log.start && p.offset < barrier);
        let (position, replay) = match good {
            Some(store) => (store.offset, Replay::from_store(store)),
            None => {
                if store.is_some() {
                    tracing::info!(task_node = %keyed.node, "the local store is not of this log any more: wiped, restoring from the log alone");
                }
                keyed.wipe()?;
                if facts.is_some() && complete_from < log.start {
                    return Err(TaskError::Lost(format!(
                        "the changelog begins at offset {}, but its rows are complete only from {complete_from} on",
                        log.start
                    )));
                }
                (complete_from, Replay::from_log())
            }
        };
        let log_facts = None;
        Ok(Restore {
            replay: Some(replay),
            barrier,
            facts,
            log_facts,
            position,
            save_bytes,
            blocks: 0,
            from_store: good.is_some(),
            log_start: log.start,
        })
    }

    /// Where the changelog is read from.
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Takes blocks; returns whether the barrier was reached.
    pub fn take(&mut self, keyed: &mut KeyedInput, fetch: &Fetch) -> Result<bool> {
        for index in fetch.first_from(self.position)..fetch.len() {
            let offset = fetch.offset(index);
            if offset >= self.barrier {
                return Ok(true);
            }
            self.block(keyed, offset, fetch.value(index).unwrap_or_default())?;
            self.position = offset + 1;
            self.blocks += 1;
        }
        Ok(self.position >= self.barrier)
    }

    /// The reader has reached the end of the log at `offset`.
    pub fn at_end(&self, offset: i64) -> bool {
        offset >= self.barrier
    }

    /// Nothing was ever committed for the task: the log holds nothing but the remains of an aborted first claim.
    pub fn never_committed(&self) -> bool {
        self.facts.is_none() && self.blocks == 0 && self.log_start == 0
    }

    fn block(&mut self, keyed: &mut KeyedInput, offset: i64, bytes: &[u8]) -> Result<()> {
        // A block that cannot be read will not be better after a wipe: the log itself is damaged.
        let lost = |message: String| {
            TaskError::Lost(format!(
                "block at offset {offset} of the changelog: {message}"
            ))
        };
        let (header, body) = block::decode(bytes, &[]).map_err(|e| lost(e.to_string()))?;
        let Body::Changes(changes) = body else {
            return Err(lost("it holds no changes".into()));
        };
        let Some(replay) = &mut self.replay else {
            return Ok(());
        };
        replay.on_block(offset, header.epoch, header.nonce)?;
        for change in changes.iter() {
            let (_, change) = change.map_err(|e| lost(e.to_string()))?;
            keyed.operator.restore(change)?;
        }
        if let Some(facts) = &changes.facts {
            let facts = Facts::decode(facts);
            self.log_facts = Some(facts.map_err(|e| lost(e.to_string()))?);
        }
        if keyed.operator.bytes().1 > self.save_bytes {
            let position = SavedPosition {
                offset,
                epoch: header.epoch,
                nonce: header.nonce,
            };
            keyed.save_at(position)?;
        }
        Ok(())
    }

    /// The barrier was reached: returns the facts to go on from.
    pub fn finish(mut self, keyed: &mut KeyedInput) -> Result<Facts> {
        let facts = self.facts.take().or(self.log_facts.take());
        let (Some(facts), Some(replay)) = (facts, self.replay.take()) else {
            return Err(TaskError::Replay(Fault::Ends {
                found: None,
                wanted: 0,
            }));
        };
        let complete_from = facts.changelog.as_ref().map_or(0, |c| c.complete_from);
        if !self.from_store && complete_from < self.log_start {
            return Err(TaskError::Lost(format!(
                "the changelog begins at offset {}, but its rows are complete only from {complete_from} on",
                self.log_start
            )));
        }
        let last = replay.finish(facts.epoch, facts.nonce)?;
        keyed.resume(facts.changelog.clone().unwrap_or_default(), Some(last));
        Ok(facts)
    }
}
