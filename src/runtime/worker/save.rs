//! Saves: committed rows go from memory into the stores, between two commits.
//!
//! Invariant: nothing is saved while a transaction is open. A save that fails loses nothing: the rows stay in memory, the
//! changelog has them, and it is tried again after a pause until the disk takes them. This file decides when, not how.

use super::Worker;
use crate::error::Reaction;
use crate::protocol::TaskId;
use crate::runtime::error::TaskError;
use crate::runtime::task::keyed::KeyedInput;
use crate::runtime::task::{Input, Task};
use crate::runtime::telemetry;

impl Worker {
    /// Saves when it is time and nothing was processed since the last commit: where the input has ended no other commit comes.
    pub(super) fn save_in_quiet(&mut self) {
        if self.elapsed() < self.next_save {
            return;
        }
        let open = self.producer.outbox().is_none_or(|outbox| outbox.is_open());
        if !open && !self.tasks.values().any(Task::is_touched) {
            self.save_if_due();
        }
    }

    /// Saves when it is time or when memory is short; no transaction is open now. Where memory is short, the tasks that hold most
    /// give their rows to the store until a fifth of the budget is free: to evict everything at every commit would read it all back.
    pub(super) fn save_if_due(&mut self) {
        let now = self.elapsed();
        if !self.save_pause.left(now).is_zero() {
            return;
        }
        let limit = self.shared.tuning.hot_bytes;
        let mut held = self.hot_bytes();
        if held > limit {
            self.each_keyed(|keyed| keyed.operator.drop_spares());
            held = self.hot_bytes();
        }
        let (short, due) = (held > limit, now >= self.next_save);
        if !short && !due {
            return;
        }
        if due {
            self.next_save = now + self.shared.tuning.save_interval;
        }
        let mut ids: Vec<(usize, TaskId)> = self
            .tasks
            .values()
            .filter(|t| t.is_running())
            .map(|t| (hot_bytes_of(t), t.id.clone()))
            .collect();
        ids.sort_by(|a, b| b.cmp(a));
        let mut good = true;
        for (bytes, id) in ids {
            let evict = short && held > limit / 5 * 4;
            if evict || due {
                good &= self.save(&id, evict);
                held -= if evict { bytes.min(held) } else { 0 };
            }
        }
        if good {
            self.save_pause.succeeded();
        } else {
            self.next_save = now + self.save_pause.failed(now);
        }
    }

    /// Returns whether all is well.
    fn save(&mut self, id: &TaskId, evict: bool) -> bool {
        let min_log = self.shared.tuning.refresh_min_log;
        let Some(Task {
            input: Input::Keyed(keyed),
            ..
        }) = self.tasks.get_mut(id)
        else {
            return true;
        };
        let began = self.shared.clock.elapsed();
        let saved = keyed.save(evict, min_log);
        telemetry::on_save(&self.shared, began);
        self.moved();
        let good = saved.is_ok();
        self.on_saved(id, saved);
        self.show(id);
        good
    }

    /// A full disk harms nothing yet: the rows stay in memory and the next save tries again. A damaged store is restored.
    fn on_saved(&mut self, id: &TaskId, saved: Result<(), TaskError>) {
        match saved {
            Ok(()) => self.state_trouble(id, None),
            Err(error) if error.reaction() == Reaction::Restore => self.failed(id, &error),
            Err(error) => {
                tracing::warn!(task = %id, %error, "not saved; it is tried again, and the changelog has everything");
                self.state_trouble(id, Some(format!("it cannot be saved: {error}")));
            }
        }
    }

    /// Why the task's state is not well; a task that is closed takes its trouble along.
    pub(super) fn state_trouble(&self, id: &TaskId, reason: Option<String>) {
        let about = format!("state of task {id}");
        self.shared.board.trouble(&about, reason);
    }

    /// Rows that are committed but not in the store yet go there, so that the task can return without a long replay.
    pub(super) fn save_at_close(&mut self, id: &TaskId) {
        let Some(task) = self.tasks.get_mut(id) else {
            return;
        };
        if !task.is_running() {
            return;
        }
        if let Input::Keyed(keyed) = &mut task.input
            && let Err(error) = keyed.save_rows()
        {
            tracing::warn!(task = %id, %error, "not saved at closing; the next owner replays more of the changelog");
        }
    }

    /// Looks whether an admin has cut a log that this process owns. The next commit then saves at once, and begins to write all of
    /// the state again: whoever took the task over before that would find it lost.
    pub(super) fn watch_changelogs(&mut self) {
        let shared = self.shared.clone();
        let mut cut = false;
        for task in self.tasks.values_mut().filter(|t| t.is_running()) {
            let Input::Keyed(keyed) = &mut task.input else {
                continue;
            };
            if let Some(start) = shared.cluster.log_start(&keyed.changelog) {
                keyed.saw_log_start(start);
            }
            cut |= keyed.needs_save();
        }
        if cut {
            self.next_save = self.elapsed();
        }
    }

    fn each_keyed(&mut self, mut run: impl FnMut(&mut KeyedInput)) {
        for task in self.tasks.values_mut() {
            if let Input::Keyed(keyed) = &mut task.input {
                run(keyed);
            }
        }
    }

    fn hot_bytes(&self) -> usize {
        self.tasks.values().map(hot_bytes_of).sum()
    }
}

fn hot_bytes_of(task: &Task) -> usize {
    match &task.input {
        Input::Keyed(keyed) => keyed.operator.bytes().0,
        Input::Source(_) => 0,
    }
}
