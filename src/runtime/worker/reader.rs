//! The worker's data consumer: reading, and its replacement.
//!
//! Invariant: a consumer that librdkafka has given up is replaced by one that reads every partition from where its task
//! stands; records that were fetched before and still wait are recognised by their offsets. No transaction is touched.

use super::{MAX_RECORDS, MAX_WAIT, Worker};
use crate::broker::Error;
use crate::error::Reaction;
use crate::fetch::TopicPartition;
use crate::runtime::task::{Phase, Task};
use std::time::Duration;

impl Worker {
    pub(super) fn receive(&mut self) {
        let wait = self.patience();
        match self.consumer.poll(wait, MAX_RECORDS) {
            Ok(polled) => {
                if !polled.is_empty() {
                    self.reader_pause.succeeded();
                }
                polled.into_iter().for_each(|polled| self.dispatch(polled));
            }
            Err(error) => self.on_reading_failed(&error),
        }
    }

    fn on_reading_failed(&mut self, error: &Error) {
        let thread = self.index;
        if error.reaction() != Reaction::Replace {
            tracing::warn!(thread, %error, "reading failed; trying again");
            return;
        }
        let left = self.reader_pause.left(self.elapsed());
        if !left.is_zero() {
            // The broken consumer answers at once, so this is the turn's wait; commands are obeyed after it.
            std::thread::sleep(left.min(MAX_WAIT));
            return;
        }
        tracing::warn!(thread, %error, "the data consumer is unusable: replacing it");
        self.reader_pause.failed(self.elapsed());
        self.replace_consumer();
    }

    fn replace_consumer(&mut self) {
        let client_id = self.shared.reader_id(self.index);
        match self.shared.clients.consumer(&client_id) {
            Ok(consumer) => self.consumer = consumer,
            Err(error) => {
                self.fatal = Some(format!("cannot make a data consumer: {error}"));
                return;
            }
        }
        self.paused.clear();
        let positions: Vec<(TopicPartition, i64)> = self
            .routes
            .iter()
            .filter_map(|(at, id)| Some((at.clone(), read_from(self.tasks.get(id)?, at)?)))
            .collect();
        for (at, offset) in positions {
            self.assign(&at, offset);
        }
    }

    /// How long a poll may wait: not at all while there is something to do.
    fn patience(&self) -> Duration {
        let busy = self
            .tasks
            .values()
            .any(|t| t.is_running() && (t.firing() || t.pending_bytes() > 0));
        if busy {
            return Duration::ZERO;
        }
        let now = self.elapsed();
        if self
            .tasks
            .values()
            .any(|t| t.wants_commit(self.producers_of(t), now))
        {
            return self.next_commit.saturating_sub(now).min(MAX_WAIT);
        }
        MAX_WAIT
    }
}

/// Where the task reads the partition from: its input from its position, its changelog from where the restore stands.
fn read_from(task: &Task, at: &TopicPartition) -> Option<i64> {
    if *at == task.input_at {
        return Some(task.position());
    }
    match &task.phase {
        Phase::Restoring(restore) => Some(restore.position()),
        _ => None,
    }
}
