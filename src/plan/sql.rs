//! stub
use super::graph::Plan;
use crate::spec::{TopologySpec, diagnostic::Diagnostic};
pub fn plan(_spec: &TopologySpec) -> Result<Plan, Vec<Diagnostic>> { unimplemented!() }
