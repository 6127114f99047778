//! Which worker thread of this process holds a task.
//!
//! Invariant: a task is held by one thread at a time, from before its store is opened until after it is closed. A thread
//! that was fenced because it did not answer may hold a task that the group has given back to this process already: the
//! next thread waits for it. This file waits for nobody itself.

use crate::protocol::TaskId;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

#[derive(Default)]
pub struct Holders {
    threads: Mutex<BTreeMap<TaskId, usize>>,
}

impl Holders {
    fn threads(&self) -> MutexGuard<'_, BTreeMap<TaskId, usize>> {
        self.threads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the task for the thread.
    ///
    /// # Errors
    /// The other thread that holds it.
    pub fn take(&self, task: &TaskId, thread: usize) -> Result<(), usize> {
        match *self.threads().entry(task.clone()).or_insert(thread) {
            holder if holder == thread => Ok(()),
            holder => Err(holder),
        }
    }

    /// The thread has closed the task; nothing happens where another one holds it.
    pub fn give_back(&self, task: &TaskId, thread: usize) {
        let mut threads = self.threads();
        if threads.get(task) == Some(&thread) {
            threads.remove(task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_that_another_thread_holds_is_taken_only_after_it_was_given_back() {
        let holders = Holders::default();
        let task = TaskId::new("counts", 0);
        assert_eq!(holders.take(&task, 0), Ok(()));
        assert_eq!(holders.take(&task, 0), Ok(()), "again by the same thread");
        assert_eq!(holders.take(&task, 1), Err(0));
        holders.give_back(&task, 1);
        assert_eq!(holders.take(&task, 1), Err(0), "it was not the other's");
        holders.give_back(&task, 0);
        assert_eq!(holders.take(&task, 1), Ok(()));
    }
}
