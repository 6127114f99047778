//! Errors of DataFusion's planner: found again in the part of the SELECT that causes them, and said in our words.
//!
//! Invariant: it runs only after planning has failed; its answer changes a diagnostic and never a plan.

use super::catalog::Catalog;
use super::from::From;
use super::lower::{coerced_type, message};
use super::node::group_exprs;
use super::place::{Place, diagnostic};
use crate::spec::diagnostic::{Diagnostic, Span};
use arrow_schema::DataType;
use datafusion_common::{DFSchema, DataFusionError};
use datafusion_sql::planner::{PlannerContext, SqlToRel};
use datafusion_sql::sqlparser::ast::{Expr, Select, SelectItem};
use datafusion_sql::sqlparser::tokenizer::{Location, Span as SqlSpan};
use std::sync::Arc;

/// What is wrong with a SELECT that could not be planned.
pub(super) fn explain(
    error: &DataFusionError,
    planner: &SqlToRel<'_, Catalog>,
    select: &Select,
    from: &From<'_>,
    catalog: &Catalog,
    place: &Place<'_>,
) -> Diagnostic {
    let text = message(error);
    if text.contains("must be in GROUP BY") || text.contains("must appear in the GROUP BY") {
        let span = named(error, place).unwrap_or_else(|| place.word("SELECT"));
        let what = "a column in SELECT or HAVING must be in GROUP BY or inside an aggregate";
        let help = "add it to GROUP BY, or write for example max(…)";
        return diagnostic("not-grouped", span, what, help);
    }
    if let Ok(schema) = DFSchema::try_from_qualified_schema(from.called.as_str(), &catalog.schema) {
        let schema = Arc::new(schema);
        for (expr, condition) in parts(select) {
            let mut context = PlannerContext::new();
            let planned = planner.sql_to_expr(expr.clone(), &schema, &mut context);
            match planned.and_then(|planned| coerced_type(&planned, &schema)) {
                Err(cause) => {
                    let span = named(&cause, place).unwrap_or_else(|| place.of(expr));
                    return diagnostic("invalid-expression", span, message(&cause), "");
                }
                Ok(kind) if condition && kind != DataType::Boolean => {
                    let what = format!("`{expr}` is {kind}, not a condition");
                    return diagnostic(
                        "invalid-expression",
                        place.of(expr),
                        what,
                        "compare it with something",
                    );
                }
                Ok(_) => {}
            }
        }
    }
    let span = named(error, place).unwrap_or_else(|| place.word("SELECT"));
    diagnostic("invalid-expression", span, text, "")
}

/// The expressions of a SELECT, and whether each is a condition.
fn parts(select: &Select) -> impl Iterator<Item = (&Expr, bool)> {
    let items = select.projection.iter().filter_map(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => {
            Some((expr, false))
        }
        _ => None,
    });
    let groups = group_exprs(select).iter().map(|expr| (expr, false));
    items
        .chain(groups)
        .chain(select.selection.iter().map(|expr| (expr, true)))
}

/// The position that DataFusion names.
fn named(error: &DataFusionError, place: &Place<'_>) -> Option<Span> {
    let span = error.diagnostic()?.span?;
    let at = |l: datafusion_common::Location| Location {
        line: l.line,
        column: l.column,
    };
    Some(place.at(SqlSpan {
        start: at(span.start),
        end: at(span.end),
    }))
}
