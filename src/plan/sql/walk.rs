//! From DataFusion's logical plan to the engine's: a projection over a filter, or over an aggregation.
//!
//! Invariant: column indices follow the schemas written in `plan::graph`; expressions below the aggregation are over
//! the input (with the window's columns behind it), those above over `grouped`.

use super::from::Tumble;
use super::group::{self, reads_window};
use super::lower::{Lowered, Target, lower_as, message};
use super::place::diagnostic;
use super::relation::{Relation, WINDOW_COLUMNS};
use super::sites::Sites;
use super::text::text;
use crate::expr::Expr;
use crate::plan::graph::{MapPlan, WindowPlan};
use crate::spec::NodeSpec;
use crate::spec::diagnostic::{Diagnostic, Span};
use arrow_schema::{Field, Schema};
use datafusion_common::{DFSchema, DFSchemaRef, DataFusionError};
use datafusion_expr::{Expr as Logical, LogicalPlan};
use std::sync::Arc;

pub(super) type Outcome<T> = std::result::Result<T, Vec<Diagnostic>>;

pub(super) fn refused(error: &DataFusionError, span: Span) -> Vec<Diagnostic> {
    vec![diagnostic("invalid-expression", span, message(error), "")]
}

fn unexpected(plan: &LogicalPlan, sites: &Sites) -> Vec<Diagnostic> {
    let name = plan.display().to_string();
    let name = name.split(':').next().unwrap_or_default().to_string();
    let help = "a node is SELECT … FROM … WHERE …, or that over TUMBLE with GROUP BY and HAVING";
    vec![diagnostic(
        "unsupported-plan",
        sites.whole,
        format!("the SQL needs {name}, which is not supported"),
        help,
    )]
}

/// The condition of a filter, and what is below it.
fn filter(plan: &LogicalPlan) -> (Option<&Logical>, &LogicalPlan) {
    match plan {
        LogicalPlan::Filter(filter) => (Some(&filter.predicate), &filter.input),
        other => (None, other),
    }
}

fn scan<'p>(plan: &'p LogicalPlan, sites: &Sites) -> Outcome<&'p DFSchemaRef> {
    match plan {
        LogicalPlan::TableScan(scan) => Ok(&scan.projected_schema),
        LogicalPlan::SubqueryAlias(alias) => {
            scan_below(&alias.input, sites).map(|()| &alias.schema)
        }
        other => Err(unexpected(other, sites)),
    }
}

fn scan_below(plan: &LogicalPlan, sites: &Sites) -> Outcome<()> {
    if matches!(plan, LogicalPlan::TableScan(_)) {
        Ok(())
    } else {
        Err(unexpected(plan, sites))
    }
}

/// How expressions are called in messages and fingerprints.
type Texts<'t> = &'t dyn Fn(&Logical) -> String;

fn condition(
    expr: Option<&Logical>,
    schema: &DFSchemaRef,
    texts: Texts<'_>,
    span: Span,
) -> Outcome<Option<Expr>> {
    expr.map(|expr| {
        lower_as(expr, texts(expr), schema, Target::Boolean)
            .map(|l| l.expr)
            .map_err(|error| refused(&error, span))
    })
    .transpose()
}

/// Lowers the SELECT list; every expression that fails is reported.
fn projection(
    exprs: &[Logical],
    names: &DFSchema,
    over: &DFSchemaRef,
    texts: Texts<'_>,
    sites: &Sites,
) -> Outcome<(Vec<Expr>, Arc<Schema>)> {
    let mut found = Vec::new();
    let mut lowered = Vec::new();
    let mut fields = Vec::new();
    for (index, expr) in exprs.iter().enumerate() {
        match lower_as(expr, texts(expr), over, Target::Column) {
            Ok(Lowered {
                expr,
                kind,
                nullable,
            }) => {
                lowered.push(expr);
                fields.push(Field::new(names.field(index).name(), kind, nullable));
            }
            Err(error) => found.extend(refused(&error, sites.item(index))),
        }
    }
    if found.is_empty() {
        Ok((lowered, Arc::new(Schema::new(fields))))
    } else {
        Err(found)
    }
}

/// Columns of the output that are one of `times`, unchanged.
fn lineage(projection: &[Expr], times: &[usize]) -> Vec<usize> {
    let passed = |expr: &Expr| {
        expr.as_column()
            .is_some_and(|column| times.contains(&column))
    };
    projection
        .iter()
        .enumerate()
        .filter(|(_, expr)| passed(expr))
        .map(|(index, _)| index)
        .collect()
}

/// `SELECT … FROM input WHERE …`, with the columns of its output that hold event time.
pub(super) fn map(
    plan: &LogicalPlan,
    input: &Relation,
    sites: &Sites,
) -> Outcome<(MapPlan, Vec<usize>)> {
    let LogicalPlan::Projection(select) = plan else {
        return Err(unexpected(plan, sites));
    };
    let (predicate, below) = filter(&select.input);
    let schema = scan(below, sites)?;
    let filter = condition(predicate, schema, &text, sites.filter);
    let selected = projection(&select.expr, &select.schema, schema, &text, sites);
    let (filter, (projection, schema)) = both(filter, selected)?;
    let times = lineage(&projection, &input.times);
    Ok((
        MapPlan {
            filter,
            projection,
            schema,
        },
        times,
    ))
}

fn both<A, B>(a: Outcome<A>, b: Outcome<B>) -> Outcome<(A, B)> {
    match (a, b) {
        (Ok(a), Ok(b)) => Ok((a, b)),
        (Err(mut a), Err(b)) => {
            a.extend(b);
            Err(a)
        }
        (Err(found), _) | (_, Err(found)) => Err(found),
    }
}

/// `SELECT … FROM TUMBLE(input, …) WHERE … GROUP BY … HAVING …`.
pub(super) fn window(
    plan: &LogicalPlan,
    spec: &NodeSpec,
    input: &Relation,
    tumble: &Tumble,
    sites: &Sites,
) -> Outcome<(WindowPlan, Vec<usize>)> {
    let LogicalPlan::Projection(select) = plan else {
        return Err(unexpected(plan, sites));
    };
    let (having, below) = filter(&select.input);
    let LogicalPlan::Aggregate(aggregate) = below else {
        return Err(unexpected(below, sites));
    };
    let (predicate, below) = filter(&aggregate.input);
    let over = scan(below, sites)?;
    let filter = condition(predicate, over, &text, sites.filter);
    let (filter, group) = both(filter, group::group(aggregate, over, sites))?;
    let texts = |expr: &Logical| group.text(expr);
    let having = condition(having, &group.schema, &texts, sites.having);
    let selected = projection(&select.expr, &select.schema, &group.schema, &texts, sites);
    let (having, (projection, output)) = both(having, selected)?;
    let reads_window = predicate.into_iter().chain(&group.reads).any(reads_window);
    let times = lineage(&projection, &[WINDOW_COLUMNS.len() - 1]);
    let plan = WindowPlan {
        node: spec.name.value.clone(),
        input: input.schema.clone(),
        reads_window,
        filter,
        time: tumble.time,
        window: tumble.window,
        keys: group.keys,
        key_types: group.key_types,
        aggregates: group.aggregates,
        grouped: Arc::new(group.fields),
        having,
        projection,
        output,
        late: spec.late,
    };
    Ok((plan, times))
}
