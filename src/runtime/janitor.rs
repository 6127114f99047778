//! Deletes records of internal topics that nobody needs any more, in its own thread.
//!
//! Invariant: only what a task ordered after an acknowledged commit is deleted, at most every 30 s; a deletion that
//! fails is tried again. Nothing depends on a deletion having happened. A process that has left the group deletes nothing.

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
}

/// Orders by partition: the highest that is due, and one that is waiting.
#[derive(Default)]
struct Orders {
    due: BTreeMap<TopicPartition, i64>,
    waiting: BTreeMap<TopicPartition, Deletion>,
    done: BTreeMap<TopicPartition, i64>,
}

impl Orders {
    fn take(&mut self, order: Deletion) {
        if self
            .done
            .get(&order.at)
            .is_some_and(|done| *done >= order.below)
        {
            return;
        }
        // While one waits for its time, later ones need not be remembered: each commit orders anew.
        self.waiting.entry(order.at.clone()).or_insert(order);
    }

    fn ripen(&mut self, now: Duration) -> Vec<(TopicPartition, i64)> {
        let ripe: Vec<_> = self
            .waiting
            .iter()
            .filter(|(_, o)| o.due <= now)
            .map(|(at, _)| at.clone())
            .collect();
        for at in ripe {
            if let Some(order) = self.waiting.remove(&at) {
                let below = self.due.entry(at).or_insert(0);
                *below = (*below).max(order.below);
            }
        }
        self.due
            .iter()
            .map(|(at, below)| (at.clone(), *below))
            .collect()
    }

    fn finished(&mut self, deleted: &[(TopicPartition, i64)]) {
        for (at, below) in deleted {
            self.due.remove(at);
            self.done.insert(at.clone(), *below);
        }
    }
}

/// Runs until every sender of orders is gone.
pub fn run(shared: &Arc<Shared>, orders: &Receiver<Deletion>) {
    let mut book = Orders::default();
    let mut last = shared.clock.elapsed();
    loop {
        match orders.recv_timeout(ROUND) {
            Ok(order) => book.take(order),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if has_left(shared) {
            return;
        }
        let now = shared.clock.elapsed();
        if now.saturating_sub(last) < ROUND {
            continue;
        }
        last = now;
        let ripe = book.ripen(now);
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
                tracing::info!(%error, "consumed records are not deleted yet; trying again")
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

    fn order(below: i64, due: u64) -> Deletion {
        Deletion {
            at: TopicPartition::new("t", 0),
            below,
            due: Duration::from_secs(due),
        }
    }

    #[test]
    fn an_order_waits_for_its_time_and_is_not_pushed_back_by_later_ones() {
        let mut book = Orders::default();
        book.take(order(5, 10));
        book.take(order(9, 20));
        assert!(book.ripen(Duration::from_secs(9)).is_empty());
        assert_eq!(
            book.ripen(Duration::from_secs(10)),
            vec![(TopicPartition::new("t", 0), 5)]
        );
    }

    #[test]
    fn a_failed_deletion_is_tried_again_and_a_done_one_is_not() {
        let mut book = Orders::default();
        book.take(order(5, 0));
        let ripe = book.ripen(Duration::ZERO);
        assert_eq!(book.ripen(Duration::ZERO), ripe, "it was not finished");
        book.finished(&ripe);
        book.take(order(5, 0));
        assert!(book.ripen(Duration::ZERO).is_empty());
    }
}
