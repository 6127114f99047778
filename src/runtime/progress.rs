//! How the worker threads get on, for those who look after them: when each last moved, since when it is inside a commit, and
//! whether a commit has outlived its deadline.
//!
//! Invariant: written by the threads themselves, read by the process and the group's callback; a thread that stands still is
//! seen by what it does not write. This file reads no clock and decides nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One thread, as it was last heard of.
#[derive(Debug, Default)]
struct Pace {
    moved: Duration,
    committing_since: Option<Duration>,
    /// A commit outlived its deadline, and there is no producer since that works.
    unwell: bool,
}

#[derive(Default)]
struct Inner {
    threads: BTreeMap<usize, Pace>,
    /// Threads that have let their tasks go; the group does not know it yet.
    let_go: BTreeSet<usize>,
}

#[derive(Default)]
pub struct Progress {
    inner: Mutex<Inner>,
}

impl Progress {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, thread: usize, change: impl FnOnce(&mut Pace)) {
        change(self.inner().threads.entry(thread).or_default());
    }

    /// The thread begins a turn, or has done a part of one that may take long.
    pub fn moved(&self, thread: usize, now: Duration) {
        self.note(thread, |pace| pace.moved = now);
    }

    /// The thread begins to commit or to abort.
    pub fn begin(&self, thread: usize, now: Duration) {
        self.note(thread, |pace| pace.committing_since = Some(now));
    }

    /// That is over. `lets_go`: it outlived its deadline, and the thread closes its tasks.
    pub fn end(&self, thread: usize, now: Duration, lets_go: bool) {
        self.note(thread, |pace| {
            pace.moved = now;
            pace.committing_since = None;
            pace.unwell |= lets_go;
        });
        if lets_go {
            self.inner().let_go.insert(thread);
        }
    }

    /// The thread has a producer that is registered with Kafka.
    pub fn recovered(&self, thread: usize) {
        self.note(thread, |pace| pace.unwell = false);
    }

    /// The thread has ended.
    pub fn ended(&self, thread: usize) {
        self.inner().threads.remove(&thread);
    }

    /// Threads whose commit has lasted longer than the deadline, or did and that have no working producer since.
    pub fn overdue(&self, now: Duration, deadline: Duration) -> BTreeSet<usize> {
        let inner = self.inner();
        let late = |pace: &Pace| pace.unwell || committing_longer(pace, now, deadline);
        let late = inner.threads.iter().filter(|(_, pace)| late(pace));
        late.map(|(thread, _)| *thread).collect()
    }

    /// Whether the thread is inside a commit that has lasted longer than this.
    pub fn is_stuck(&self, thread: usize, now: Duration, limit: Duration) -> bool {
        let inner = self.inner();
        let pace = inner.threads.get(&thread);
        pace.is_some_and(|pace| committing_longer(pace, now, limit))
    }

    /// Threads that have let their tasks go since the last call.
    pub fn take_let_go(&self) -> BTreeSet<usize> {
        std::mem::take(&mut self.inner().let_go)
    }

    /// Threads that have not moved for longer than `limit`, and for how long. Commits have a deadline of their own.
    pub fn standing(&self, now: Duration, limit: Duration) -> BTreeMap<usize, Duration> {
        let inner = self.inner();
        let outside = inner
            .threads
            .iter()
            .filter(|(_, pace)| pace.committing_since.is_none());
        outside
            .map(|(thread, pace)| (*thread, now.saturating_sub(pace.moved)))
            .filter(|(_, stood)| *stood > limit)
            .collect()
    }
}

fn committing_longer(pace: &Pace, now: Duration, limit: Duration) -> bool {
    pace.committing_since
        .is_some_and(|since| now.saturating_sub(since) > limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_thread_that_does_not_move_is_told_from_one_that_commits_for_long() {
        let progress = Progress::default();
        progress.moved(0, s(100));
        progress.moved(1, s(100));
        progress.begin(1, s(100));
        assert!(progress.standing(s(110), s(10)).is_empty());
        assert_eq!(progress.standing(s(112), s(10)), [(0, s(12))].into());
        progress.moved(0, s(112));
        progress.end(1, s(130), false);
        assert_eq!(progress.standing(s(131), s(10)), [(0, s(19))].into());
        progress.ended(0);
        assert!(progress.standing(s(131), s(10)).is_empty());
    }

    #[test]
    fn a_commit_is_overdue_until_it_ends_and_after_a_deadline_until_there_is_a_producer() {
        let progress = Progress::default();
        progress.begin(0, s(100));
        assert!(progress.overdue(s(130), s(30)).is_empty());
        assert_eq!(progress.overdue(s(131), s(30)), [0].into());
        assert!(progress.is_stuck(0, s(131), s(30)));
        progress.end(0, s(132), false);
        assert!(progress.overdue(s(190), s(30)).is_empty());
        progress.begin(0, s(200));
        progress.end(0, s(230), true);
        assert_eq!(progress.overdue(s(231), s(30)), [0].into());
        assert!(!progress.is_stuck(0, s(231), s(30)), "the call is back");
        progress.recovered(0);
        assert!(progress.overdue(s(231), s(30)).is_empty());
        assert_eq!(
            progress.take_let_go(),
            [0].into(),
            "however soon it is well"
        );
        assert!(progress.take_let_go().is_empty());
    }
}
