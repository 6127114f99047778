//! What a worker shows of its tasks, and the deletions it orders, after each commit.

use super::Worker;
use crate::protocol::TaskId;
use crate::runtime::board::{StateStatus, TaskStatus};
use crate::runtime::janitor::Deletion;
use crate::runtime::task::{Input, Phase, Task};

impl Worker {
    /// Puts the task's present state on the board.
    pub(super) fn show(&self, id: &TaskId) {
        let Some(task) = self.tasks.get(id) else {
            return;
        };
        let heard = task.watermark();
        let facts = task.facts();
        let status = TaskStatus {
            id: id.clone(),
            at: task.input_at.clone(),
            task: id.to_string(),
            thread: self.index,
            phase: task.phase.name(),
            cause: if let Phase::Parked(cause) = &task.phase {
                Some(cause.clone())
            } else {
                None
            },
            input: task.input_at.to_string(),
            position: facts.position,
            covered: task.covered(),
            lag: None,
            epoch: facts.epoch,
            watermark_ms: (heard.watermark > i64::MIN).then_some(heard.watermark),
            idle: heard.idle,
            takeover_ms: task.takeover_ms,
            state: state_of(task),
            counts: serde_json::to_value(&facts.counts).unwrap_or_default(),
        };
        self.shared.board.set_task(id, status);
    }

    /// Shows a task that is assigned and could not be taken.
    pub(super) fn show_untaken(&self, id: &TaskId, cause: String) {
        let Some(at) = self.shared.input_at(id) else {
            return;
        };
        let status = TaskStatus {
            id: id.clone(),
            task: id.to_string(),
            thread: self.index,
            phase: Phase::Parked(String::new()).name(),
            cause: Some(cause),
            input: at.to_string(),
            at,
            position: 0,
            covered: 0,
            lag: None,
            epoch: 0,
            watermark_ms: None,
            idle: false,
            takeover_ms: None,
            state: None,
            counts: serde_json::Value::Null,
        };
        self.shared.board.set_task(id, status);
    }

    /// Records that no task will ever need again.
    pub(super) fn order_deletions(&self, tasks: &[TaskId]) {
        for task in tasks.iter().filter_map(|id| self.tasks.get(id)) {
            let Input::Keyed(keyed) = &task.input else {
                continue;
            };
            let position = task.facts().position;
            let now = self.elapsed();
            self.order(Deletion {
                at: task.input_at.clone(),
                below: position,
                due: now,
                at_once: false,
            });
            self.order(Deletion {
                at: keyed.changelog.clone(),
                below: keyed.complete_from(),
                due: now + self.shared.tuning.changelog_keep,
                at_once: true,
            });
        }
    }

    fn order(&self, deletion: Deletion) {
        if deletion.below > 0 {
            // At a stop the janitor may be gone first; the next owner orders the same again.
            let _ = self.lines.deletions.send(deletion);
        }
    }
}

fn state_of(task: &Task) -> Option<StateStatus> {
    let Input::Keyed(keyed) = &task.input else {
        return None;
    };
    let (hot_bytes, unsaved_bytes) = keyed.operator.bytes();
    let store = keyed.store.figures();
    let (overlay_rows, overlay_bytes) = task.overlay;
    Some(StateStatus {
        overlay_rows,
        overlay_bytes,
        hot_rows: keyed.operator.rows() as u64,
        hot_bytes: hot_bytes as u64,
        unsaved_bytes: unsaved_bytes as u64,
        store_rows: store.rows,
        store_bytes: store.bytes,
        changelog_bytes: keyed.log_bytes(),
        changelog_complete_from: keyed.complete_from(),
    })
}
