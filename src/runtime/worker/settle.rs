//! Work between commits, and what follows from how a commit ended. Saves are in `save.rs`.
//!
//! Invariant: nothing is applied from memory unless Kafka has acknowledged it and the task is still ours; after an
//! abort inputs are read again from the committed position; after an unknown outcome the takeover asks Kafka.

use super::Worker;
use super::commit::Gathered;
use crate::protocol::TaskId;
use crate::protocol::commit::{Cause, Verdict};
use crate::protocol::ownership::Breach;
use crate::runtime::error::TaskError;
use crate::runtime::task::rejects::RejectTarget;
use crate::runtime::task::{Input, Phase};
use crate::runtime::telemetry;

impl Worker {
    /// Processes what waits in the tasks, and fires windows until the transaction is full. Each round begins with another task.
    pub(super) fn work(&mut self) {
        let mut ids: Vec<TaskId> = self
            .tasks
            .values()
            .filter(|t| t.is_running())
            .map(|t| t.id.clone())
            .collect();
        ids.iter().for_each(|id| self.regulate(id));
        if !ids.is_empty() {
            self.first = (self.first + 1) % ids.len();
            ids.rotate_left(self.first);
        }
        let searching = self.searching();
        for id in ids {
            if searching && self.solo.as_ref() != Some(&id) {
                continue;
            }
            if let Err(error) = self.work_on(&id) {
                self.on_failed_work(id, error);
                return;
            }
            if self.producer.bytes() >= self.shared.tuning.commit_max_bytes {
                return;
            }
        }
    }

    /// Works until nothing waits, the transaction is full, or a commit is due: firing a huge window must not hold up commits.
    fn work_on(&mut self, id: &TaskId) -> Result<(), TaskError> {
        let shared = self.shared.clone();
        let (wall_ms, began) = (shared.clock.wall_ms(), shared.clock.elapsed());
        let Some(outbox) = self.producer.outbox() else {
            return Ok(());
        };
        let Some(task) = self.tasks.get_mut(id) else {
            return Ok(());
        };
        if let Some(high) = self.consumer.high(&task.input_at) {
            task.left_behind(high);
        }
        let rejects_topic = &shared.plan.rejects_topic;
        let target = RejectTarget {
            topic: rejects_topic,
            partition: id
                .partition
                .rem_euclid(shared.cluster.partitions(rejects_topic).max(1)),
            input_topic: &|sub| shared.input_topic_of(sub),
        };
        loop {
            task.process(wall_ms, &target, outbox)?;
            let more = task.fire(wall_ms, &target, outbox)?;
            let sent = if outbox.is_open() { outbox.bytes() } else { 0 };
            let full = sent + task.transaction_bytes() >= shared.tuning.commit_max_bytes;
            let long =
                shared.clock.elapsed().saturating_sub(began) >= shared.tuning.commit_interval;
            if full || long || (!more && task.pending_bytes() == 0) {
                break;
            }
        }
        task.rest(shared.clock.elapsed());
        task.finish();
        if outbox.is_open() {
            self.producer.opened_at.get_or_insert(began);
        }
        Ok(())
    }

    fn on_failed_work(&mut self, id: TaskId, error: TaskError) {
        let cause = Cause::plain(format!("task {id}: {error}"), error.reaction());
        let culprit = (!matches!(error, TaskError::Broker(_))).then_some((id, error));
        self.give_up(cause, culprit);
    }

    /// Stops reading a partition whose records pile up, and reads on when they are gone.
    fn regulate(&mut self, id: &TaskId) {
        let Some(task) = self.tasks.get(id) else {
            return;
        };
        let at = task.input_at.clone();
        let pause = task.pending_bytes() > self.shared.tuning.pending_bytes;
        let resume = task.pending_bytes() == 0;
        let changed = if pause {
            self.paused.insert(at.clone())
        } else {
            resume && self.paused.remove(&at)
        };
        if changed && let Err(error) = self.consumer.pause(std::slice::from_ref(&at), pause) {
            tracing::warn!(partition = %at, %error, "cannot be paused or resumed");
        }
    }

    /// Acts on how a transaction ended.
    pub(super) fn settle(&mut self, verdict: Verdict, gathered: Gathered) {
        self.report(&verdict, &gathered);
        let opened_at = self.producer.opened_at.take();
        match verdict {
            Verdict::Committed {
                replace_producer,
                owned,
            } => {
                if self.solo.is_none() {
                    self.streak.committed();
                }
                self.join(&gathered);
                if replace_producer {
                    tracing::info!(
                        thread = self.index,
                        "a commit's end may have been sent twice: replacing the producer"
                    );
                    self.replace_producer();
                }
                if let Err(breach) = owned {
                    tracing::info!(thread = self.index, %breach, "tasks moved while they were committed");
                    self.drop_lost();
                }
            }
            Verdict::Aborted {
                cause,
                replace_producer,
            } => {
                self.streak.aborted(&cause);
                self.roll_back();
                if replace_producer || gathered.lets_go {
                    self.replace_producer();
                }
                if cause.says_fenced() {
                    self.on_fenced(opened_at);
                }
                if gathered.lets_go {
                    self.let_go();
                } else {
                    self.blame(&cause, gathered);
                }
                self.drop_lost();
            }
            Verdict::Unknown(_) => {
                self.replace_producer();
                if gathered.lets_go {
                    self.let_go();
                }
                for id in &gathered.tasks {
                    self.retake(id);
                }
                self.roll_back();
                self.drop_lost();
            }
        }
    }

