//! The takeover's eyes: one thread per process that asks Kafka where tasks stand, and settles dead owners.
//!
//! Invariant: it only looks and settles as [`Takeover`] decides; tasks run in their worker threads, which never wait
//! for a look. A task that was released meanwhile is dropped at the next round.

mod beginning;
mod last_facts;

use super::shared::Shared;
use super::sight::see;
use crate::broker::Error;
use crate::plan::graph::Input;
use crate::protocol::TaskId;
use crate::protocol::facts::Facts;
use crate::protocol::ownership::Taken;
use crate::protocol::takeover::{Claimant, Decision, Known, Refusal, Takeover, View};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

/// Between two looks at tasks that have to wait.
const ROUND: Duration = Duration::from_millis(20);
/// After a look that failed.
const AFTER_ERROR: Duration = Duration::from_millis(500);

/// A task whose position a worker thread wants to know.
pub struct Question {
    pub task: TaskId,
    pub taken: Taken,
    pub reply: Sender<Answer>,
}

/// What a takeover found.
pub struct Answer {
    pub task: TaskId,
    pub taken: Taken,
    pub found: Found,
    /// In a bounded run, the present end of a source partition.
    pub end: Option<i64>,
}

pub enum Found {
    /// Nothing was ever committed: begin at this offset.
    Begin {
        position: i64,
    },
    Resume {
        facts: Box<Facts>,
    },
    Restore {
        facts: Option<Box<Facts>>,
        log: crate::broker::LogRange,
        barrier: i64,
    },
    Refused(Refusal),
}

/// When ids were settled: one settling ends the old transaction for all tasks, and another one soon after would fence a process
/// that restarts with the id.
#[derive(Default)]
struct Settled {
    at: BTreeMap<String, Duration>,
}

const SETTLE_AGAIN: Duration = Duration::from_secs(5);

impl Settled {
    fn may(&mut self, transactional_id: &str, now: Duration) -> bool {
        let last = self.at.get(transactional_id);
        let may = last.is_none_or(|last| now.saturating_sub(*last) >= SETTLE_AGAIN);
        if may {
            self.at.insert(transactional_id.to_string(), now);
        }
        may
    }
}

struct Look {
    question: Question,
    takeover: Takeover,
    /// After a failed look: not again before.
    not_before: Duration,
}

/// Runs until every question sender is gone.
pub fn run(shared: &Arc<Shared>, questions: &Receiver<Question>) {
    let mut looks: Vec<Look> = Vec::new();
    let mut settled = Settled::default();
    loop {
        let wait = if looks.is_empty() {
            Duration::from_secs(3600)
        } else {
            ROUND
        };
        match questions.recv_timeout(wait) {
            Ok(question) => looks.push(begin(shared, question)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        looks.extend(questions.try_iter().map(|question| begin(shared, question)));
        looks.retain(|look| {
            shared
                .ownership
                .holds(&look.question.task, &look.question.taken)
        });
        look_at_all(shared, &mut looks, &mut settled);
    }
}

/// Looks at every task whose time has come, and forgets those that were answered.
fn look_at_all(shared: &Shared, looks: &mut Vec<Look>, settled: &mut Settled) {
    let now = shared.clock.elapsed();
    let (due, resting): (Vec<Look>, Vec<Look>) = std::mem::take(looks)
        .into_iter()
        .partition(|look| look.not_before <= now);
    *looks = resting;
    if due.is_empty() {
        return;
    }
    let tasks: Vec<TaskId> = due.iter().map(|look| look.question.task.clone()).collect();
    for (mut look, view) in due.into_iter().zip(see(shared, &tasks)) {
        let seen = view.and_then(|view| judge(shared, &mut look, &view, settled));
        match seen.and_then(|found| with_end(shared, &look, found)) {
            Ok(None) => looks.push(look),
            Ok(Some((found, end))) => {
                let Question { task, taken, reply } = look.question;
                // The worker thread may be gone: then nobody wants the answer.
                let _ = reply.send(Answer {
                    task,
                    taken,
                    found,
                    end,
                });
            }
            Err(error) => {
                tracing::warn!(task = %look.question.task, %error, "cannot see where the task stands; looking again");
                look.not_before = now + AFTER_ERROR;
                looks.push(look);
            }
        }
    }
}

fn begin(shared: &Shared, question: Question) -> Look {
    let topic = shared
        .sub_topology(&question.task)
        .map(|sub| (sub.fingerprint, shared.input_topic(sub)));
    let (fingerprint, topic) = topic.unwrap_or_default();
    let claimant = Claimant {
        task: question.task.clone(),
        app: shared.tuning.app.clone(),
        worker_id: shared.tuning.worker_id.clone(),
        threads: shared.tuning.threads,
        fingerprint,
        topic_id: shared.cluster.get(&topic).and_then(|t| t.id),
    };
    Look {
        question,
        takeover: Takeover::new(claimant),
        not_before: Duration::ZERO,
    }
}

fn judge(
    shared: &Shared,
    look: &mut Look,
    view: &View,
    settled: &mut Settled,
) -> Result<Option<Found>, Error> {
    let task = &look.question.task;
    match look.takeover.decide(view, shared.clock.elapsed()) {
        Decision::Wait => Ok(None),
        Decision::Settle { transactional_id } => {
            if !settled.may(&transactional_id, shared.clock.elapsed()) {
                look.takeover.postpone(&transactional_id);
                return Ok(None);
            }
            tracing::info!(%task, transactional_id, "ending the transaction of a worker that is gone");
            if let Err(error) = shared.group.settle(&transactional_id) {
                look.takeover.postpone(&transactional_id);
                return Err(error);
            }
            Ok(None)
        }
        Decision::Begin => beginning::find(shared, task).map(Some),
        Decision::Resume { facts } => Ok(Some(Found::Resume { facts })),
        Decision::Restore {
            facts,
            log,
            barrier,
        } => Ok(Some(Found::Restore {
            facts,
            log,
            barrier,
        })),
        Decision::Refuse(mut refusal) => {
            if let Refusal::ForeignOffset { known, .. } = &mut refusal
                && *known == Known::Nowhere
            {
                *known = last_facts::find(shared, task);
            }
            Ok(Some(Found::Refused(refusal)))
        }
    }
}

fn with_end(
    shared: &Shared,
    look: &Look,
    found: Option<Found>,
) -> Result<Option<(Found, Option<i64>)>, Error> {
    let task = &look.question.task;
    let source = shared
        .sub_topology(task)
        .is_some_and(|sub| matches!(sub.input, Input::Source(_)));
    let end = match (
        found.is_some() && source && shared.tuning.run.is_some(),
        shared.input_at(task),
    ) {
        (true, Some(at)) => shared
            .admin
            .log_ranges(&[at])?
            .pop()
            .map(|range| range.stable),
        _ => None,
    };
    Ok(found.map(|found| (found, end)))
}
