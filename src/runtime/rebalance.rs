//! The group's callback: which thread gets a task, and the release of tasks before the group hands them on.
//!
//! Invariant: a revoked task is given back only after its thread has answered "closed", or after that thread's producer
//! was fenced; assignment numbers rise before that, so that a thread that slept through it cannot commit.

use super::pause::Pause;
use super::shared::Shared;
use super::telemetry;
use super::twin::Fenced;
use super::worker::Command;
use crate::broker::{GroupMetadata, RebalanceListener};
use crate::fetch::TopicPartition;
use crate::protocol::TaskId;
use crate::protocol::ownership::Taken;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a lost membership is called among the reasons not to be ready.
pub(super) const MEMBERSHIP: &str = "group membership";

/// How often a thread that is waited for is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// A commit ends by itself at its deadline; one that has not after this comes back no more.
const GRACE: Duration = Duration::from_secs(2);

/// What a thread was ordered to close.
struct Release {
    thread: usize,
    tasks: Vec<TaskId>,
    closed: Receiver<()>,
}

/// Tells worker threads what the group has decided.
pub struct Rebalancer {
    shared: Arc<Shared>,
    threads: Vec<Mutex<Sender<Command>>>,
    placed: Mutex<BTreeMap<TaskId, usize>>,
    fenced: Mutex<Fenced>,
}

impl Rebalancer {
    pub fn new(shared: Arc<Shared>, threads: Vec<Sender<Command>>) -> Self {
        let threads = threads.into_iter().map(Mutex::new).collect();
        Rebalancer {
            shared,
            threads,
            placed: Mutex::default(),
            fenced: Mutex::default(),
        }
    }

    fn placed(&self) -> MutexGuard<'_, BTreeMap<TaskId, usize>> {
        self.placed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, thread: usize, command: Command) {
        let sender = self.threads[thread]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // A thread that has ended takes no commands; the supervisor stops the process for it.
        let _ = sender.send(command);
    }

    /// The task behind a partition of a tasks topic.
    fn task_of(&self, at: &TopicPartition) -> Option<TaskId> {
        let sub = self
            .shared
            .plan
            .sub_topologies
            .iter()
            .find(|s| self.shared.plan.tasks_topic(&s.name) == *at.topic)?;
        Some(TaskId::new(sub.name.as_str(), at.partition))
    }

    fn tasks_of(&self, partitions: &[TopicPartition]) -> Vec<TaskId> {
        partitions
            .iter()
            .filter_map(|at| self.task_of(at))
            .collect()
    }

    /// Sends every thread its part of the release.
    fn order_release(&self, tasks: &[TaskId], clean: bool) -> Vec<Release> {
        let mut by_thread: BTreeMap<usize, Vec<TaskId>> = BTreeMap::new();
        for task in tasks {
            if let Some(thread) = self.placed().remove(task) {
                by_thread.entry(thread).or_default().push(task.clone());
            }
        }
        let mut waiting = Vec::new();
        for (thread, tasks) in by_thread {
            let (done, closed) = channel();
            waiting.push(Release {
                thread,
                tasks: tasks.clone(),
                closed,
            });
            self.send(thread, Command::Release { tasks, clean, done });
        }
        waiting
    }

    /// Waits for "closed"; fences the producers of threads that do not answer in time.
    fn wait_or_fence(&self, waiting: Vec<Release>) {
        let deadline = self.shared.clock.elapsed() + self.shared.tuning.release_deadline;
        for release in waiting {
            if self.closes(&release, deadline) {
                continue;
            }
            self.fence(release.thread, &release.closed);
            // Others run them from now on, and the thread cannot say so itself.
            for task in &release.tasks {
                self.shared.board.remove_task(task, release.thread);
            }
        }
    }

    /// Whether the thread closes its tasks by the deadline. It is not waited for where its commit does not come back.
    fn closes(&self, release: &Release, deadline: Duration) -> bool {
        let shared = &self.shared;
        let limit = shared.tuning.commit_deadline + GRACE;
        loop {
            let now = shared.clock.elapsed();
            let left = deadline.saturating_sub(now);
            match release.closed.recv_timeout(left.min(LOOK)) {
                Ok(()) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if left <= LOOK || shared.progress.is_stuck(release.thread, now, limit) {
                return false;
            }
        }
    }

    /// Returns when the thread's producer is fenced, or the thread has closed its tasks after all: they must not be handed on
    /// before. A process that is stopping does not wait for this thread for ever.
    fn fence(&self, thread: usize, closed: &Receiver<()>) {
        let tuning = &self.shared.tuning;
        let transactional_id = format!("{}-{}-{thread}", tuning.app, tuning.worker_id);
        tracing::warn!(
            thread,
            transactional_id,
            "the thread does not close its tasks in time: fencing its producer"
        );
        self.shared.fences.add(thread);
        let mut pause = Pause::default();
        while let Err(error) = self.shared.group.settle(&transactional_id) {
            tracing::warn!(thread, %error, "fencing failed; trying again");
            let pause = pause.failed(self.shared.clock.elapsed());
            match closed.recv_timeout(pause) {
                Ok(()) => return,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(pause),
            }
        }
    }
}

