//! The shell of a commit: executes what [`Commit`] decides, one action after the other.

use super::Worker;
use crate::broker::{self, CommittedOffset};
use crate::error::Reaction;
use crate::fetch::TopicPartition;
use crate::protocol::TaskId;
use crate::protocol::commit::{Action, Cause, Commit, Fact, Next, Verdict};
use crate::runtime::error::TaskError;
use crate::runtime::task::{Phase, Sealing};
use crate::runtime::telemetry;
use std::collections::BTreeMap;
use std::time::Duration;

/// One wait for acknowledgements or for the offsets' answer; the state machine calls again.
const STEP: Duration = Duration::from_secs(2);
/// What an abort may take where the commit has used up its time; after that the producer is replaced.
const SHORTEST_ABORT: Duration = Duration::from_secs(2);

/// What one commit has gathered.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) tasks: Vec<TaskId>,
    pub(super) blocks: BTreeMap<TopicPartition, i64>,
    /// The task that failed by itself, and how.
    pub(super) culprit: Option<(TaskId, TaskError)>,
    pub(super) bytes: usize,
    pub(super) began: Duration,
    /// It outlived the deadline undone: the thread lets its tasks go.
    pub(super) lets_go: bool,
}

impl Worker {
    pub(super) fn commit_is_due(&self) -> bool {
        let tuning = &self.shared.tuning;
        let held: usize = self.tasks.values().map(|t| t.transaction_bytes()).sum();
        self.elapsed() >= self.next_commit
            || self.producer.bytes() + held >= tuning.commit_max_bytes
            || self.tasks.values().any(|t| {
                matches!(t.phase, Phase::Claiming)
                    && (!self.searching() || self.solo.as_ref() == Some(&t.id))
            })
    }

    /// Commits every task that has something to say; nothing happens where none has.
    pub(super) fn commit(&mut self) {
        let now = self.elapsed();
        self.next_commit = now + self.shared.tuning.commit_interval;
        self.park_recreated();
        self.watch_changelogs();
        let one_by_one = self.searching();
        let tasks: Vec<TaskId> = self
            .tasks
            .values()
            .filter(|t| t.wants_commit(self.producers_of(t), now))
            .filter(|t| !one_by_one || self.solo.as_ref() == Some(&t.id))
            .map(|t| t.id.clone())
            .collect();
        if tasks.is_empty() {
            if one_by_one {
                self.next_solo();
            }
            return;
        }
        let (commit, first) = Commit::start(self.shared.tuning.commit_deadline);
        self.drive(commit, first, tasks);
    }

    /// Gives up what the open transaction holds, before its commit began.
    pub(super) fn give_up(&mut self, cause: Cause, culprit: Option<(TaskId, TaskError)>) {
        let (commit, first) = Commit::give_up(cause, self.shared.tuning.commit_deadline);
        let tasks = self.tasks.keys().cloned().collect();
        let gathered = Gathered {
            tasks,
            culprit,
            began: self.elapsed(),
            ..Gathered::default()
        };
        self.steps(commit, first, gathered);
    }

    fn drive(&mut self, commit: Commit, first: Action, tasks: Vec<TaskId>) {
        let gathered = Gathered {
            tasks,
            began: self.elapsed(),
            ..Gathered::default()
        };
        self.steps(commit, first, gathered);
    }

    fn steps(&mut self, mut commit: Commit, mut action: Action, mut gathered: Gathered) {
        self.shared.progress.begin(self.index, gathered.began);
        let verdict = loop {
            let fact = self.execute(action, &mut gathered);
            match commit.on(fact, self.lasted(&gathered)) {
                Next::Do(next) => action = next,
                Next::Ended(verdict) => break verdict,
            }
        };
        let deadline = self.shared.tuning.commit_deadline;
        gathered.lets_go = verdict.lets_go(self.lasted(&gathered), deadline);
        // What follows from it, a save for one, is no part of the commit.
        let now = self.elapsed();
        self.shared.progress.end(self.index, now, gathered.lets_go);
        self.settle(verdict, gathered);
    }

    fn lasted(&self, gathered: &Gathered) -> Duration {
        self.elapsed().saturating_sub(gathered.began)
    }

    /// What is left of the commit's time.
    fn left(&self, gathered: &Gathered) -> Duration {
        let deadline = self.shared.tuning.commit_deadline;
        deadline.saturating_sub(self.lasted(gathered))
    }

    fn execute(&mut self, action: Action, gathered: &mut Gathered) -> Fact {
        match action {
            Action::Seal => self.seal(gathered),
            Action::Flush => {
                let left = self.left(gathered);
                let Some(outbox) = self.outbox() else {
                    return no_producer();
                };
                gathered.bytes = outbox.bytes();
                match outbox.flush(left.min(STEP)) {
                    Ok(blocks) => {
                        gathered.blocks = blocks;
                        Fact::Done
                    }
                    Err(error) => Fact::Failed(error),
                }
            }
            Action::Check | Action::CheckAgain => self.check(gathered),
            Action::SendOffsets => self.send_offsets(gathered),
            Action::EndTxn => self.end(gathered),
            Action::Abort => {
                let limit = self.shared.tuning.transaction_timeout;
                let time = self.left(gathered).min(limit).max(SHORTEST_ABORT);
                let Some(outbox) = self.outbox() else {
                    return no_producer();
                };
                outbox
                    .abort(time)
                    .map_or_else(Fact::Failed, |()| Fact::Done)
            }
        }
    }

