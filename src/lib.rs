//! Millstream: a Kafka-native stream processor with exactly-once sinks.
//!
//! The tour, in the order of dependency; a layer imports only from those above it.
//! 1. [`error`], [`clock`], [`fetch`], [`batch`]: reactions, time, records, rows; [`allocator`].
//! 2. [`spec`]: the topology file; [`metrics`]: what is counted.
//! 3. [`expr`], [`state`], [`broker`], [`format`]: the edges, each around one library.
//! 4. [`plan`]: from the file to sub-topologies. 5. [`operator`]: the algorithms.
//! 6. [`protocol`]: commit, takeover and ownership as pure state machines.
//! 7. [`runtime`]: tasks, worker threads, the process. 8. [`http`]. 9. [`cli`].

pub mod allocator;
pub mod batch;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod error;
pub mod expr;
pub mod fetch;
pub mod format;
pub mod http;
pub mod metrics;
pub mod operator;
pub mod plan;
pub mod protocol;
pub mod runtime;
pub mod settings;
pub mod spec;
pub mod state;
#[cfg(test)]
mod tidy;
pub mod time;
