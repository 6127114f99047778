//! From the nodes' SQL to sub-topologies: every node planned over its input, and put where its rows live.
//!
//! Invariant: all diagnostics of all nodes and sinks are returned at once; a node whose input failed says nothing.
//! Planning recurses as deep as expressions nest, so it runs on a thread with a stack for the deepest allowed.

mod assemble;
mod catalog;
mod fingerprint;
mod from;
mod group;
mod interval;
mod locate;
mod lower;
mod names;
mod node;
mod order;
mod parse;
mod place;
mod refuse;
mod relation;
mod sinks;
mod sites;
#[cfg(test)]
mod tests;
mod text;
mod walk;

use super::graph::Plan;
use crate::spec::TopologySpec;
use crate::spec::diagnostic::{Diagnostic, Span};
use assemble::Assembly;

/// Bytes of address space; only what is touched takes memory.
const STACK: usize = 512 << 20;

/// Plans a topology.
///
/// # Errors
/// Every diagnostic that the nodes' SQL and the sinks' columns give rise to, in the order of their positions.
pub fn plan(spec: &TopologySpec) -> Result<Plan, Vec<Diagnostic>> {
    let failed = |what: String| {
        let help = "this is a bug: please report the file".to_string();
        vec![Diagnostic {
            code: "planner-failed",
            span: Span {
                line: 1,
                column: 1,
                len: 1,
            },
            message: what,
            help: Some(help),
        }]
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("planner".to_string())
            .stack_size(STACK);
        match thread.spawn_scoped(scope, || plan_here(spec)) {
            Ok(planner) => planner
                .join()
                .unwrap_or_else(|_| Err(failed("the SQL planner panicked".to_string()))),
            Err(error) => Err(failed(format!("no thread for the SQL planner: {error}"))),
        }
    })
}

fn plan_here(spec: &TopologySpec) -> Result<Plan, Vec<Diagnostic>> {
    let mut assembly = Assembly::new(spec);
    let mut found = Vec::new();
    for node in order::order(spec, &mut found) {
        match node::plan(node, assembly.relations()) {
            Ok(Some(planned)) => assembly.add(node, planned),
            Ok(None) => {}
            Err(more) => found.extend(more),
        }
    }
    for sink in &spec.sinks {
        assembly.sink(sink, &mut found);
    }
    if found.is_empty() {
        return Ok(assembly.finish());
    }
    found.sort_by_key(|d| (d.span, d.code));
    found.dedup();
    Err(found)
}

/// What a file may contain, but hardly means: sources and nodes that nothing reads.
pub fn warnings(spec: &TopologySpec) -> Vec<Diagnostic> {
    order::unread(spec)
}
