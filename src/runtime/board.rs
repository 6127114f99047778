//! What the process shows of itself: every task with its phase and facts, and why it is not ready.
//!
//! Invariant: written by the worker threads after each commit and change of phase, read by HTTP; it decides nothing.

use crate::fetch::TopicPartition;
use crate::protocol::TaskId;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// One task as `/status` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct TaskStatus {
    #[serde(skip)]
    pub id: TaskId,
    #[serde(skip)]
    pub at: TopicPartition,
    pub task: String,
    pub thread: usize,
    pub phase: &'static str,
    /// Why it is parked or refused.
    pub cause: Option<String>,
    pub input: String,
    /// Next offset of the input, as committed.
    pub position: i64,
    /// Up to here nothing is left to be committed: beyond `position` where only control records follow.
    #[serde(skip)]
    pub covered: i64,
    /// Offsets between that and the end of the input, as of the last look; null before the first.
    pub lag: Option<i64>,
    pub epoch: u64,
    /// The watermark that the task forwards, ms; null before the first.
    pub watermark_ms: Option<i64>,
    pub idle: bool,
    /// From assignment to the end of the claim.
    pub takeover_ms: Option<u64>,
    pub state: Option<StateStatus>,
    pub counts: serde_json::Value,
}

/// The state of a keyed task.
#[derive(Debug, Clone, Serialize)]
pub struct StateStatus {
    /// Changed by the last commit.
    pub overlay_rows: u64,
    pub overlay_bytes: u64,
    pub hot_rows: u64,
    pub hot_bytes: u64,
    pub unsaved_bytes: u64,
    pub store_rows: u64,
    pub store_bytes: u64,
    pub changelog_bytes: u64,
    pub changelog_complete_from: i64,
}

#[derive(Default)]
struct Inner {
    tasks: BTreeMap<TaskId, TaskStatus>,
    lags: BTreeMap<TaskId, i64>,
    /// Reasons not to be ready, by what they concern.
    troubles: BTreeMap<String, String>,
    joined: bool,
    /// Assigned, and not on the board yet.
    expected: BTreeSet<TaskId>,
    failure: Option<String>,
    leaving: Option<String>,
}

#[derive(Default)]
pub struct Board {
    inner: Mutex<Inner>,
}

impl Board {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set_task(&self, task: &TaskId, status: TaskStatus) {
        let mut inner = self.inner();
        inner.expected.remove(task);
        inner.tasks.insert(task.clone(), status);
    }

    /// The thread has closed the task; what another thread shows of it stays.
    pub fn remove_task(&self, task: &TaskId, thread: usize) {
        let mut inner = self.inner();
        if inner.tasks.get(task).is_none_or(|t| t.thread == thread) {
            inner.expected.remove(task);
            inner.tasks.remove(task);
            inner.lags.remove(task);
        }
    }

    /// The reader of the task's input has come to an end: see [`TaskStatus::covered`].
    pub fn set_covered(&self, task: &TaskId, covered: i64) {
        if let Some(status) = self.inner().tasks.get_mut(task) {
            status.covered = covered;
        }
    }

    /// As the observer has measured it; a task that is gone meanwhile has none.
    pub fn set_lag(&self, task: &TaskId, lag: i64) {
        let mut inner = self.inner();
        if inner.tasks.contains_key(task) {
            inner.lags.insert(task.clone(), lag);
        }
    }

    /// The task was assigned; its thread will show it.
    pub fn expect(&self, task: &TaskId) {
        self.inner().expected.insert(task.clone());
    }

    /// The process has its place in the group (maybe without tasks).
    pub fn joined(&self) {
        self.inner().joined = true;
    }

    /// A reason not to be ready; `None` takes it back.
    pub fn trouble(&self, about: &str, reason: Option<String>) {
        let mut inner = self.inner();
        match reason {
            Some(reason) => inner.troubles.insert(about.to_string(), reason),
            None => inner.troubles.remove(about),
        };
    }

    /// The process cannot go on, with this cause.
    pub fn fail(&self, cause: String) {
        self.inner().failure.get_or_insert(cause);
    }

    /// This process cannot run a task that others may be able to run: it has to leave the group.
    pub fn leave(&self, cause: String) {
        self.inner().leaving.get_or_insert(cause);
    }

    pub fn leaving(&self) -> Option<String> {
        self.inner().leaving.clone()
    }

    pub fn failure(&self) -> Option<String> {
        self.inner().failure.clone()
    }

    pub fn runs(&self, task: &TaskId) -> bool {
        self.inner()
            .tasks
            .get(task)
            .is_some_and(|t| t.phase == "running")
    }

    pub fn tasks(&self) -> Vec<TaskStatus> {
        let inner = self.inner();
        let with_lag = |(id, status): (&TaskId, &TaskStatus)| TaskStatus {
            lag: inner.lags.get(id).copied(),
            ..status.clone()
        };
        inner.tasks.iter().map(with_lag).collect()
    }

    /// Tasks that are assigned and not shown by their threads yet.
    pub fn expected(&self) -> usize {
        self.inner().expected.len()
    }

    /// # Errors
    /// Every reason why the process is not ready.
    pub fn ready(&self) -> Result<(), String> {
        let inner = self.inner();
        let mut reasons: Vec<String> = inner
            .troubles
            .iter()
            .map(|(about, why)| format!("{about}: {why}"))
            .collect();
        reasons.extend(
            inner
                .leaving
                .iter()
                .map(|why| format!("left the group: {why}")),
        );
        if !inner.joined {
            reasons.push("not a member of the consumer group yet".into());
        }
        reasons.extend(
            inner
                .expected
                .iter()
                .map(|task| format!("task {task} is assigned")),
        );
        for task in inner.tasks.values().filter(|t| t.phase != "running") {
            let cause = task
                .cause
                .as_deref()
                .map(|c| format!(" ({c})"))
                .unwrap_or_default();
            reasons.push(format!("task {} is {}{cause}", task.task, task.phase));
        }
        if reasons.is_empty() {
            Ok(())
        } else {
            Err(reasons.join("; "))
        }
    }
}