/// The thread that gets a task: not one that stands still, fewest tasks of its kind, then fewest at all.
fn choose(
    placed: &BTreeMap<TaskId, usize>,
    threads: usize,
    standing: &BTreeMap<usize, Duration>,
    task: &TaskId,
) -> usize {
    let load = |thread: usize| {
        let mine = placed.iter().filter(|(_, t)| **t == thread);
        let same = mine
            .clone()
            .filter(|(id, _)| id.sub_topology == task.sub_topology)
            .count();
        let stands = standing.contains_key(&thread);
        (stands, same, mine.count(), thread)
    };
    (0..threads).min_by_key(|thread| load(*thread)).unwrap_or(0)
}

impl RebalanceListener for Rebalancer {
    fn assigned(&self, partitions: &[TopicPartition], group: &GroupMetadata) {
        telemetry::on_rebalance(&self.shared.metrics, "assigned");
        let limit = self.shared.tuning.longest_turn();
        let now = self.shared.clock.elapsed();
        let standing = self.shared.progress.standing(now, limit);
        for task in self.tasks_of(partitions) {
            let assignment = self.shared.ownership.assign(&task);
            let taken = Taken {
                member_id: group.member_id.clone(),
                assignment,
            };
            let mut placed = self.placed();
            let thread = choose(&placed, self.threads.len(), &standing, &task);
            placed.insert(task.clone(), thread);
            drop(placed);
            tracing::info!(%task, thread, assignment, "assigned");
            self.shared.board.expect(&task);
            self.send(thread, Command::Take { task, taken });
        }
        self.shared.board.joined();
        self.shared.board.trouble(MEMBERSHIP, None);
    }

    fn revoked(&self, partitions: &[TopicPartition]) {
        telemetry::on_rebalance(&self.shared.metrics, "revoked");
        let tasks = self.tasks_of(partitions);
        tracing::info!(tasks = tasks.len(), "revoked");
        let waiting = self.order_release(&tasks, true);
        self.wait_or_fence(waiting);
        tasks
            .iter()
            .for_each(|task| self.shared.ownership.release(task));
    }

    fn lost(&self, partitions: &[TopicPartition]) {
        telemetry::on_rebalance(&self.shared.metrics, "lost");
        let tasks = self.tasks_of(partitions);
        tracing::warn!(
            tasks = tasks.len(),
            "the membership was lost; what was not committed is aborted and the group joined again"
        );
        let why = "it was lost; joining again".to_string();
        self.shared.board.trouble(MEMBERSHIP, Some(why));
        tasks
            .iter()
            .for_each(|task| self.shared.ownership.release(task));
        let waiting = self.order_release(&tasks, false);
        self.wait_or_fence(waiting);
    }

    fn broken(&self, message: &str) -> bool {
        let now = self.shared.clock.elapsed();
        let mut fenced = self.fenced.lock().unwrap_or_else(PoisonError::into_inner);
        let twin = fenced.by_twin(now);
        let why = format!("{message}; joining anew");
        self.shared.board.trouble(MEMBERSHIP, Some(why));
        !twin
    }

    fn failed(&self, message: &str, fatal: bool) {
        if fatal {
            self.shared.board.fail(format!(
                "the group membership has ended: {message}. If another process has taken its place: with \
                 `worker.static_membership` every process needs a worker id of its own (`worker.id`, or its own `state.dir`)"
            ));
        } else {
            tracing::warn!(
                message,
                "the group membership is disturbed; the client joins again by itself"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_of_each_kind_are_spread_over_the_threads() {
        let mut placed = BTreeMap::new();
        for (sub, partition) in [("a", 0), ("b", 0), ("a", 1), ("b", 1), ("b", 3), ("b", 5)] {
            let task = TaskId::new(sub, partition);
            let thread = choose(&placed, 2, &BTreeMap::new(), &task);
            placed.insert(task, thread);
        }
        for sub in ["a", "b"] {
            let on = |thread| {
                placed
                    .iter()
                    .filter(|(id, t)| &*id.sub_topology == sub && **t == thread)
                    .count()
            };
            assert_eq!(on(0), on(1), "{sub}");
        }
    }

    #[test]
    fn a_thread_that_stands_still_gets_nothing_while_another_moves() {
        let placed = BTreeMap::from([(TaskId::new("a", 0), 1)]);
        let task = TaskId::new("a", 1);
        let standing = |threads: &[usize]| threads.iter().map(|t| (*t, GRACE)).collect();
        assert_eq!(choose(&placed, 2, &standing(&[]), &task), 0);
        assert_eq!(choose(&placed, 2, &standing(&[0]), &task), 1);
        assert_eq!(choose(&placed, 2, &standing(&[0, 1]), &task), 0);
    }
}
