//! What can go wrong while a task works, and what the worker does about it.

use crate::broker;
use crate::error::Reaction;
use crate::protocol::replay::Fault;
use crate::protocol::takeover::Refusal;
use crate::state;

/// A failed step of a task.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    #[error(transparent)]
    Broker(#[from] broker::Error),
    #[error(transparent)]
    State(#[from] state::Error),
    /// The changelog does not pass the test of a replay.
    #[error("the changelog is not this task's state: {0}")]
    Replay(#[from] Fault),
    /// What the changelog holds is not enough to go on.
    #[error("{0}")]
    Lost(String),
    /// The log is sound, but not for this program or this topology.
    #[error("{0}")]
    Refused(Refusal),
    /// A record of an internal topic is not what the engine wrote.
    #[error("{topic}/{partition} offset {offset}: {message}")]
    Internal {
        topic: String,
        partition: i32,
        offset: i64,
        message: String,
    },
}

impl TaskError {
    pub fn reaction(&self) -> Reaction {
        match self {
            TaskError::Broker(error) => error.reaction(),
            TaskError::State(state::Error::Damaged { .. }) => Reaction::Restore,
            TaskError::Replay(Fault::OtherStore) => Reaction::Restore,
            TaskError::State(_)
            | TaskError::Replay(_)
            | TaskError::Lost(_)
            | TaskError::Refused(_)
            | TaskError::Internal { .. } => Reaction::Park,
        }
    }
}

pub type Result<T, E = TaskError> = std::result::Result<T, E>;
