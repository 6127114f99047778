//! One node: its SQL read, judged, and planned over its input.
//!
//! Invariant: what cannot run is refused before DataFusion sees it, so that its own errors are about types only.

use super::catalog::Catalog;
use super::from::{self, From};
use super::names::{self, Clause, Names};
use super::place::{Place, diagnostic};
use super::relation::{Relation, Relations, WINDOW_COLUMNS, window_field};
use super::sites::Sites;
use super::walk;
use super::{locate, parse, refuse};
use crate::plan::graph::{MapPlan, WindowPlan};
use crate::spec::NodeSpec;
use crate::spec::diagnostic::Diagnostic;
use arrow_schema::{Field, Schema, SchemaRef};
use datafusion_common::config::ConfigOptions;
use datafusion_expr::LogicalPlan;
use datafusion_sql::planner::{ParserOptions, SqlToRel};
use datafusion_sql::sqlparser::ast::{
    Expr, GroupByExpr, Ident, Query, Select, SelectItem, SetExpr, Statement, TableFactor, Value,
};
use std::sync::Arc;

pub(super) enum NodePlan {
    Map(MapPlan),
    Window(Box<WindowPlan>),
}

pub(super) struct Planned {
    pub input: Relation,
    pub plan: NodePlan,
    /// Columns of the output that hold the event time of their row.
    pub times: Vec<usize>,
}

/// Plans one node. `Ok(None)`: its input could not be planned, and that was said there.
pub(super) fn plan(
    spec: &NodeSpec,
    relations: &Relations,
) -> Result<Option<Planned>, Vec<Diagnostic>> {
    let mut place = Place::new(spec.sql.span, &spec.sql.value);
    let query = parse::parse(&spec.sql.value, &mut place).map_err(|d| vec![d])?;
    let mut found = refuse::refuse(&query, &place);
    let SetExpr::Select(select) = query.body.as_ref() else {
        return Err(found);
    };
    let read = if query.with.is_none() {
        from::read(select, relations, &place)
    } else {
        Ok(None)
    };
    let from = read.unwrap_or_else(|more| {
        found.extend(more);
        None
    });
    if let Some(from) = &from {
        check(spec, select, from, &place, &mut found);
    }
    if !found.is_empty() {
        found.sort_by_key(|d| (d.span, d.code));
        found.dedup();
        return Err(found);
    }
    let Some(from) = from else { return Ok(None) };
    build(spec, query, from, &place).map(Some)
}

/// The input's columns as SQL sees them. A window's own columns hide those of the input that are called the same.
fn visible(from: &From<'_>) -> SchemaRef {
    if from.window.is_none() {
        return from.relation.schema.clone();
    }
    let own = from.relation.schema.fields().iter().map(|field| {
        let hidden = WINDOW_COLUMNS.contains(&field.name().as_str());
        if hidden {
            field
                .as_ref()
                .clone()
                .with_name(format!("{}.{}", from.relation.name, field.name()))
        } else {
            field.as_ref().clone()
        }
    });
    let fields: Vec<Field> = own.chain(WINDOW_COLUMNS.map(window_field)).collect();
    Arc::new(Schema::new(fields))
}

fn check(
    spec: &NodeSpec,
    select: &Select,
    from: &From<'_>,
    place: &Place<'_>,
    found: &mut Vec<Diagnostic>,
) {
    let names = Names {
        table: from.called.clone(),
        columns: visible(from)
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect(),
        aliases: select
            .projection
            .iter()
            .filter_map(|item| Some(output_name(item)?.value))
            .collect(),
        windowed: from.window.is_some(),
    };
    for item in &select.projection {
        if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
            names::check(expr, Clause::Select, &names, place, found);
        }
    }
    let mut clause = |expr: Option<&Expr>, clause| {
        if let Some(expr) = expr {
            names::check(expr, clause, &names, place, found);
        }
    };
    clause(select.selection.as_ref(), Clause::Where);
    group_exprs(select)
        .iter()
        .for_each(|expr| clause(Some(expr), Clause::GroupBy));
    clause(select.having.as_ref(), Clause::Having);
    check_outputs(select, place, found);
    if from.window.is_some() {
        check_window(select, &names, place, found)
    } else {
        check_unwindowed(select, from, place, found)
    }
    if let (None, Some(span)) = (&from.window, spec.late_span) {
        let help = "leave it out: without a window no row is late";
        found.push(diagnostic(
            "late-without-window",
            span,
            "`late` on a node without a window",
            help,
        ));
    }
}

