//! From what the user wrote to what will run. Pure: the same file gives the same plan.
//!
//! Invariant: every name in the plan comes from the file; a plan that is returned can be run. This layer opens no
//! connection and knows no partition counts but the configured number of shards.

pub mod graph;
pub mod sql;

use crate::spec::diagnostic::Diagnostic;
use crate::spec::TopologySpec;
use graph::Plan;

/// Turns a validated file into a plan, or returns every diagnostic that SQL and names give rise to.
pub fn plan(spec: &TopologySpec) -> Result<Plan, Vec<Diagnostic>> {
    sql::plan(spec)
}
