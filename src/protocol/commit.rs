//! The commit of one transaction: which step follows which answer, and how it ended.
//!
//! ```text
//! Seal -> Flush -> Check -> SendOffsets -> EndTxn -> CheckAgain -> Committed
//!   \______\________\__________\______________\--> Abort -> Aborted
//!                                              \--> Unknown
//! ```
//! Invariant: offsets are sent only after every record was acknowledged and ownership was checked with metadata read
//! just before; after the end was asked for, nothing but the broker's answer decides. An unknown outcome is a value:
//! nothing is ever applied from memory after it. No step begins after the deadline; how long the commit has lasted
//! comes with each answer. This file reads no clock.

use super::ownership::Breach;
use crate::broker::{Error, Outcome};
use crate::error::Reaction;
use std::time::Duration;

/// A commit whose EndTxn took longer may have been sent twice: its producer is not used for another transaction.
const SLOW_END: Duration = Duration::from_secs(1);
/// Times that an answer "call again" is followed before the transaction is aborted, where the call does not wait by itself.
const MAX_RETRIES: u32 = 20;

/// What the shell does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Flush operators and produce their output, rejects, changes and facts.
    Seal,
    /// Wait until everything produced is acknowledged.
    Flush,
    /// Read the group metadata anew and check the ownership of every task.
    Check,
    SendOffsets,
    EndTxn,
    /// The same check, after the ack.
    CheckAgain,
    Abort,
}

/// What came of an action.
#[derive(Debug, Clone)]
pub enum Fact {
    Done,
    Failed(Error),
    Owned,
    NotOwned(Breach),
    Ended {
        outcome: Outcome,
        disturbed: bool,
        took: Duration,
    },
}

/// Why a transaction was aborted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    NotOwned(Breach),
    /// The deadline came before the end was asked for.
    Overdue {
        during: Action,
    },
    Broker {
        message: String,
        reaction: Reaction,
        fenced: bool,
    },
}

impl Cause {
    /// A reason that no broker has given.
    pub fn plain(message: String, reaction: Reaction) -> Cause {
        Cause::Broker {
            message,
            reaction,
            fenced: false,
        }
    }

    fn of(error: &Error) -> Cause {
        Cause::Broker {
            message: error.to_string(),
            reaction: error.reaction(),
            fenced: matches!(error, Error::Fenced { .. }),
        }
    }

    /// Whether the task itself is the reason, so that it would fail again (too large, no rights).
    pub fn blames_the_task(&self) -> bool {
        matches!(
            self,
            Cause::Broker {
                reaction: Reaction::Park,
                ..
            }
        )
    }

    /// Another producer has the id, or the broker has timed the transaction out.
    pub fn says_fenced(&self) -> bool {
        matches!(self, Cause::Broker { fenced: true, .. })
    }

    /// The metrics' label.
    pub fn label(&self) -> &'static str {
        match self {
            Cause::NotOwned(_) => "not_owned",
            Cause::Overdue { .. } => "overdue",
            Cause::Broker {
                reaction: Reaction::Park,
                ..
            } => "refused",
            Cause::Broker {
                reaction: Reaction::Replace,
                ..
            } => "fenced_or_fatal",
            Cause::Broker { .. } => "broker",
        }
    }
}

/// How the transaction ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// `owned` tells whether the tasks were still ours when the ack came; the commit stands in any case.
    Committed {
        replace_producer: bool,
        owned: Result<(), Breach>,
    },
    /// Known: nothing of it will ever be visible (a new producer of the same id makes sure where the old one failed).
    Aborted {
        cause: Cause,
        replace_producer: bool,
    },
    /// Only Kafka knows: replace the producer, forget the tasks' memory, take them over again.
    Unknown(String),
}

impl Verdict {
    /// Whether the thread has to let its tasks go after a commit that lasted so long.
    pub fn lets_go(&self, lasted: Duration, deadline: Duration) -> bool {
        !matches!(self, Verdict::Committed { .. }) && lasted >= deadline
    }
}

/// The next thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    Do(Action),
    Ended(Verdict),
}

/// One commit under way.
#[derive(Debug)]
pub struct Commit {
    doing: Action,
    deadline: Duration,
    retries: u32,
    abort_cause: Option<Cause>,
    replace_producer: bool,
    /// The end was asked for once: an abort that fails after it decides nothing.
    end_was_sent: bool,
}

impl Commit {
    /// Starts with [`Action::Seal`].
    pub fn start(deadline: Duration) -> (Commit, Action) {
        (Commit::doing(Action::Seal, deadline, None), Action::Seal)
    }

    /// A transaction that is given up before its commit began (a task is lost, an operator failed).
    pub fn give_up(cause: Cause, deadline: Duration) -> (Commit, Action) {
        let commit = Commit::doing(Action::Abort, deadline, Some(cause));
        (commit, Action::Abort)
    }

    fn doing(doing: Action, deadline: Duration, abort_cause: Option<Cause>) -> Commit {
        Commit {
            doing,
            deadline,
            retries: 0,
            abort_cause,
            replace_producer: false,
            end_was_sent: false,
        }
    }