/// The name of a column of the output, where it has one.
fn output_name(item: &SelectItem) -> Option<Ident> {
    match item {
        SelectItem::ExprWithAlias { alias, .. } => Some(alias.clone()),
        SelectItem::UnnamedExpr(Expr::Identifier(ident)) => Some(ident.clone()),
        SelectItem::UnnamedExpr(Expr::CompoundIdentifier(parts)) => parts.last().cloned(),
        _ => None,
    }
}

fn check_outputs(select: &Select, place: &Place<'_>, found: &mut Vec<Diagnostic>) {
    let mut seen: Vec<String> = Vec::new();
    for item in &select.projection {
        match (output_name(item), item) {
            (Some(name), _) if seen.contains(&name.value) => {
                let message = format!("two columns are called `{}`", name.value);
                found.push(diagnostic(
                    "duplicate-column",
                    place.at(name.span),
                    message,
                    "give one another name with AS",
                ));
            }
            (Some(name), _) => seen.push(name.value),
            (None, SelectItem::UnnamedExpr(expr)) => {
                let message = format!("`{expr}` has no name");
                found.push(diagnostic(
                    "missing-alias",
                    place.of(expr),
                    message,
                    format!("write {expr} AS name"),
                ));
            }
            _ => {}
        }
    }
}

fn aggregates(select: &Select) -> Option<Ident> {
    let items = select.projection.iter().filter_map(|item| match item {
        SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } => Some(expr),
        _ => None,
    });
    items
        .chain(select.having.as_ref())
        .find_map(names::first_aggregate)
}

pub(super) fn group_exprs(select: &Select) -> &[Expr] {
    match &select.group_by {
        GroupByExpr::Expressions(exprs, _) => exprs,
        GroupByExpr::All(_) => &[],
    }
}

fn check_unwindowed(
    select: &Select,
    from: &From<'_>,
    place: &Place<'_>,
    found: &mut Vec<Diagnostic>,
) {
    let span = match (
        group_exprs(select).first(),
        aggregates(select),
        &select.having,
    ) {
        (Some(_), _, _) => place.word("GROUP"),
        (None, Some(function), _) => place.at(function.span),
        (None, None, Some(_)) => place.word("HAVING"),
        (None, None, None) => return,
    };
    let time = from
        .relation
        .times
        .first()
        .map_or("time", |time| from.relation.schema.field(*time).name());
    let message = "an aggregate without a window is not supported yet: on a stream it would never be finished";
    let help = format!(
        "read FROM TUMBLE({}, {time}, INTERVAL '1' MINUTE) and GROUP BY window_start, window_end{}",
        from.relation.name,
        if from.relation.times.is_empty() {
            format!("; {}", from.relation.without_time())
        } else {
            String::new()
        },
    );
    found.push(diagnostic("unwindowed-aggregate", span, message, help));
}

fn check_window(select: &Select, names: &Names, place: &Place<'_>, found: &mut Vec<Diagnostic>) {
    for item in &select.projection {
        if matches!(
            item,
            SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..)
        ) {
            let help = "name the group columns and the aggregates";
            found.push(diagnostic(
                "wildcard-with-window",
                place.of(item),
                "`*` cannot be grouped",
                help,
            ));
        }
    }
    let by_window = group_exprs(select)
        .iter()
        .any(|expr| is_window_column(resolved(expr, select, names)) || refuse::several_sets(expr));
    if !by_window && matches!(select.group_by, GroupByExpr::Expressions(..)) {
        let span = place
            .find_word("GROUP")
            .unwrap_or_else(|| place.word("TUMBLE"));
        let message = "rows of TUMBLE must be grouped by their window";
        found.push(diagnostic(
            "window-not-grouped",
            span,
            message,
            "write GROUP BY window_start, window_end, …",
        ));
    }
}

