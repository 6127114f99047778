//! What an operator can ask a running process over HTTP; the only user of axum and tokio.
//!
//! Invariant: read-only. The server has its own thread and a runtime of its own: no request can hold a worker
//! thread up, and no slow worker can hold an answer up. It computes nothing: figures and status are handed in.

mod routes;
mod server;

pub use server::{Error, Server};

/// Answers the questions about the state of the process. Called on the server's thread; must not block.
pub trait StatusSource: Send + Sync {
    /// Tasks, phases, positions and facts, as shown at `/status`.
    fn status(&self) -> serde_json::Value;
    /// Whether every assigned task runs.
    ///
    /// # Errors
    /// The reason, for people: it names a refused or parked task.
    fn ready(&self) -> Result<(), String>;
    /// All metrics in the Prometheus text format; see [`crate::metrics::Metrics::render`].
    fn metrics(&self) -> String;
}
