//! Where the parts of a SELECT stand, for errors that come up after its text was left behind.
//!
//! Invariant: every span lies in the node's SQL; where a part cannot be told from its like, the span is that of SELECT.

use super::names::aggregate;
use super::node::group_exprs;
use super::place::Place;
use super::text::text;
use crate::spec::diagnostic::Span;
use datafusion_expr::Expr as Logical;
use datafusion_sql::sqlparser::ast::{Expr, Select, SelectItem, visit_expressions};
use std::ops::ControlFlow;

/// Where the parts of the SELECT stand.
pub(super) struct Sites {
    pub whole: Span,
    items: Vec<Span>,
    pub filter: Span,
    pub having: Span,
    /// Calls of aggregates: the call as it is written, the function's name, and where that stands.
    calls: Vec<(String, String, Span)>,
    /// Group expressions by their text.
    groups: Vec<(String, Span)>,
}

impl Sites {
    pub(super) fn new(select: &Select, place: &Place<'_>) -> Self {
        let whole = place.word("SELECT");
        let wildcard = |item: &SelectItem| {
            matches!(
                item,
                SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)
            )
        };
        let one_each = !select.projection.iter().any(wildcard);
        Sites {
            whole,
            items: if one_each {
                select
                    .projection
                    .iter()
                    .map(|item| place.of(item))
                    .collect()
            } else {
                vec![]
            },
            filter: select
                .selection
                .as_ref()
                .map_or(whole, |expr| place.of(expr)),
            having: select.having.as_ref().map_or(whole, |expr| place.of(expr)),
            calls: calls(select, place),
            groups: group_exprs(select)
                .iter()
                .map(|expr| (expr.to_string(), place.of(expr)))
                .collect(),
        }
    }

    pub(super) fn item(&self, index: usize) -> Span {
        self.items.get(index).copied().unwrap_or(self.whole)
    }

    pub(super) fn group(&self, expr: &Logical) -> Span {
        let wanted = text(expr);
        self.groups
            .iter()
            .find(|(text, _)| *text == wanted)
            .map_or(self.whole, |(_, span)| *span)
    }

    /// An aggregate call: the one that is written so, or else the first of its function.
    pub(super) fn call(&self, expr: &Logical, function: &str) -> Span {
        let wanted = text(expr);
        let exact = self
            .calls
            .iter()
            .find(|(call, ..)| call.eq_ignore_ascii_case(&wanted));
        let like = || self.calls.iter().find(|(_, name, _)| name == function);
        exact.or_else(like).map_or(self.whole, |(.., span)| *span)
    }
}

fn calls(select: &Select, place: &Place<'_>) -> Vec<(String, String, Span)> {
    let mut calls = Vec::new();
    let items = select.projection.iter().filter_map(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    });
    for expr in items.chain(select.having.as_ref()) {
        let _ = visit_expressions(expr, |expr| {
            if let Expr::Function(function) = expr
                && let Some(name) = aggregate(function)
            {
                calls.push((expr.to_string(), name, place.of(&function.name)));
            }
            ControlFlow::<()>::Continue(())
        });
    }
    calls
}
