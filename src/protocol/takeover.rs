//! The steps before a task may run on a new owner: wait for, or settle, the old owner's transaction; find where to
//! restore from and up to; or say why the task cannot run.
//!
//! Invariant: nothing is restored before the committed offsets are stable and the changelog's last stable offset has
//! reached its high watermark; stable offsets alone do not mean that the old transaction is over. A transactional id is
//! settled only if nobody in the group carries its worker id: settling a live worker fences it.

use super::TaskId;
use super::facts::{Facts, FactsError};
use crate::broker::{CommittedOffset, GroupMember, LogRange};
use std::fmt;
use std::time::Duration;

/// A transaction that is open for longer than this belongs to somebody who may be dead.
const SUSPICIOUS_AFTER: Duration = Duration::from_millis(200);

/// The group's committed offset of the task's input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offsets {
    /// A transaction with pending offsets is undecided; `last` is what was committed before it.
    Unstable {
        last: Option<CommittedOffset>,
    },
    Stable(Option<CommittedOffset>),
}

/// What was seen when Kafka was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub offsets: Offsets,
    /// Of the task's changelog partition, where it has one.
    pub changelog: Option<LogRange>,
    /// Of the repartition partitions that the task writes; others write them too, so they are only a sign.
    pub written: Vec<LogRange>,
    pub members: Vec<GroupMember>,
    /// Transactional ids in the facts of the tasks that are taken over together: the open transaction may be of any.
    pub owners: Vec<String>,
}

/// What the task is, for this process.
#[derive(Debug, Clone)]
pub struct Claimant {
    pub task: TaskId,
    pub app: String,
    pub worker_id: String,
    /// Worker threads of this process: transactional ids of ours with a higher number are of an earlier life.
    pub threads: usize,
    pub fingerprint: u64,
    /// The input topic's id at present.
    pub topic_id: Option<String>,
}

/// What happens next.
#[derive(Debug, Clone, PartialEq)]
pub enum Decision {
    /// Look again soon.
    Wait,
    /// Register this transactional id anew, then look again.
    Settle {
        transactional_id: String,
    },
    /// Nothing was ever committed: begin where the source says.
    Begin,
    /// Nothing to restore: go on from these facts.
    Resume {
        facts: Box<Facts>,
    },
    /// Replay the changelog up to `barrier`. `facts` are absent where the offsets are gone but the changelog is there:
    /// then the log's own last facts hold.
    Restore {
        facts: Option<Box<Facts>>,
        log: LogRange,
        barrier: i64,
    },
    Refuse(Refusal),
}

/// What is left of the engine's own position, where a tool has set another offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// The tool has kept the facts beside its offset.
    Facts(i64),
    /// The last facts in the task's changelog.
    Changelog(i64),
    /// A commit replaces the one before, and a task without state has no log.
    Nowhere,
}

impl fmt::Display for Known {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Known::Facts(position) => write!(f, "the facts beside it name offset {position}"),
            Known::Changelog(position) => {
                write!(f, "the last facts in the changelog name offset {position}")
            }
            Known::Nowhere => f.write_str("what stood there before is not known any more"),
        }
    }
}

/// Why an assigned task is not run here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error(
        "the committed offset {offset} of {input} is not this engine's (metadata {metadata:?}): a tool has set it, and \
         {known}. Use `millstream reset` to start anew"
    )]
    ForeignOffset {
        input: String,
        offset: i64,
        metadata: String,
        known: Known,
    },
    #[error("{0}")]
    Facts(String),
    #[error(
        "its state was written by another version of the topology (fingerprint {found:016x}, this file has {wanted:016x}): \
         run the file that wrote it, or `millstream reset` to start anew"
    )]
    OtherPlan { found: u64, wanted: u64 },
    #[error(
        "the topic {topic} was deleted and made anew (its id was {was}, now {now}): the committed position means other \
         records. `millstream reset` starts anew"
    )]
    TopicRecreated {
        topic: String,
        was: String,
        now: String,
    },
    #[error(
        "partition {partition} of {topic} was read before, but its committed position is gone: the topic was deleted and made \
         anew, or somebody deleted the offsets. Reading it from its start would count its records again. `millstream reset` \
         starts anew"
    )]
    Forgotten { topic: String, partition: i32 },
    #[error(
        "its state is lost: {0}. What remains is `millstream reset`, which starts anew from the source topics"
    )]
    LostState(String),
}

/// Behind the worker id in the `client.id` of a member that runs `--until-end`.
pub const BOUNDED_MARK: &str = ";until-end";

/// The worker id inside a member's `client.id`.
pub fn worker_in(client_id: &str) -> &str {
    client_id.strip_suffix(BOUNDED_MARK).unwrap_or(client_id)
}

/// One takeover under way.
#[derive(Debug)]
pub struct Takeover {
    who: Claimant,
    suspicious_since: Option<Duration>,
    settled: Vec<String>,
}

impl Takeover {
    pub fn new(who: Claimant) -> Takeover {
        Takeover {
            who,
            suspicious_since: None,
            settled: Vec::new(),
        }
    }

    pub fn claimant(&self) -> &Claimant {
        &self.who
    }

