//! What the engine does next when something fails.
//!
//! Every module has its own error enum; what they share is the [`Reaction`]. An error inside the engine is
//! handled by its reaction and never by its text. At the binary's edge errors become `anyhow` and exit codes.
//! This file does not print or log.

use std::fmt;

/// What the engine does about an error. Ordered from mild to severe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reaction {
    /// The same call may simply be made again.
    Retry,
    /// The open transaction is aborted, operators go back to committed state, inputs are read again.
    Abort,
    /// The producer (or consumer) is unusable: make a new one and take its tasks over again.
    Replace,
    /// Local state of the task is doubtful: wipe it and restore from the changelog.
    Restore,
    /// The task cannot go on, with a cause the operator must see; the other tasks go on.
    Park,
    /// The process cannot go on.
    Stop,
}

impl fmt::Display for Reaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reaction::Retry => "trying again",
            Reaction::Abort => "aborting the transaction and reading its input again",
            Reaction::Replace => "replacing the client and taking its tasks over again",
            Reaction::Restore => "wiping the local state and restoring it from the changelog",
            Reaction::Park => "parking the task; the others go on",
            Reaction::Stop => "stopping",
        })
    }
}
