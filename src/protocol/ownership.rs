//! Which tasks this process owns, and since which assignment.
//!
//! Invariant: a task has a number only between the group's callback that gave it and the one that takes it away; the
//! number is never used again. The broker checks no ownership, so a commit is refused here unless every task in it is
//! still owned under the number and the member id under which it was taken.

use super::TaskId;
use crate::broker::GroupMetadata;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How a task was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    pub member_id: String,
    pub assignment: u64,
}

/// Why a commit may not go on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Breach {
    #[error(
        "this process is no member of the group (member id {member_id:?}, generation {generation})"
    )]
    NotAMember { member_id: String, generation: i32 },
    #[error("{task} was taken by member {taken}, this process is now {now}")]
    OtherMember {
        task: TaskId,
        taken: String,
        now: String,
    },
    #[error("{task} was taken away from this process")]
    NotOwned { task: TaskId },
}

#[derive(Default)]
struct Table {
    last: u64,
    tasks: BTreeMap<TaskId, u64>,
}

/// Shared by the member's thread, which writes it, and the worker threads, which check it.
#[derive(Default)]
pub struct Ownership {
    table: Mutex<Table>,
}

impl Ownership {
    fn table(&self) -> MutexGuard<'_, Table> {
        // A panic elsewhere cannot leave the table half written: each change is one map operation.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A task was assigned; returns its assignment number.
    pub fn assign(&self, task: &TaskId) -> u64 {
        let mut table = self.table();
        table.last += 1;
        let number = table.last;
        table.tasks.insert(task.clone(), number);
        number
    }

    /// A task was revoked or lost.
    pub fn release(&self, task: &TaskId) {
        self.table().tasks.remove(task);
    }

    /// Whether the task is owned under this number.
    pub fn holds(&self, task: &TaskId, taken: &Taken) -> bool {
        self.table().tasks.get(task) == Some(&taken.assignment)
    }

    /// The check of every commit, with metadata read just before.
    pub fn check<'a>(
        &self,
        tasks: impl Iterator<Item = (&'a TaskId, &'a Taken)>,
        now: &GroupMetadata,
    ) -> Result<(), Breach> {
        if now.member_id.is_empty() || now.generation < 0 {
            return Err(Breach::NotAMember {
                member_id: now.member_id.clone(),
                generation: now.generation,
            });
        }
        let table = self.table();
        for (task, taken) in tasks {
            if taken.member_id != now.member_id {
                let (taken, now) = (taken.member_id.clone(), now.member_id.clone());
                return Err(Breach::OtherMember {
                    task: task.clone(),
                    taken,
                    now,
                });
            }
            if table.tasks.get(task) != Some(&taken.assignment) {
                return Err(Breach::NotOwned { task: task.clone() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(member: &str, generation: i32) -> GroupMetadata {
        GroupMetadata {
            group: "app".into(),
            member_id: member.into(),
            generation,
            instance_id: None,
        }
    }

    fn taken(member: &str, assignment: u64) -> Taken {
        Taken {
            member_id: member.into(),
            assignment,
        }
    }

    #[test]
    fn a_commit_is_refused_unless_every_task_is_owned_as_it_was_taken() {
        let ownership = Ownership::default();
        let (a, b) = (TaskId::new("s", 0), TaskId::new("s", 1));
        let (na, nb) = (ownership.assign(&a), ownership.assign(&b));
        let (ta, tb) = (taken("m", na), taken("m", nb));
        let both = || [(&a, &ta), (&b, &tb)].into_iter();
        assert_eq!(ownership.check(both(), &metadata("m", 3)), Ok(()));
        assert!(matches!(
            ownership.check(both(), &metadata("", 3)),
            Err(Breach::NotAMember { .. })
        ));
        assert!(matches!(
            ownership.check(both(), &metadata("m", -1)),
            Err(Breach::NotAMember { .. })
        ));
        assert!(matches!(
            ownership.check(both(), &metadata("m2", 3)),
            Err(Breach::OtherMember { .. })
        ));
        ownership.release(&b);
        assert_eq!(
            ownership.check(both(), &metadata("m", 3)),
            Err(Breach::NotOwned { task: b.clone() })
        );
    }

    #[test]
    fn a_task_that_went_and_came_back_has_another_number() {
        let ownership = Ownership::default();
        let a = TaskId::new("s", 0);
        let first = ownership.assign(&a);
        ownership.release(&a);
        ownership.assign(&a);
        assert!(!ownership.holds(&a, &taken("m", first)));
        let check = ownership.check([(&a, &taken("m", first))].into_iter(), &metadata("m", 1));
        assert_eq!(check, Err(Breach::NotOwned { task: a }));
    }
}
