//! Taking tasks over and closing them.
//!
//! Invariant: a task reads its input only after its claim is committed; a released task is gone, with its store closed,
//! before the group's callback hears of it.

use super::Worker;
use crate::broker::LogRange;
use crate::error::Reaction;
use crate::fetch::{Fetch, TopicPartition};
use crate::plan::graph::Input as PlanInput;
use crate::protocol::commit::Cause;
use crate::protocol::facts::Facts;
use crate::protocol::ownership::Taken;
use crate::protocol::takeover::Refusal;
use crate::protocol::{TaskId, bounded};
use crate::runtime::error::{Result, TaskError};
use crate::runtime::scout::{Found, Question};
use crate::runtime::task::keyed::KeyedInput;
use crate::runtime::task::nodes::Nodes;
use crate::runtime::task::restore::{Owner, Restore};
use crate::runtime::task::source::SourceInput;
use crate::runtime::task::{Input, Phase, Task};
use crate::runtime::telemetry;

impl Worker {
    /// Begins a takeover: makes the task and asks where it stands.
    pub(super) fn take(&mut self, id: TaskId, taken: Taken) {
        self.close(&id);
        self.take_if_free(id, taken);
    }

    /// Waits where another thread of this process has not closed the task yet: its store can be open only once.
    pub(super) fn take_if_free(&mut self, id: TaskId, taken: Taken) {
        if let Err(holder) = self.shared.holders.take(&id, self.index) {
            return self.wait_for(&id, &taken, holder);
        }
        self.waiting.forget(&id);
        match self.make(&id, taken.clone()) {
            Ok(Some(task)) => {
                self.tasks.insert(id.clone(), task);
                self.show(&id);
                self.ask(id, taken);
            }
            Ok(None) => tracing::warn!(task = %id, "assigned, but this topology has no such task"),
            Err(error) => {
                tracing::error!(task = %id, %error, "the task cannot be opened here");
                self.shared
                    .board
                    .leave(format!("task {id} cannot be opened here: {error}"));
            }
        }
    }

    pub(super) fn ask(&mut self, task: TaskId, taken: Taken) {
        let question = Question {
            task,
            taken,
            reply: self.answers.0.clone(),
        };
        if self.lines.questions.send(question).is_err() {
            self.fatal = Some("the takeover thread has ended".into());
        }
    }

    /// Takes the task over again from the beginning: its memory is dropped, Kafka alone counts.
    pub(super) fn retake(&mut self, id: &TaskId) {
        if let Some(task) = self.tasks.get(id) {
            let taken = task.taken.clone();
            self.take(id.clone(), taken);
        }
    }

    fn make(&self, id: &TaskId, taken: Taken) -> Result<Option<Task>> {
        let shared = &self.shared;
        let (Some(sub), Some(input_at)) = (shared.sub_topology(id), shared.input_at(id)) else {
            return Ok(None);
        };
        let input = match &sub.input {
            PlanInput::Source(source) => Input::Source(Box::new(SourceInput::new(source))),
            PlanInput::Window(window) => {
                let Some(changelog) = shared.changelog_at(id) else {
                    return Ok(None);
                };
                let store = shared
                    .stores
                    .open(&id.to_string(), &[&window.window.node])?;
                Input::Keyed(Box::new(KeyedInput::new(window, changelog, store)?))
            }
        };
        let nodes = Nodes::new(
            sub,
            id.partition,
            shared.plan.shards,
            &|sink| shared.output_topic(&sink.spec.topic.value),
            &|node| shared.plan.repartition_topic(node),
        );
        let topic_id = shared.cluster.get(&input_at.topic).and_then(|t| t.id);
        let partitions = shared.cluster.partitions(&input_at.topic);
        let fresh = Facts::beginning(sub, topic_id, partitions);
        Ok(Some(Task::new(
            id.clone(),
            taken,
            input_at,
            input,
            nodes,
            fresh,
            self.elapsed(),
        )))
    }

    /// Takes what the scout has found out.
    pub(super) fn hear_answers(&mut self) {
        while let Ok(answer) = self.answers.1.try_recv() {
            let Some(task) = self.tasks.get_mut(&answer.task) else {
                continue;
            };
            if task.taken != answer.taken || !matches!(task.phase, Phase::Positioning) {
                continue;
            }
            let id = answer.task;
            task.end = answer.end;
            match answer.found {
                Found::Begin { position } => self.begin(&id, position),
                Found::Resume { facts } => self.claim(&id, *facts),
                Found::Restore {
                    facts,
                    log,
                    barrier,
                } => self.begin_restore(&id, facts.map(|f| *f), log, barrier),
                Found::Refused(refusal) => self.refuse(&id, &refusal),
            }
            self.show(&id);
        }
    }