    /// Decides from what was seen at `now` (elapsed time).
    pub fn decide(&mut self, view: &View, now: Duration) -> Decision {
        let open_log = view.changelog.is_some_and(|log| log.stable < log.high);
        let blocked = open_log || matches!(view.offsets, Offsets::Unstable { .. });
        let sign = view.written.iter().any(|log| log.stable < log.high);
        if !blocked && !sign {
            return self.go_on(view);
        }
        let since = *self.suspicious_since.get_or_insert(now);
        if now.saturating_sub(since) >= SUSPICIOUS_AFTER
            && let Some(transactional_id) = self.to_settle(view)
        {
            self.settled.push(transactional_id.clone());
            return Decision::Settle { transactional_id };
        }
        // Only our own log and offsets must be quiet; repartition partitions are written by others all the time.
        if blocked
            || (sign
                && now.saturating_sub(since) < SUSPICIOUS_AFTER
                && self.predecessor_is_gone(view))
        {
            return Decision::Wait;
        }
        self.go_on(view)
    }

    /// The settling that was decided was not done; it may be decided again.
    pub fn postpone(&mut self, transactional_id: &str) {
        self.settled.retain(|id| id != transactional_id);
    }

    fn last_facts(view: &View) -> Option<Facts> {
        let (Offsets::Unstable { last: offset } | Offsets::Stable(offset)) = &view.offsets;
        Facts::from_metadata(&offset.as_ref()?.metadata).ok()
    }

    /// Worker id and thread inside a transactional id `<app>-<worker id>-<thread>`.
    fn owner_of<'a>(&self, transactional_id: &'a str) -> Option<(&'a str, usize)> {
        let rest = transactional_id
            .strip_prefix(&self.who.app)?
            .strip_prefix('-')?;
        let (worker, thread) = rest.rsplit_once('-')?;
        Some((worker, thread.parse().ok()?))
    }

    /// An id of ours that no thread of this process has: the process had more threads in an earlier life.
    fn is_vanished(&self, transactional_id: &str) -> bool {
        self.owner_of(transactional_id)
            .is_some_and(|(worker, thread)| {
                worker == self.who.worker_id && thread >= self.who.threads
            })
    }

    fn predecessor_is_gone(&self, view: &View) -> bool {
        Self::last_facts(view).is_some_and(|facts| self.is_gone(&facts.transactional_id, view))
    }

    fn is_gone(&self, transactional_id: &str, view: &View) -> bool {
        if self.is_vanished(transactional_id) {
            return true;
        }
        self.owner_of(transactional_id).is_some_and(|(worker, _)| {
            worker != self.who.worker_id
                && !view
                    .members
                    .iter()
                    .any(|m| worker_in(&m.client_id) == worker)
        })
    }

    fn to_settle(&self, view: &View) -> Option<String> {
        let last = Self::last_facts(view).map(|facts| facts.transactional_id);
        let last = last.filter(|id| self.is_gone(id, view));
        // The last owner has committed; the one after it, with the transaction open, may be a vanished thread of ours.
        let vanished = view.owners.iter().filter(|id| self.is_vanished(id));
        last.into_iter()
            .chain(vanished.cloned())
            .find(|id| !self.settled.contains(id))
    }

    fn go_on(&self, view: &View) -> Decision {
        let Offsets::Stable(committed) = &view.offsets else {
            return Decision::Wait;
        };
        let Some(committed) = committed else {
            return match view.changelog {
                Some(log) if log.high > 0 => Decision::Restore {
                    facts: None,
                    log,
                    barrier: log.high,
                },
                _ => Decision::Begin,
            };
        };
        let facts = match Facts::from_metadata(&committed.metadata) {
            Ok(facts) => facts,
            Err(FactsError::Missing) => return foreign(committed, Known::Nowhere),
            Err(error) => return Decision::Refuse(Refusal::Facts(error.to_string())),
        };
        match self.objection(&facts, &committed.at.topic) {
            Some(refusal) => Decision::Refuse(refusal),
            // We commit a position and the facts that name it as one.
            None if facts.position != committed.offset => {
                foreign(committed, Known::Facts(facts.position))
            }
            None => Self::from_facts(facts, view.changelog),
        }
    }

    /// Why these facts cannot be gone on from, if they cannot.
    pub fn objection(&self, facts: &Facts, topic: &str) -> Option<Refusal> {
        if facts.fingerprint != self.who.fingerprint {
            return Some(Refusal::OtherPlan {
                found: facts.fingerprint,
                wanted: self.who.fingerprint,
            });
        }
        match (&facts.topic_id, &self.who.topic_id) {
            (Some(was), Some(now)) if was != now => Some(Refusal::TopicRecreated {
                topic: topic.to_string(),
                was: was.clone(),
                now: now.clone(),
            }),
            _ => None,
        }
    }

    fn from_facts(facts: Facts, changelog: Option<LogRange>) -> Decision {
        let Some(log) = changelog else {
            return Decision::Resume {
                facts: Box::new(facts),
            };
        };
        let from = facts.changelog.as_ref().map_or(0, |c| c.complete_from);
        // A log that begins later may still be enough for a task with a good local store: the restore decides that.
        if from > log.high {
            let lost = format!(
                "the changelog ends at offset {}, but its rows are complete only from {from} on",
                log.high
            );
            return Decision::Refuse(Refusal::LostState(lost));
        }
        Decision::Restore {
            facts: Some(Box::new(facts)),
            log,
            barrier: log.high,
        }
    }
}

fn foreign(committed: &CommittedOffset, known: Known) -> Decision {
    Decision::Refuse(Refusal::ForeignOffset {
        input: committed.at.to_string(),
        offset: committed.offset,
        metadata: committed.metadata.clone(),
        known,
    })
}

#[cfg(test)]
mod tests;