/// What a group expression stands for: GROUP BY may name a column by its place or its alias in SELECT.
fn resolved<'s>(expr: &'s Expr, select: &'s Select, names: &Names) -> &'s Expr {
    let item = match expr {
        Expr::Value(value) => match &value.value {
            Value::Number(number, _) => number
                .parse::<usize>()
                .ok()
                .and_then(|n| select.projection.get(n.wrapping_sub(1))),
            _ => None,
        },
        Expr::Identifier(ident) if !names.columns.contains(&ident.value) => select
            .projection
            .iter()
            .find(|item| output_name(item).is_some_and(|name| name == *ident)),
        _ => None,
    };
    match item {
        Some(SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) => expr,
        _ => expr,
    }
}

fn is_window_column(expr: &Expr) -> bool {
    let ident = match expr {
        Expr::Identifier(ident) => Some(ident),
        Expr::CompoundIdentifier(parts) => parts.last(),
        _ => None,
    };
    ident.is_some_and(|ident| WINDOW_COLUMNS.contains(&ident.value.as_str()))
}

/// Replaces TUMBLE by a table, and groups by all three columns of the window: each of them determines the others.
fn rewrite(select: &mut Select, from: &From<'_>, names: &Names) {
    if let Some(table) = select.from.first_mut()
        && let TableFactor::Table { alias, .. } = &table.relation
    {
        table.relation = from::replacement(from.relation, alias.clone());
    }
    if from.window.is_none() {
        return;
    }
    let mut kept: Vec<Expr> = Vec::new();
    for expr in group_exprs(select) {
        let target = resolved(expr, select, names);
        if !is_window_column(target) && !kept.contains(target) {
            kept.push(target.clone());
        }
    }
    let window = WINDOW_COLUMNS.map(|name| Expr::Identifier(Ident::new(name)));
    select.group_by = GroupByExpr::Expressions(window.into_iter().chain(kept).collect(), vec![]);
}

fn build(
    spec: &NodeSpec,
    mut query: Box<Query>,
    from: From<'_>,
    place: &Place<'_>,
) -> Result<Planned, Vec<Diagnostic>> {
    let schema = visible(&from);
    let SetExpr::Select(select) = query.body.as_mut() else {
        return Err(vec![]);
    };
    let sites = Sites::new(select, place);
    let names = Names {
        table: from.called.clone(),
        columns: schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect(),
        aliases: vec![],
        windowed: from.window.is_some(),
    };
    let original = select.clone();
    rewrite(select, &from, &names);
    let catalog = Catalog {
        table: from.relation.name.clone(),
        schema,
        options: ConfigOptions::default(),
    };
    let options = ParserOptions::new()
        .with_enable_ident_normalization(false)
        .with_map_string_types_to_utf8view(false)
        .with_collect_spans(true);
    let planner = SqlToRel::new_with_options(&catalog, options);
    let logical: LogicalPlan = planner
        .sql_statement_to_plan(Statement::Query(query))
        .map_err(|error| {
            vec![locate::explain(
                &error, &planner, &original, &from, &catalog, place,
            )]
        })?;
    let (plan, times) = match &from.window {
        None => walk::map(&logical, from.relation, &sites)
            .map(|(plan, times)| (NodePlan::Map(plan), times))?,
        Some(tumble) => {
            let (plan, times) = walk::window(&logical, spec, from.relation, tumble, &sites)?;
            (NodePlan::Window(Box::new(plan)), times)
        }
    };
    Ok(Planned {
        input: from.relation.clone(),
        plan,
        times,
    })
}
