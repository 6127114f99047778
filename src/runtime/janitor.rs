//! Deletes records of internal topics that nobody needs any more, in its own thread.
//!
//! Invariant: only what a task ordered after an acknowledged commit is deleted: the dead head of a changelog as soon as
//! its time has come, what was read of a repartition topic at most every 30 s. A deletion that fails is tried again.
//! Nothing depends on a deletion having happened. A process that has left the group deletes nothing.

use super::shared::Shared;
use crate::broker::Error;
use crate::fetch::TopicPartition;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

const ROUND: Duration = Duration::from_secs(30);

/// "Everything below this offset may go once `due` has come."
pub struct Deletion {
    pub at: TopicPartition,
    pub below: i64,
    /// Elapsed time.
    pub due: Duration,
    /// Ordered seldom and worth a request of its own; others wait for the next round.
    pub at_once: bool,
}

/// One order by partition.
#[derive(Default)]
struct Orders {
    waiting: BTreeMap<TopicPartition, Deletion>,
    done: BTreeMap<TopicPartition, i64>,
    next_round: Duration,
}

impl Orders {
    fn new(now: Duration) -> Self {
        Orders {
            next_round: now + ROUND,
            ..Orders::default()
        }
    }

    fn take(&mut self, order: Deletion, now: Duration) {
        if self.done.get(&order.at) == Some(&order.below) {
            return;
        }
        let Some(waiting) = self.waiting.get_mut(&order.at) else {
            self.waiting.insert(order.at.clone(), order);
            return;
        };
        // While one waits for its time, later ones need not be remembered: each commit orders anew. A lower one says that the log
        // has lost its end: what an older one meant stands at other offsets now.
        if order.below < waiting.below {
            *waiting = order;
        } else if order.due <= now {
            waiting.below = order.below;
        }
    }

    /// How long nothing can become ripe.
    fn patience(&self, now: Duration) -> Duration {
        let at_once = self.waiting.values().filter(|order| order.at_once);
        let next = at_once.map(|order| order.due).min();
        next.map_or(self.next_round, |due| due.min(self.next_round))
            .saturating_sub(now)
    }

    /// What is to be deleted now; each ends with `finished` or `failed`.
    fn ripe(&mut self, now: Duration) -> Vec<(TopicPartition, i64)> {
        let round = now >= self.next_round;
        if round {
            self.next_round = now + ROUND;
        }
        self.waiting
            .values()
            .filter(|order| order.due <= now && (order.at_once || round))
            .map(|order| (order.at.clone(), order.below))
            .collect()
    }

    fn finished(&mut self, deleted: &[(TopicPartition, i64)]) {
        for (at, below) in deleted {
            self.waiting.remove(at);
            self.done.insert(at.clone(), *below);
        }
    }

    /// They are tried again in the next round.
    fn failed(&mut self, tried: &[(TopicPartition, i64)]) {
        for (at, _) in tried {
            if let Some(order) = self.waiting.get_mut(at) {
                order.at_once = false;
            }
        }
    }
}

/// Runs until every sender of orders is gone.
pub fn run(shared: &Arc<Shared>, orders: &Receiver<Deletion>) {
    let mut book = Orders::new(shared.clock.elapsed());
    loop {
        let received = orders.recv_timeout(book.patience(shared.clock.elapsed()));
        let now = shared.clock.elapsed();
        match received {
            Ok(order) => book.take(order, now),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if has_left(shared) {
            return;
        }
        orders.try_iter().for_each(|order| book.take(order, now));
        let ripe = book.ripe(now);
        if ripe.is_empty() {
            continue;
        }
        match shared.admin.delete_records(&ripe) {
            Ok(()) => book.finished(&ripe),
            Err(error @ Error::Refused { .. }) => {
                tracing::warn!(%error, "consumed records of internal topics cannot be deleted; they stay until an admin grants it");
                book.finished(&ripe);
            }
            Err(error) => {
                tracing::info!(%error, "consumed records are not deleted yet; trying again");
                book.failed(&ripe);
            }
        }
    }
}

/// The tasks are others' now: what is dead in their logs is for them to say.
fn has_left(shared: &Shared) -> bool {
    let closed = matches!(shared.group_metadata(), Err(Error::Fatal { .. }));
    closed || shared.board.leaving().is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::ZERO;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn order(below: i64, due: u64, at_once: bool) -> Deletion {
        Deletion {
            at: TopicPartition::new("t", 0),
            below,
            due: s(due),
            at_once,
        }
    }

    fn ripe(book: &mut Orders, at: u64) -> Vec<i64> {
        book.ripe(s(at))
            .into_iter()
            .map(|(_, below)| below)
            .collect()
    }

    #[test]
    fn an_order_waits_for_its_time_and_is_not_pushed_back_by_later_ones() {
        let mut book = Orders::new(START);
        book.take(order(5, 10, true), START);
        book.take(order(9, 20, true), START);
        assert_eq!(book.patience(s(4)), s(6));
        assert!(ripe(&mut book, 9).is_empty());
        assert_eq!(ripe(&mut book, 10), [5]);
    }

    #[test]
    fn the_head_of_a_changelog_goes_at_once_and_other_records_in_rounds() {
        let mut book = Orders::new(START);
        book.take(order(5, 1, true), s(1));
        assert_eq!(book.patience(s(1)), START);
        assert_eq!(ripe(&mut book, 1), [5]);
        book.finished(&[(TopicPartition::new("t", 0), 5)]);
        book.take(order(6, 2, false), s(2));
        book.take(order(8, 3, false), s(3));
        assert_eq!(book.patience(s(4)), s(26));
        assert!(ripe(&mut book, 29).is_empty());
        assert_eq!(ripe(&mut book, 30), [8], "the latest of them");
        assert_eq!(book.patience(s(30)), ROUND);
    }

    #[test]
    fn a_failed_deletion_is_tried_again_in_the_next_round_and_a_done_one_is_not() {
        let mut book = Orders::new(START);
        book.take(order(5, 0, true), START);
        let tried = book.ripe(START);
        book.failed(&tried);
        assert!(ripe(&mut book, 29).is_empty());
        assert_eq!(book.ripe(s(30)), tried);
        book.finished(&tried);
        book.take(order(5, 0, true), START);
        assert!(ripe(&mut book, 90).is_empty());
    }

    #[test]
    fn a_log_that_lost_its_end_takes_the_older_order_back() {
        let mut book = Orders::new(START);
        book.take(order(100, 3600, true), START);
        book.take(order(51, 3700, true), s(100));
        assert!(ripe(&mut book, 3650).is_empty());
        assert_eq!(ripe(&mut book, 3700), [51]);
    }
}