    /// Nothing was ever committed for the task: rows in a local store are of an application that was reset.
    fn begin(&mut self, id: &TaskId, position: i64) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        if let Input::Keyed(keyed) = &mut task.input
            && let Err(error) = keyed.wipe()
        {
            self.failed(id, &error);
            return;
        }
        let facts = Facts {
            position,
            ..task.facts().clone()
        };
        self.claim(id, facts);
    }

    /// The next commit claims the task.
    fn claim(&mut self, id: &TaskId, facts: Facts) {
        let run = self.shared.tuning.run;
        if let Some(task) = self.tasks.get_mut(id) {
            let facts = bounded::enter(facts, run, task.end);
            task.claim_from(facts, run.is_some());
        }
    }

    /// What only this process cannot run is left to others; what nobody can run is parked.
    fn refuse(&mut self, id: &TaskId, refusal: &Refusal) {
        if matches!(refusal, Refusal::LostState(_)) {
            telemetry::on_lost(&self.shared.metrics, id);
        }
        self.park(id, refusal.to_string());
        if matches!(refusal, Refusal::OtherPlan { .. } | Refusal::Facts(_)) {
            self.shared.board.leave(format!("task {id}: {refusal}"));
        }
    }

    fn begin_restore(&mut self, id: &TaskId, facts: Option<Facts>, log: LogRange, barrier: i64) {
        let save_bytes = self.shared.tuning.hot_bytes;
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        let fingerprint = task.facts().fingerprint;
        let Input::Keyed(keyed) = &mut task.input else {
            return;
        };
        let changelog = keyed.changelog.clone();
        let owner = Owner {
            task: id.clone(),
            fingerprint,
        };
        match Restore::begin(owner, keyed, facts, log, barrier, save_bytes) {
            Ok(restore) => {
                let from = restore.position();
                task.phase = Phase::Restoring(Box::new(restore));
                self.routes.insert(changelog.clone(), id.clone());
                self.assign(&changelog, from);
            }
            Err(error) => self.failed(id, &error),
        }
    }

    /// Reads the partition from `offset` on. While the broker cannot tell who leads it, the task is taken over again.
    pub(super) fn assign(&mut self, at: &TopicPartition, offset: i64) {
        let unpaused = if self.paused.remove(at) {
            self.consumer.pause(std::slice::from_ref(at), false)
        } else {
            Ok(())
        };
        let assigned = unpaused.and_then(|()| self.consumer.assign(&[(at.clone(), offset)]));
        match assigned {
            Ok(()) => {}
            Err(error) if error.reaction() == Reaction::Retry => {
                tracing::warn!(partition = %at, %error, "cannot be read yet; taking its task over again");
                self.again.extend(self.routes.get(at).cloned());
            }
            Err(error) => self.fatal = Some(format!("the data consumer refuses {at}: {error}")),
        }
    }

    pub(super) fn unassign(&mut self, at: &TopicPartition) {
        self.paused.remove(at);
        if self.routes.remove(at).is_some()
            && let Err(error) = self.consumer.unassign(std::slice::from_ref(at))
        {
            tracing::warn!(partition = %at, %error, "cannot be taken from the reader");
        }
    }

    pub(super) fn on_fetch(&mut self, id: &TaskId, fetch: Fetch) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        if fetch.at == task.input_at {
            task.enqueue(fetch);
            return;
        }
        let (Phase::Restoring(restore), Input::Keyed(keyed)) = (&mut task.phase, &mut task.input)
        else {
            return;
        };
        match restore.take(keyed, &fetch) {
            Ok(true) => self.finish_restore(id),
            Ok(false) => {}
            Err(error) => self.failed(id, &error),
        }
    }

    pub(super) fn on_end(&mut self, id: &TaskId, at: &TopicPartition, offset: i64, high: i64) {
        let elapsed = self.elapsed();
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        if *at == task.input_at {
            task.at_end(offset, offset >= high, elapsed);
            self.shared.board.set_covered(id, task.covered());
            return;
        }
        if matches!(&task.phase, Phase::Restoring(restore) if restore.at_end(offset)) {
            self.finish_restore(id);
        }
    }

    fn finish_restore(&mut self, id: &TaskId) {
        let now = self.elapsed();
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        let Phase::Restoring(restore) = std::mem::replace(&mut task.phase, Phase::Positioning)
        else {
            return;
        };
        let Input::Keyed(keyed) = &mut task.input else {
            return;
        };
        if restore.never_committed() {
            let changelog = keyed.changelog.clone();
            self.unassign(&changelog);
            self.begin(id, 0);
            self.show(id);
            return;
        }
        let (changelog, blocks, from_store) =
            (keyed.changelog.clone(), restore.blocks, restore.from_store);
        telemetry::on_replayed(&self.shared.metrics, &keyed.node, restore.bytes);
        let took = now.saturating_sub(task.taken_at);
        match restore.finish(keyed) {
            Ok(facts) if facts.fingerprint != task.facts().fingerprint => {
                let (found, wanted) = (facts.fingerprint, task.facts().fingerprint);
                self.unassign(&changelog);
                self.refuse(id, &Refusal::OtherPlan { found, wanted });
            }
            Ok(facts) => {
                tracing::info!(task = %id, blocks, epoch = facts.epoch, "restored");
                telemetry::on_restored(&self.shared.metrics, took, from_store);
                self.claim(id, facts);
                self.unassign(&changelog);
                self.show(id);
            }
            Err(error) => {
                self.unassign(&changelog);
                self.failed(id, &error);
            }
        }
    }

    /// The log does not hold the wanted offset any more.
    pub(super) fn on_out_of_range(&mut self, id: &TaskId, at: &TopicPartition) {
        let Some(task) = self.tasks.get(id) else {
            return;
        };
        if *at != task.input_at {
            tracing::info!(task = %id, "the restore was overtaken by a deletion; beginning again");
            self.retake(id);
            return;
        }
        if let Some(refusal) = self.recreated(task) {
            self.park(id, refusal.to_string());
            return;
        }
        let position = task.position();
        self.park(
            id,
            format!(
                "{at} does not hold offset {position} any more: records were deleted before they were read (retention?), \
                 and going on would hide that they are lost. `millstream reset` starts anew"
            ),
        );
    }

    /// A step of the task failed outside a commit.
    pub(super) fn failed(&mut self, id: &TaskId, error: &TaskError) {
        match error.reaction() {
            Reaction::Restore => {
                tracing::warn!(task = %id, %error, "{}", Reaction::Restore);
                if let Some(Task {
                    input: Input::Keyed(keyed),
                    ..
                }) = self.tasks.get_mut(id)
                    && let Err(error) = keyed.wipe()
                {
                    let cause = format!("the local store cannot be wiped: {error}");
                    self.park(id, cause);
                    return;
                }
                self.retake(id);
            }
            Reaction::Park | Reaction::Stop => {
                if let TaskError::Refused(refusal) = error {
                    self.refuse(id, refusal);
                    return;
                }
                let lost = matches!(error, TaskError::Replay(_) | TaskError::Lost(_));
                let cause = if lost {
                    telemetry::on_lost(&self.shared.metrics, id);
                    format!("its state is lost: {error}. `millstream reset` starts anew")
                } else {
                    error.to_string()
                };
                self.park(id, cause);
            }
            reaction => {
                tracing::warn!(task = %id, %error, "{reaction}");
                self.retake(id);
            }
        }
    }

    /// Asks whether the task's source topic is another one than it was.
    fn recreated(&self, task: &Task) -> Option<Refusal> {
        let topic = task.input_at.topic.to_string();
        let found = self
            .shared
            .admin
            .topics(std::slice::from_ref(&topic))
            .ok()?;
        let (was, now) = (task.facts().topic_id.clone()?, found.first()?.id.clone()?);
        (was != now).then_some(Refusal::TopicRecreated { topic, was, now })
    }

    /// A source topic that was deleted and made anew: positions mean other records.
    pub(super) fn park_recreated(&mut self) {
        let mut recreated = Vec::new();
        for task in self
            .tasks
            .values()
            .filter(|t| t.is_running() && matches!(t.input, Input::Source(_)))
        {
            let topic = &task.input_at.topic;
            let now = self.shared.cluster.get(topic).and_then(|t| t.id);
            if let (Some(was), Some(now)) = (task.facts().topic_id.clone(), now)
                && was != now
            {
                recreated.push((
                    task.id.clone(),
                    Refusal::TopicRecreated {
                        topic: topic.to_string(),
                        was,
                        now,
                    },
                ));
            }
        }
        for (id, refusal) in recreated {
            self.park(&id, refusal.to_string());
        }
    }

    /// The task cannot go on; the others do.
    pub(super) fn park(&mut self, id: &TaskId, cause: String) {
        // What it has sent in the open transaction must not be committed without its offsets.
        if self.tasks.get(id).is_some_and(Task::is_touched) {
            let cause = Cause::plain(format!("task {id}: {cause}"), Reaction::Abort);
            self.give_up(cause, None);
        }
        tracing::error!(task = %id, cause, "the task is parked; the others go on");
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        let input = task.input_at.clone();
        let changelog = if let Input::Keyed(keyed) = &task.input {
            Some(keyed.changelog.clone())
        } else {
            None
        };
        task.phase = Phase::Parked(cause);
        self.unassign(&input);
        if let Some(changelog) = changelog {
            self.unassign(&changelog);
        }
        self.show(id);
    }

    /// Forgets the task: its reader, its store, its place on the board.
    pub(super) fn close(&mut self, id: &TaskId) {
        let gone: Vec<_> = self
            .routes
            .iter()
            .filter(|(_, task)| *task == id)
            .map(|(at, _)| at.clone())
            .collect();
        gone.iter().for_each(|at| self.unassign(at));
        self.waiting.forget(id);
        if self.tasks.remove(id).is_some() {
            self.state_trouble(id, None);
        }
        // After the store was closed: another thread may be waiting for it.
        self.shared.holders.give_back(id, self.index);
        self.shared.board.remove_task(id, self.index);
    }
}
