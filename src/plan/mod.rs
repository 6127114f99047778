//! From what the user wrote to what will run. Pure: the same file gives the same plan.
//!
//! Invariant: every name in the plan comes from the file; a plan that is returned can be run. This layer opens no
//! connection and knows no partition counts but the configured number of shards.

pub mod explain;
#[cfg(test)]
mod fixtures;
pub mod graph;
pub mod sql;
pub mod topics;

use crate::spec::TopologySpec;
use crate::spec::diagnostic::Diagnostic;
use graph::Plan;

/// Turns a validated file into a plan, or returns every diagnostic that SQL and names give rise to.
pub fn plan(spec: &TopologySpec) -> Result<Plan, Vec<Diagnostic>> {
    sql::plan(spec)
}

/// Findings that do not keep a topology from running: sources and nodes that nothing reads.
pub fn warnings(spec: &TopologySpec) -> Vec<Diagnostic> {
    sql::warnings(spec)
}
