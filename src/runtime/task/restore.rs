//! Replays a task's changelog into its state, up to the barrier.
//!
//! Invariant: the replay begins at the local store's position if that block is still in the log, otherwise the store is
//! wiped and the log alone counts; it ends at exactly the committed facts or the state is lost. Per task, cancellable:
//! dropping it is enough.

use super::keyed::KeyedInput;
use crate::broker::LogRange;
use crate::fetch::Fetch;
use crate::protocol::TaskId;
use crate::protocol::facts::{Facts, FactsError};
use crate::protocol::replay::{Fault, Replay};
use crate::protocol::takeover::Refusal;
use crate::runtime::error::{Result, TaskError};
use crate::state::block::{self, Body, Changes, Header};
use crate::state::{Error, SavedPosition};

/// Whose blocks a changelog must hold.
#[derive(Debug, Clone)]
pub struct Owner {
    pub task: TaskId,
    /// Plan fingerprint of the sub-topology.
    pub fingerprint: u64,
}

/// One restore under way.
pub struct Restore {
    owner: Owner,
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
    /// Of those blocks.
    pub bytes: u64,
    /// The local store was good: only the log's tail is replayed.
    pub from_store: bool,
    log_start: i64,
}

impl Restore {
    /// Decides where to begin; wipes a local store that does not belong to the log.
    pub fn begin(
        owner: Owner,
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
                (complete_from, Replay::from_log(complete_from))
            }
        };
        Ok(Restore {
            owner,
            replay: Some(replay),
            barrier,
            facts,
            log_facts: None,
            position,
            save_bytes,
            blocks: 0,
            bytes: 0,
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
            let bytes = fetch.value(index).unwrap_or_default();
            self.block(keyed, offset, bytes)?;
            self.bytes += bytes.len() as u64;
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
        let (header, changes) = read(offset, bytes, &self.owner)?;
        let Some(replay) = &mut self.replay else {
            return Ok(());
        };
        replay.on_block(offset, header.epoch, header.nonce)?;
        for change in changes.iter() {
            let (_, change) = change.map_err(|e| lost(offset, e))?;
            keyed.operator.restore(change)?;
        }
        if let Some(facts) = &changes.facts {
            let facts = Facts::decode(facts).map_err(|e| match e {
                FactsError::Version(_) => TaskError::Refused(Refusal::Facts(e.to_string())),
                FactsError::Missing | FactsError::Damaged(_) => lost(offset, e),
            });
            self.log_facts = Some(facts?);
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
        // A good store may stand over a log whose head is gone: the next save mends that.
        keyed.saw_log_start(self.log_start);
        Ok(facts)
    }
}

/// Reads a block of the owner's changelog.
///
/// # Errors
/// What this program or this topology cannot read is refused, so that another process may try. A block that is damaged
/// or of another task will not be better after a wipe: the log itself is at fault, and the state is lost.
fn read(offset: i64, bytes: &[u8], owner: &Owner) -> Result<(Header, Changes)> {
    let (header, body) = block::decode(bytes, &[]).map_err(|e| match e {
        Error::TooNew { .. } => TaskError::Refused(Refusal::Facts(e.to_string())),
        Error::Damaged { .. } | Error::Io(_) => lost(offset, e),
    })?;
    let task = &owner.task;
    if (header.sub_topology.as_str(), header.partition) != (&*task.sub_topology, task.partition) {
        let writer = TaskId::new(header.sub_topology.as_str(), header.partition);
        return Err(lost(offset, format!("it was written by task {writer}")));
    }
    if header.fingerprint != owner.fingerprint {
        return Err(TaskError::Refused(Refusal::OtherPlan {
            found: header.fingerprint,
            wanted: owner.fingerprint,
        }));
    }
    match body {
        Body::Changes(changes) => Ok((header, changes)),
        Body::Partials(_) => Err(lost(offset, "it holds no changes")),
    }
}

fn lost(offset: i64, why: impl std::fmt::Display) -> TaskError {
    TaskError::Lost(format!("block at offset {offset} of the changelog: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Change;
    use crate::state::block::{Partials, encode_changes, encode_partials};

    fn owner() -> Owner {
        Owner {
            task: TaskId::new("counts", 3),
            fingerprint: 0xfeed,
        }
    }

    fn header(owner: &Owner) -> Header {
        Header {
            fingerprint: owner.fingerprint,
            sub_topology: owner.task.sub_topology.to_string(),
            partition: owner.task.partition,
            producers: 1,
            epoch: 7,
            nonce: 9,
            watermark: 0,
            idle: false,
            part: 0,
            parts: 1,
        }
    }

    /// What becomes of a block that this owner has written.
    fn outcome(writer: &Owner) -> String {
        let mut changes = Changes::default();
        changes.push(0, Change::Delete { key: b"k" });
        let blocks = encode_changes(&header(writer), &changes, 1000);
        said(&blocks[0])
    }

    fn said(block: &[u8]) -> String {
        match read(42, block, &owner()) {
            Ok((header, changes)) => format!("epoch {}, {} changes", header.epoch, changes.len()),
            Err(error) => format!("{:?}: {error}", error.reaction()),
        }
    }

    #[test]
    fn only_blocks_of_the_task_are_taken() {
        assert_eq!(outcome(&owner()), "epoch 7, 1 changes");
        let (mut shard, mut node, mut plan) = (owner(), owner(), owner());
        shard.task.partition = 4;
        let lost = "Park: block at offset 42 of the changelog:";
        assert_eq!(
            outcome(&shard),
            format!("{lost} it was written by task counts/4")
        );
        node.task.sub_topology = "sums".into();
        assert_eq!(
            outcome(&node),
            format!("{lost} it was written by task sums/3")
        );
        plan.fingerprint = 0xbeef;
        assert!(
            outcome(&plan).contains("000000000000beef"),
            "{}",
            outcome(&plan)
        );
    }

    #[test]
    fn damaged_newer_and_other_blocks_are_told_apart() {
        let partials = encode_partials(&header(&owner()), &Partials::default(), 1000);
        assert!(said(&partials[0]).ends_with("it holds no changes"));
        assert!(said(b"noise").contains("block at offset 42"));
        let mut newer = partials[0].clone();
        newer[2] = 200;
        let error = read(42, &newer, &owner());
        assert!(matches!(error, Err(TaskError::Refused(Refusal::Facts(_)))));
    }
}
