//! When a process whose commits outlive their deadline leaves the group, so that others get its tasks, and when it comes back.
//!
//! ```text
//! Member --a commit is overdue--> Aside --every thread is well, and the rest is over--> Member
//! ```
//! Invariant: threads let their tasks go by themselves; without the leave the group would go on counting on them, so
//! every such thread leads to one. This file reads no clock and moves no task.

use std::collections::BTreeSet;
use std::time::Duration;

/// Others have the tasks by then; a process that returned at once would get the same ones again.
const SHORTEST: Duration = Duration::from_secs(2);
const LONGEST: Duration = Duration::from_secs(60);
/// A process that was well for so long begins with the shortest rest.
const FORGIVEN: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Leave,
    Return,
}

#[derive(Debug, Default)]
pub struct Aside {
    since: Option<Duration>,
    returned: Option<Duration>,
    rest: Duration,
    /// Threads for which the process has left.
    threads: BTreeSet<usize>,
}

impl Aside {
    /// Takes the threads whose commit is overdue now, and those that have let their tasks go since the last look.
    pub fn look(
        &mut self,
        now: Duration,
        overdue: &BTreeSet<usize>,
        let_go: &BTreeSet<usize>,
    ) -> Option<Step> {
        let late: BTreeSet<usize> = overdue.union(let_go).copied().collect();
        match self.since {
            None if late.is_empty() => None,
            None => {
                let again = self
                    .returned
                    .is_some_and(|at| now.saturating_sub(at) < FORGIVEN);
                let rest = if again { self.rest * 2 } else { SHORTEST };
                self.rest = rest.clamp(SHORTEST, LONGEST);
                self.since = Some(now);
                self.threads = late;
                Some(Step::Leave)
            }
            Some(since) => {
                self.threads.extend(late);
                let rested = now.saturating_sub(since) >= self.rest;
                if !overdue.is_empty() || !rested {
                    return None;
                }
                self.since = None;
                self.returned = Some(now);
                self.threads.clear();
                Some(Step::Return)
            }
        }
    }

    /// The threads because of which the process is away.
    pub fn threads(&self) -> &BTreeSet<usize> {
        &self.threads
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: BTreeSet<usize> = BTreeSet::new();

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_process_is_away_until_its_threads_are_well_and_others_had_time() {
        let mut aside = Aside::default();
        let late = BTreeSet::from([1]);
        assert_eq!(aside.look(s(10), &NONE, &NONE), None);
        assert_eq!(aside.look(s(10), &late, &NONE), Some(Step::Leave));
        assert_eq!(aside.threads(), &late);
        assert_eq!(aside.look(s(11), &NONE, &NONE), None, "too soon");
        assert_eq!(aside.look(s(20), &late, &NONE), None, "still stuck");
        assert_eq!(aside.look(s(21), &NONE, &NONE), Some(Step::Return));
        assert_eq!(aside.threads(), &NONE);
        assert_eq!(aside.look(s(22), &NONE, &NONE), None);
    }

    #[test]
    fn a_thread_that_was_well_again_at_once_has_let_its_tasks_go_all_the_same() {
        let mut aside = Aside::default();
        let gone = BTreeSet::from([0]);
        assert_eq!(aside.look(s(10), &NONE, &gone), Some(Step::Leave));
        assert_eq!(aside.look(s(12), &NONE, &NONE), Some(Step::Return));
        assert_eq!(aside.look(s(12), &NONE, &gone), Some(Step::Leave));
    }

    #[test]
    fn rests_grow_with_every_return_that_did_not_last() {
        let mut aside = Aside::default();
        let gone = BTreeSet::from([0]);
        let mut now = s(1000);
        let mut rest = |now: &mut Duration| {
            assert_eq!(aside.look(*now, &NONE, &gone), Some(Step::Leave));
            let left = *now;
            while aside.look(*now, &NONE, &NONE).is_none() {
                *now += s(1);
            }
            (*now - left).as_secs()
        };
        let rests: Vec<u64> = (0..7).map(|_| rest(&mut now)).collect();
        assert_eq!(rests, [2, 4, 8, 16, 32, 60, 60]);
        now += FORGIVEN;
        assert_eq!(rest(&mut now), 2);
    }
}
