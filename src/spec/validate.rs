//! stub
use super::{TopologySpec, diagnostic::Diagnostic};
pub fn validate(_spec: &TopologySpec) -> Vec<Diagnostic> { unimplemented!() }
