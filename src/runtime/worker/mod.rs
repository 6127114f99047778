//! A worker thread: its tasks, one data consumer, one transactional producer, stepped by [`Worker::turn`].
//!
//! Invariant: a turn never blocks for longer than a poll or a commit; commands are obeyed between steps, never inside
//! a transaction's end. The thread itself is made elsewhere, so that a simulator can step many workers on one thread.

mod commit;
mod producer;
mod reader;
mod save;
mod settle;
mod status;
mod tasks;
mod waiting;

use super::janitor::Deletion;
use super::outbox::Outbox;
use super::pause::Pause;
use super::scout::{Answer, Question};
use super::shared::Shared;
use super::task::Task;
use crate::broker::{self, Consumer, Polled};
use crate::fetch::TopicPartition;
use crate::protocol::TaskId;
use crate::protocol::commit::Streak;
use crate::protocol::ownership::Taken;
use producer::ProducerSlot;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use waiting::Waiting;

/// Longest wait for records: how late a command may be obeyed.
const MAX_WAIT: Duration = Duration::from_millis(25);
/// Records that one poll brings at most.
const MAX_RECORDS: usize = 20_000;

/// Orders from the group's callback and the process.
pub enum Command {
    Take {
        task: TaskId,
        taken: Taken,
    },
    /// Close the tasks and answer. `clean` commits what was processed; otherwise it is aborted.
    Release {
        tasks: Vec<TaskId>,
        clean: bool,
        done: Sender<()>,
    },
    Stop,
}

/// Why a worker thread ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    Stopped,
    /// The whole process has to stop, with this cause.
    Fatal(String),
}

/// The channels of a worker.
pub struct Lines {
    pub commands: Receiver<Command>,
    pub questions: Sender<Question>,
    pub deletions: Sender<Deletion>,
}

pub struct Worker {
    index: usize,
    shared: Arc<Shared>,
    consumer: Box<dyn Consumer>,
    /// Between replacements of the consumer.
    reader_pause: Pause,
    producer: ProducerSlot,
    tasks: BTreeMap<TaskId, Task>,
    /// Which task reads a partition (its input, or its changelog while it is restored).
    routes: BTreeMap<TopicPartition, TaskId>,
    paused: BTreeSet<TopicPartition>,
    lines: Lines,
    answers: (Sender<Answer>, Receiver<Answer>),
    next_commit: Duration,
    next_save: Duration,
    /// Between saves that fail.
    save_pause: Pause,
    streak: Streak,
    /// While committing one by one: the task whose turn it is, and those that have shown that they can.
    solo: Option<TaskId>,
    cleared: BTreeSet<TaskId>,
    /// Tasks to be taken over again at the next turn.
    again: Vec<TaskId>,
    /// Tasks that another thread still holds.
    waiting: Waiting,
    /// Where the next round of work begins, so that no task starves.
    first: usize,
    fatal: Option<String>,
    nonce: u64,
}

impl Worker {
    /// `seed` makes the commit nonces; it must differ between processes and starts.
    pub fn new(index: usize, shared: Arc<Shared>, lines: Lines, seed: u64) -> broker::Result<Self> {
        let tuning = &shared.tuning;
        let transactional_id = format!("{}-{}-{index}", tuning.app, tuning.worker_id);
        let consumer = shared.clients.consumer(&shared.reader_id(index))?;
        let now = shared.clock.elapsed();
        Ok(Worker {
            index,
            consumer,
            reader_pause: Pause::default(),
            producer: ProducerSlot::new(transactional_id),
            tasks: BTreeMap::new(),
            routes: BTreeMap::new(),
            paused: BTreeSet::new(),
            lines,
            answers: channel(),
            next_commit: now + shared.tuning.commit_interval,
            next_save: now + shared.tuning.save_interval,
            save_pause: Pause::default(),
            streak: Streak::default(),
            solo: None,
            cleared: BTreeSet::new(),
            again: Vec::new(),
            waiting: Waiting::default(),
            first: 0,
            fatal: None,
            nonce: seed,
            shared,
        })
    }

    /// One step: commands, answers, records, windows, and a commit if it is due.
    pub fn turn(&mut self) -> Option<Ended> {
        self.moved();
        if self.obey() {
            return Some(Ended::Stopped);
        }
        if let Some(cause) = self.fatal.take() {
            return Some(Ended::Fatal(cause));
        }
        if !self.ready_producer() {
            return None;
        }
        self.drop_lost();
        for id in std::mem::take(&mut self.again) {
            self.retake(&id);
        }
        self.take_what_waits();
        self.hear_answers();
        self.receive();
        self.work();
        if self.commit_is_due() {
            self.commit();
        }
        self.save_in_quiet();
        None
    }

    /// Tells that the thread does not stand still.
    fn moved(&self) {
        self.shared.progress.moved(self.index, self.elapsed());
    }

    fn elapsed(&self) -> Duration {
        self.shared.clock.elapsed()
    }

    /// Obeys what was ordered; returns whether to stop.
    fn obey(&mut self) -> bool {
        while let Ok(command) = self.lines.commands.try_recv() {
            match command {
                Command::Take { task, taken } => self.take(task, taken),
                Command::Release { tasks, clean, done } => {
                    self.release(&tasks, clean);
                    self.moved();
                    // The callback may have given up waiting.
                    let _ = done.send(());
                }
                Command::Stop => return true,
            }
        }
        false
    }

    fn dispatch(&mut self, polled: Polled) {
        match polled {
            Polled::Fetch(fetch) => {
                let Some(id) = self.routes.get(&fetch.at).cloned() else {
                    return;
                };
                self.on_fetch(&id, fetch);
            }
            Polled::End { at, offset, high } => {
                let Some(id) = self.routes.get(&at).cloned() else {
                    return;
                };
                self.on_end(&id, &at, offset, high);
            }
            Polled::OutOfRange { at } => {
                let Some(id) = self.routes.get(&at).cloned() else {
                    return;
                };
                self.on_out_of_range(&id, &at);
            }
            Polled::Failed { at, message } => {
                tracing::warn!(partition = %at, message, "a partition cannot be read; the client goes on trying");
            }
        }
    }

    /// Tasks of the task's sub-topology.
    fn producers_of(&self, task: &Task) -> u32 {
        self.shared
            .sub_topology(&task.id)
            .map_or(1, |sub| self.shared.tasks_of(sub))
    }

    fn outbox(&mut self) -> Option<&mut Outbox> {
        self.producer.outbox()
    }

    fn next_nonce(&mut self) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014): distinct for 2^64 steps.
        self.nonce = self.nonce.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.nonce;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
