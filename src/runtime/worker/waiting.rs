//! Tasks that were assigned to this thread while another thread of the process still holds them.
//!
//! Invariant: such a take is tried again every 100 ms until the task is free, is not ours any more, or the patience is at
//! an end: then it is parked with its reason. The thread's other tasks go on meanwhile.

use super::Worker;
use crate::protocol::TaskId;
use crate::protocol::ownership::Taken;
use std::collections::BTreeMap;
use std::time::Duration;

/// Between two tries.
const AGAIN: Duration = Duration::from_millis(100);
/// A thread that is stuck in a call to Kafka comes back after the call's own deadline, a minute at the worst.
const PATIENCE: Duration = Duration::from_secs(120);

/// One take that waits.
struct Wait {
    taken: Taken,
    since: Duration,
    next: Duration,
}

#[derive(Default)]
pub(super) struct Waiting {
    takes: BTreeMap<TaskId, Wait>,
}

impl Waiting {
    /// Notes that the task is held elsewhere; returns false, and forgets it, once that has lasted too long.
    fn hold(&mut self, task: &TaskId, taken: &Taken, now: Duration) -> bool {
        let since = self
            .takes
            .get(task)
            .filter(|wait| wait.taken == *taken)
            .map_or(now, |wait| wait.since);
        if now.saturating_sub(since) >= PATIENCE {
            self.takes.remove(task);
            return false;
        }
        let wait = Wait {
            taken: taken.clone(),
            since,
            next: now + AGAIN,
        };
        self.takes.insert(task.clone(), wait);
        true
    }

    /// Those whose turn it is.
    fn due(&self, now: Duration) -> Vec<(TaskId, Taken)> {
        self.takes
            .iter()
            .filter(|(_, wait)| wait.next <= now)
            .map(|(task, wait)| (task.clone(), wait.taken.clone()))
            .collect()
    }

    pub(super) fn forget(&mut self, task: &TaskId) {
        self.takes.remove(task);
    }
}

impl Worker {
    /// Tries again to take what another thread held.
    pub(super) fn take_what_waits(&mut self) {
        for (id, taken) in self.waiting.due(self.elapsed()) {
            if self.shared.ownership.holds(&id, &taken) {
                self.take_if_free(id, taken);
            } else {
                self.close(&id);
            }
        }
    }

    /// The task cannot be taken while another thread holds it.
    pub(super) fn wait_for(&mut self, id: &TaskId, taken: &Taken, holder: usize) {
        let now = self.elapsed();
        if self.waiting.hold(id, taken, now) {
            tracing::debug!(task = %id, thread = self.index, holder, "waiting for the thread that holds the task");
            return;
        }
        let cause = format!(
            "thread {holder} of this process did not close it within {PATIENCE:?} and holds its store open"
        );
        tracing::error!(task = %id, cause, "the task is parked; the others go on");
        self.show_untaken(id, cause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(assignment: u64) -> Taken {
        Taken {
            member_id: "m".into(),
            assignment,
        }
    }

    #[test]
    fn a_take_is_tried_again_until_its_patience_ends() {
        let mut waiting = Waiting::default();
        let (task, mine) = (TaskId::new("counts", 0), taken(1));
        let mut now = Duration::from_secs(10);
        assert!(waiting.hold(&task, &mine, now));
        assert!(waiting.due(now).is_empty(), "not at once");
        let mut tries = 0;
        loop {
            now += AGAIN;
            assert_eq!(waiting.due(now), [(task.clone(), mine.clone())]);
            if !waiting.hold(&task, &mine, now) {
                break;
            }
            tries += 1;
        }
        assert_eq!(tries, 1199);
        assert!(waiting.due(now + PATIENCE).is_empty(), "it was given up");
    }

    #[test]
    fn a_new_assignment_of_the_same_task_begins_with_all_its_patience() {
        let mut waiting = Waiting::default();
        let task = TaskId::new("counts", 0);
        assert!(waiting.hold(&task, &taken(1), Duration::ZERO));
        assert!(waiting.hold(&task, &taken(2), PATIENCE));
        assert!(waiting.hold(&task, &taken(2), PATIENCE + AGAIN));
        waiting.forget(&task);
        assert!(waiting.due(PATIENCE * 2).is_empty());
    }
}
