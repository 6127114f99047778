//! Commit, ownership, takeover and replay as pure state machines: facts in, decisions out.
//!
//! Invariant: nothing here does I/O, reads a clock or starts a thread; the worker and the simulator run the same code.
//! The rules are those of the project's protocol page (ARCHITECTURE.md, "Protocol"); each odd-looking one closes a
//! schedule that loses or doubles data.

pub mod bounded;
pub mod commit;
pub mod facts;
pub mod ownership;
pub mod refresh;
pub mod replay;
pub mod takeover;

use std::fmt;
use std::sync::Arc;

/// One sub-topology x one partition: the unit of assignment, state and restore.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId {
    pub sub_topology: Arc<str>,
    pub partition: i32,
}

impl TaskId {
    pub fn new(sub_topology: impl Into<Arc<str>>, partition: i32) -> Self {
        TaskId {
            sub_topology: sub_topology.into(),
            partition,
        }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.sub_topology, self.partition)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
