//! Sinks: the rows they take, their key columns, and the time they are stamped with.
//!
//! Invariant: key columns exist and have types whose values compare exactly. What sinks write is `format`'s business.

use super::place::{diagnostic, suggest};
use super::relation::{Relation, Relations};
use crate::plan::graph::SinkPlan;
use crate::spec::diagnostic::Diagnostic;
use crate::spec::{SinkSpec, SinkTimestamp};
use arrow_schema::DataType;

/// Plans a sink over the relation that it reads; `None` where that could not be planned.
pub(super) fn plan<'r>(
    spec: &SinkSpec,
    relations: &'r Relations,
    found: &mut Vec<Diagnostic>,
) -> Option<(&'r Relation, SinkPlan)> {
    let name = &spec.from.value;
    let Some(known) = relations.get(name) else {
        let help = suggest(name, relations.names(), "there are");
        found.push(diagnostic(
            "unknown-input",
            spec.from.span,
            format!("no source or node is called `{name}`"),
            help,
        ));
        return None;
    };
    let relation = known?;
    let before = found.len();
    let key = key(spec, relation, found);
    if spec.timestamp == SinkTimestamp::EventTime && relation.times.is_empty() {
        let message = format!("`timestamp: event_time`, but rows of `{name}` have no event time");
        found.push(diagnostic(
            "sink-without-time",
            spec.from.span,
            message,
            relation.without_time(),
        ));
    }
    if found.len() > before {
        return None;
    }
    let time = relation.times.first().copied();
    Some((
        relation,
        SinkPlan {
            spec: spec.clone(),
            schema: relation.schema.clone(),
            key,
            time,
        },
    ))
}

fn key(spec: &SinkSpec, relation: &Relation, found: &mut Vec<Diagnostic>) -> Vec<usize> {
    let mut indices = Vec::new();
    for column in &spec.key {
        let name = &column.value;
        let Some(index) = relation.columns().position(|own| own == name) else {
            let message = format!("`{}` has no column `{name}`", relation.name);
            let help = suggest(name, relation.columns(), "the columns are");
            found.push(diagnostic("unknown-column", column.span, message, help));
            continue;
        };
        if indices.contains(&index) {
            found.push(diagnostic(
                "duplicate-key-column",
                column.span,
                format!("`{name}` is in the key twice"),
                "name it once",
            ));
        } else if matches!(relation.schema.field(index).data_type(), DataType::Float64) {
            let help = "a double is no key: CAST it to a decimal, an integer or text in the node";
            found.push(diagnostic(
                "key-type",
                column.span,
                format!("the key column `{name}` is a double"),
                help,
            ));
        }
        indices.push(index);
    }
    indices
}