    /// A commit has outlived its deadline: the tasks are left to others. The process sees that and leaves the group for a while
    /// (`aside.rs`); until the group has heard of it nobody runs them.
    fn let_go(&mut self) {
        let ids: Vec<TaskId> = self.tasks.keys().cloned().collect();
        tracing::warn!(
            thread = self.index,
            tasks = ids.len(),
            "the commit has outlived its deadline: the thread lets its tasks go"
        );
        ids.iter().for_each(|id| self.close(id));
        self.solo = None;
        self.cleared.clear();
        self.streak.committed();
    }

    /// After the ack: what was open is committed state now; claims begin to read.
    fn join(&mut self, gathered: &Gathered) {
        let now = self.elapsed();
        for id in &gathered.tasks {
            let Some(task) = self.tasks.get_mut(id) else {
                continue;
            };
            let before = task.facts().counts.clone();
            let claimed = task.committed(&gathered.blocks, now);
            let rejects = task.take_reject_counts();
            if let Input::Keyed(keyed) = &mut task.input {
                let work = keyed.take_work();
                telemetry::on_state(&self.shared.metrics, &keyed.node, id.partition, &work);
            }
            let volume = task.take_volume();
            let after = &task.facts().counts;
            telemetry::on_rows(&self.shared, id, (&before, after), rejects, volume);
            if claimed {
                let took = now.saturating_sub(task.taken_at);
                task.takeover_ms = Some(took.as_millis() as u64);
                let (at, position) = (task.input_at.clone(), task.position());
                tracing::info!(task = %id, position, epoch = task.facts().epoch, ms = took.as_millis() as u64, "running");
                telemetry::on_takeover(&self.shared.metrics, took);
                self.routes.insert(at.clone(), id.clone());
                self.assign(&at, position);
            }
            self.show(id);
        }
        if self.searching() {
            self.next_solo();
        }
        self.order_deletions(&gathered.tasks);
        self.save_if_due();
    }

    /// Every running task goes back to its committed state and reads from there.
    fn roll_back(&mut self) {
        let mut again = Vec::new();
        for task in self.tasks.values_mut() {
            if task.is_touched() {
                task.aborted();
                if task.is_running() {
                    again.push((task.input_at.clone(), task.position()));
                }
            }
        }
        for (at, position) in again {
            self.assign(&at, position);
        }
    }

    /// Finds out who cannot commit: a task that failed by itself, or that fails alone.
    fn blame(&mut self, cause: &Cause, gathered: Gathered) {
        if let Some((id, error)) = gathered.culprit {
            self.failed(&id, &error);
            return;
        }
        if self.solo.is_none() {
            if self.streak.one_by_one() {
                self.cleared.clear();
                self.next_solo();
            }
            return;
        }
        if cause.blames_the_task()
            && let (Some(id), Cause::Broker { message, .. }) = (self.solo.clone(), cause)
            && gathered.tasks == [id.clone()]
        {
            self.park(&id, format!("it cannot commit: {message}"));
        }
        self.next_solo();
    }

    /// Tasks commit one by one, to find the one that cannot; until each has shown that it can.
    pub(super) fn searching(&self) -> bool {
        self.solo.is_some() || self.streak.one_by_one()
    }

    /// The next task that has to show that it can commit alone; none left ends the search.
    pub(super) fn next_solo(&mut self) {
        if let Some(done) = self.solo.take() {
            self.cleared.insert(done);
        }
        let next = self
            .tasks
            .values()
            .find(|t| !matches!(t.phase, Phase::Parked(_)) && !self.cleared.contains(&t.id));
        self.solo = next.map(|t| t.id.clone());
        if self.solo.is_none() {
            self.cleared.clear();
            self.streak.committed();
        }
    }

    /// Closes tasks that are not ours any more, without committing anything of them.
    pub(super) fn drop_lost(&mut self) {
        let lost: Vec<TaskId> = self
            .tasks
            .values()
            .filter(|t| !self.shared.ownership.holds(&t.id, &t.taken))
            .map(|t| t.id.clone())
            .collect();
        if lost.is_empty() {
            return;
        }
        self.abandon(&lost);
        lost.iter().for_each(|id| self.close(id));
    }

    /// If any of the tasks has a part in the open transaction, the transaction cannot be committed.
    fn abandon(&mut self, tasks: &[TaskId]) {
        let touched = tasks
            .iter()
            .filter_map(|id| self.tasks.get(id))
            .find(|t| t.is_touched());
        if let Some(task) = touched {
            let task = task.id.clone();
            self.tasks.remove(&task);
            self.give_up(Cause::NotOwned(Breach::NotOwned { task }), None);
        }
    }

    /// Closes tasks for the group's callback: commits what was processed, or aborts it.
    pub(super) fn release(&mut self, tasks: &[TaskId], clean: bool) {
        if clean && self.producer.outbox().is_some() {
            self.commit();
        }
        self.abandon(tasks);
        for id in tasks {
            self.save_at_close(id);
            self.close(id);
            self.moved();
        }
    }
}