    /// Takes the answer to the last action, and how long the commit has lasted by then.
    pub fn on(&mut self, fact: Fact, lasted: Duration) -> Next {
        match (self.doing, fact) {
            (Action::Seal, Fact::Done) => self.go_in_time(Action::Flush, lasted),
            (Action::Flush, Fact::Done) => self.go_in_time(Action::Check, lasted),
            (Action::Check, Fact::Owned) => self.go_in_time(Action::SendOffsets, lasted),
            (Action::SendOffsets, Fact::Done) => self.go_in_time(Action::EndTxn, lasted),
            (
                Action::EndTxn,
                Fact::Ended {
                    outcome: Outcome::Committed,
                    disturbed,
                    took,
                },
            ) => {
                self.replace_producer = disturbed || took > SLOW_END;
                self.go(Action::CheckAgain)
            }
            (
                Action::EndTxn,
                Fact::Ended {
                    outcome: Outcome::Unknown(why),
                    ..
                },
            ) => Next::Ended(Verdict::Unknown(why)),
            (Action::CheckAgain, Fact::NotOwned(breach)) => self.committed(Err(breach)),
            (Action::CheckAgain, Fact::Owned) => self.committed(Ok(())),
            (Action::CheckAgain, Fact::Failed(error)) => {
                let breach = Breach::NotAMember {
                    member_id: error.to_string(),
                    generation: -1,
                };
                self.committed(Err(breach))
            }
            // What goes on the wire with the offsets is checked once more.
            (Action::Check | Action::SendOffsets, Fact::NotOwned(breach)) => {
                self.abort(Cause::NotOwned(breach))
            }
            (Action::Abort, Fact::Failed(error)) if self.end_was_sent => {
                Next::Ended(Verdict::Unknown(error.to_string()))
            }
            (Action::Abort, Fact::Failed(_)) => self.aborted(true),
            (Action::Abort, _) => self.aborted(false),
            (_, Fact::Failed(error)) => self.failed(error, lasted),
            (doing, fact) => {
                debug_assert!(false, "{fact:?} is no answer to {doing:?}");
                Next::Ended(Verdict::Unknown(format!(
                    "{fact:?} is no answer to {doing:?}"
                )))
            }
        }
    }

    /// The next step towards the end, where there is time for it.
    fn go_in_time(&mut self, action: Action, lasted: Duration) -> Next {
        if lasted >= self.deadline {
            return self.overdue();
        }
        self.go(action)
    }

    /// A producer that was too slow is not asked to abort, which would take its time again: it is closed without waiting, and
    /// the registration of the next one of the same id aborts what is open.
    fn overdue(&mut self) -> Next {
        let during = self.doing;
        self.abort_cause = Some(Cause::Overdue { during });
        self.aborted(true)
    }

    fn go(&mut self, action: Action) -> Next {
        self.doing = action;
        self.retries = 0;
        self.end_was_sent |= action == Action::EndTxn;
        Next::Do(action)
    }

    fn committed(&self, owned: Result<(), Breach>) -> Next {
        Next::Ended(Verdict::Committed {
            replace_producer: self.replace_producer,
            owned,
        })
    }

    fn abort(&mut self, cause: Cause) -> Next {
        self.abort_cause = Some(cause);
        self.go(Action::Abort)
    }

    fn aborted(&mut self, replace_producer: bool) -> Next {
        let cause = self.abort_cause.take();
        let cause = cause.unwrap_or(Cause::plain("aborted".into(), Reaction::Abort));
        Next::Ended(Verdict::Aborted {
            cause,
            replace_producer,
        })
    }

    fn failed(&mut self, error: Error, lasted: Duration) -> Next {
        match (error.reaction(), self.doing) {
            // After EndTxn left us, an error that does not say "aborted" says nothing.
            (Reaction::Replace | Reaction::Retry, Action::EndTxn) => {
                Next::Ended(Verdict::Unknown(error.to_string()))
            }
            (Reaction::Retry, _) if lasted >= self.deadline => self.overdue(),
            // These wait by themselves: only the deadline ends them.
            (Reaction::Retry, Action::Flush | Action::SendOffsets) => Next::Do(self.doing),
            (Reaction::Retry, _) if self.retries < MAX_RETRIES => {
                self.retries += 1;
                Next::Do(self.doing)
            }
            // The end was never asked for: a new producer of the same id aborts what is open.
            (Reaction::Replace, _) => {
                self.abort_cause = Some(Cause::of(&error));
                self.aborted(true)
            }
            _ => self.abort(Cause::of(&error)),
        }
    }
}

/// Whether tasks commit together or, after two aborts in a row, one by one to find the one that cannot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Streak {
    aborts: u32,
}

impl Streak {
    pub fn committed(&mut self) {
        self.aborts = 0;
    }

    pub fn aborted(&mut self, cause: &Cause) {
        // A rebalance or a slow broker is no task's fault, and nothing is found out by committing one by one.
        if !matches!(cause, Cause::NotOwned(_) | Cause::Overdue { .. }) {
            self.aborts += 1;
        }
    }

    pub fn one_by_one(&self) -> bool {
        self.aborts >= 2
    }
}

#[cfg(test)]
mod tests;