    fn seal(&mut self, gathered: &mut Gathered) -> Fact {
        let nonce = self.next_nonce();
        let shared = self.shared.clone();
        let Some(outbox) = self.producer.outbox() else {
            return no_producer();
        };
        let transactional_id = outbox.transactional_id().to_string();
        if let Err(error) = outbox.begin() {
            return Fact::Failed(error);
        }
        for id in &gathered.tasks {
            let Some(task) = self.tasks.get_mut(id) else {
                continue;
            };
            let producers = shared
                .sub_topology(id)
                .map_or(1, |sub| shared.tasks_of(sub));
            let member_id = task.taken.member_id.clone();
            let by = Sealing {
                transactional_id: &transactional_id,
                member_id: &member_id,
                nonce,
                producers,
            };
            match task.seal(&by, outbox) {
                Ok(()) => {}
                Err(TaskError::Broker(error)) => return Fact::Failed(error),
                Err(error) => {
                    let message = format!("task {id}: {error}");
                    gathered.culprit = Some((id.clone(), error));
                    return Fact::Failed(broker::Error::Abortable {
                        call: "seal",
                        message,
                    });
                }
            }
        }
        Fact::Done
    }

    fn check(&self, gathered: &Gathered) -> Fact {
        let metadata = match self.shared.group_metadata() {
            Ok(metadata) => metadata,
            Err(error) => return Fact::Failed(error),
        };
        let tasks = gathered
            .tasks
            .iter()
            .filter_map(|id| self.tasks.get(id))
            .map(|t| (&t.id, &t.taken));
        match self.shared.ownership.check(tasks, &metadata) {
            Ok(()) => Fact::Owned,
            Err(breach) => Fact::NotOwned(breach),
        }
    }

    fn send_offsets(&mut self, gathered: &Gathered) -> Fact {
        let metadata = match self.shared.group_metadata() {
            Ok(metadata) => metadata,
            Err(error) => return Fact::Failed(error),
        };
        // The same metadata that is checked goes on the wire: a rebalance between two readings must not slip through.
        let tasks = gathered.tasks.iter().filter_map(|id| self.tasks.get(id));
        if let Err(breach) = self
            .shared
            .ownership
            .check(tasks.clone().map(|t| (&t.id, &t.taken)), &metadata)
        {
            return Fact::NotOwned(breach);
        }
        let offsets: Vec<CommittedOffset> = tasks.filter_map(|t| t.sealed_offset()).collect();
        let left = self.left(gathered);
        let Some(outbox) = self.producer.outbox() else {
            return no_producer();
        };
        outbox
            .send_offsets(&offsets, &metadata, left.min(STEP))
            .map_or_else(Fact::Failed, |()| Fact::Done)
    }

    fn end(&mut self, gathered: &Gathered) -> Fact {
        let left = self.left(gathered);
        let clock = self.shared.clock.clone();
        let began = clock.elapsed();
        let Some(outbox) = self.outbox() else {
            return no_producer();
        };
        match outbox.commit(left) {
            Ok(outcome) => {
                let disturbed = outbox.disturbed();
                Fact::Ended {
                    outcome,
                    disturbed,
                    took: clock.elapsed().saturating_sub(began),
                }
            }
            Err(error) => Fact::Failed(error),
        }
    }

    /// What became of a commit, for logs and metrics.
    pub(super) fn report(&self, verdict: &Verdict, gathered: &Gathered) {
        let took = self.lasted(gathered);
        let (thread, tasks, bytes) = (self.index, gathered.tasks.len(), gathered.bytes);
        match verdict {
            Verdict::Committed { .. } => {
                tracing::debug!(
                    thread,
                    tasks,
                    bytes,
                    ms = took.as_millis() as u64,
                    "committed"
                );
            }
            Verdict::Aborted {
                cause: Cause::NotOwned(breach),
                ..
            } => {
                tracing::info!(thread, %breach, "transaction aborted: tasks moved");
            }
            Verdict::Aborted {
                cause: Cause::Overdue { during },
                ..
            } => {
                let ms = took.as_millis() as u64;
                tracing::warn!(
                    thread,
                    ?during,
                    ms,
                    "transaction aborted: its commit has outlived its deadline; the producer is replaced"
                );
            }
            Verdict::Aborted {
                cause: Cause::Broker {
                    message, reaction, ..
                },
                ..
            } => {
                tracing::warn!(thread, message, "transaction aborted: {reaction}");
            }
            Verdict::Unknown(why) => {
                tracing::warn!(
                    thread,
                    why,
                    "the outcome of a commit is unknown: {}, Kafka decides",
                    Reaction::Replace
                );
            }
        }
        telemetry::on_commit(&self.shared.metrics, verdict, bytes, took);
    }
}

fn no_producer() -> Fact {
    Fact::Failed(broker::Error::Fatal {
        call: "transaction",
        message: "there is no producer".into(),
    })
}
