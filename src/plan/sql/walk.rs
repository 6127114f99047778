//! From DataFusion's logical plan to the engine's: a projection over a filter, or over an aggregation.
//!
//! Invariant: column indices follow the schemas written in `plan::graph`; expressions below the aggregation are over
//! the input (with the window's columns behind it), those above over `grouped`.

use super::from::Tumble;
use super::lower::{Lowered, Target, coerced_type, lower, message};
use super::node::group_exprs;
use super::place::{Place, diagnostic};
use super::relation::{Relation, WINDOW_COLUMNS, window_field};
use super::text::text;
use crate::expr::Expr;
use crate::plan::graph::{AggregateCall, AggregateFunction, MapPlan, WindowPlan};
use crate::spec::NodeSpec;
use crate::spec::diagnostic::{Diagnostic, Span};
use arrow_schema::{DataType, Field, Schema};
use datafusion_common::{
    Column, DFSchema, DFSchemaRef, DataFusionError, Result as DfResult, TableReference, plan_err,
};
use datafusion_expr::expr::AggregateFunction as Call;
use datafusion_expr::{Aggregate, Expr as Logical, LogicalPlan};
use datafusion_sql::sqlparser::ast::{Select, SelectItem};
use std::collections::HashMap;
use std::sync::Arc;

type Outcome<T> = std::result::Result<T, Vec<Diagnostic>>;

/// Where the parts of the SELECT stand.
pub(super) struct Sites {
    pub whole: Span,
    items: Vec<Span>,
    filter: Span,
    having: Span,
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
            groups: group_exprs(select)
                .iter()
                .map(|expr| (expr.to_string(), place.of(expr)))
                .collect(),
        }
    }

    fn item(&self, index: usize) -> Span {
        self.items.get(index).copied().unwrap_or(self.whole)
    }

    fn group(&self, expr: &Logical) -> Span {
        let wanted = text(expr);
        self.groups
            .iter()
            .find(|(text, _)| *text == wanted)
            .map_or(self.whole, |(_, span)| *span)
    }
}

fn refused(error: &DataFusionError, span: Span) -> Vec<Diagnostic> {
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

fn condition(expr: Option<&Logical>, schema: &DFSchemaRef, span: Span) -> Outcome<Option<Expr>> {
    expr.map(|expr| {
        lower(expr, schema, Target::Boolean)
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
    sites: &Sites,
) -> Outcome<(Vec<Expr>, Arc<Schema>)> {
    let mut found = Vec::new();
    let mut lowered = Vec::new();
    let mut fields = Vec::new();
    for (index, expr) in exprs.iter().enumerate() {
        match lower(expr, over, Target::Column) {
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
    let filter = condition(predicate, schema, sites.filter);
    let selected = projection(&select.expr, &select.schema, schema, sites);
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
    let filter = condition(predicate, over, sites.filter);
    let (filter, group) = both(filter, group(aggregate, over, sites))?;
    let having = condition(having, &group.schema, sites.having);
    let (having, (projection, output)) = both(
        having,
        projection(&select.expr, &select.schema, &group.schema, sites),
    )?;
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

fn is_window_column(expr: &Logical) -> bool {
    matches!(expr, Logical::Column(column) if WINDOW_COLUMNS.contains(&column.name.as_str()))
}

fn reads_window(expr: &Logical) -> bool {
    expr.column_refs()
        .iter()
        .any(|column: &&Column| WINDOW_COLUMNS.contains(&column.name.as_str()))
}

/// The aggregation itself.
struct Group {
    keys: Vec<Expr>,
    key_types: Vec<DataType>,
    aggregates: Vec<AggregateCall>,
    fields: Schema,
    /// `fields` with the names by which DataFusion's expressions above the aggregation know them.
    schema: DFSchemaRef,
    /// Everything that is evaluated per row of the input.
    reads: Vec<Logical>,
}

type Named = (Option<TableReference>, Arc<Field>);

fn group(aggregate: &Aggregate, over: &DFSchemaRef, sites: &Sites) -> Outcome<Group> {
    let names: Vec<Named> = aggregate
        .schema
        .iter()
        .map(|(qualifier, field)| (qualifier.cloned(), field.clone()))
        .collect();
    let (groups, calls) = names.split_at(aggregate.group_expr.len().min(names.len()));
    let mut found = Vec::new();
    let mut out = Parts::default();
    for name in WINDOW_COLUMNS {
        let qualifier = groups
            .iter()
            .find(|(_, field)| field.name() == name)
            .and_then(|(qualifier, _)| qualifier.clone());
        out.push(
            (qualifier, Arc::new(window_field(name))),
            window_field(name),
        );
    }
    for (expr, (qualifier, field)) in aggregate.group_expr.iter().zip(groups) {
        if is_window_column(expr) {
            continue;
        }
        match lower(expr, over, Target::Column) {
            Ok(key) => out.key(expr, key, qualifier.clone(), field),
            Err(error) => found.extend(refused(&error, sites.group(expr))),
        }
    }
    for (expr, (qualifier, field)) in aggregate.aggr_expr.iter().zip(calls) {
        match call(expr, over) {
            Ok(call) => out.call(expr, call, qualifier.clone(), field),
            Err(error) => found.extend(refused(&error, sites.whole)),
        }
    }
    match DFSchema::new_with_metadata(out.named, HashMap::new()) {
        _ if !found.is_empty() => Err(found),
        Err(error) => Err(refused(&error, sites.whole)),
        Ok(schema) => Ok(Group {
            keys: out.keys,
            key_types: out.key_types,
            aggregates: out.aggregates,
            fields: Schema::new(out.fields),
            schema: Arc::new(schema),
            reads: out.reads,
        }),
    }
}

#[derive(Default)]
struct Parts {
    keys: Vec<Expr>,
    key_types: Vec<DataType>,
    aggregates: Vec<AggregateCall>,
    fields: Vec<Field>,
    named: Vec<Named>,
    reads: Vec<Logical>,
}

impl Parts {
    fn push(&mut self, named: Named, field: Field) {
        self.named.push(named);
        self.fields.push(field);
    }

    fn key(
        &mut self,
        expr: &Logical,
        key: Lowered,
        qualifier: Option<TableReference>,
        field: &Field,
    ) {
        let named = Field::new(field.name(), key.kind.clone(), key.nullable);
        self.push(
            (qualifier, Arc::new(named)),
            Field::new(text(expr), key.kind.clone(), key.nullable),
        );
        self.keys.push(key.expr);
        self.key_types.push(key.kind);
        self.reads.push(expr.clone());
    }

    fn call(
        &mut self,
        expr: &Logical,
        call: AggregateCall,
        qualifier: Option<TableReference>,
        field: &Field,
    ) {
        let nullable = call.function != AggregateFunction::Count;
        let named = Field::new(field.name(), call.output_type.clone(), nullable);
        self.push(
            (qualifier, Arc::new(named)),
            Field::new(text(expr), call.output_type.clone(), nullable),
        );
        self.aggregates.push(call);
        self.reads.push(expr.clone());
    }
}

fn unaliased(expr: &Logical) -> &Logical {
    match expr {
        Logical::Alias(alias) => unaliased(&alias.expr),
        other => other,
    }
}

fn call(expr: &Logical, over: &DFSchemaRef) -> DfResult<AggregateCall> {
    let Logical::AggregateFunction(Call { func, params }) = unaliased(expr) else {
        return plan_err!("`{}` is not an aggregate", text(expr));
    };
    let function = match func.name() {
        "count" => AggregateFunction::Count,
        "sum" => AggregateFunction::Sum,
        "min" => AggregateFunction::Min,
        "max" => AggregateFunction::Max,
        "avg" => AggregateFunction::Avg,
        other => return plan_err!("the aggregate {other} is not supported"),
    };
    let filter = params
        .filter
        .as_ref()
        .map(|filter| lower(filter, over, Target::Boolean))
        .transpose()?
        .map(|l| l.expr);
    let argument = match params.args.as_slice() {
        // COUNT(*) and COUNT(1) count rows.
        [] => None,
        [Logical::Literal(value, _)]
            if function == AggregateFunction::Count && !value.is_null() =>
        {
            None
        }
        [one] => Some(one),
        _ => return plan_err!("{} takes one argument", func.name()),
    };
    let Some(argument) = argument else {
        return Ok(AggregateCall {
            function,
            argument: None,
            argument_type: None,
            filter,
            output_type: DataType::Int64,
        });
    };
    let own = coerced_type(argument, over)?;
    let (target, output) = types(function, &own, func.name(), argument)?;
    let lowered = lower(argument, over, target)?;
    Ok(AggregateCall {
        function,
        output_type: output.unwrap_or_else(|| lowered.kind.clone()),
        argument: Some(lowered.expr),
        argument_type: Some(lowered.kind),
        filter,
    })
}

/// What an aggregate's argument becomes, and its result (`None`: of the argument's type).
fn types(
    function: AggregateFunction,
    own: &DataType,
    name: &str,
    argument: &Logical,
) -> DfResult<(Target, Option<DataType>)> {
    let number = |kind| (Target::Exactly(kind), None);
    match (function, own) {
        (AggregateFunction::Count, _) => Ok((Target::Column, Some(DataType::Int64))),
        (AggregateFunction::Sum, kind) if kind.is_integer() => Ok(number(DataType::Int64)),
        (AggregateFunction::Sum, kind) if kind.is_floating() => Ok(number(DataType::Float64)),
        (AggregateFunction::Sum, DataType::Decimal128(precision, scale)) => {
            let wider = DataType::Decimal128(precision.saturating_add(10).min(38), *scale);
            Ok((Target::Column, Some(wider)))
        }
        (AggregateFunction::Avg, kind) if kind.is_integer() => {
            Ok((Target::Exactly(DataType::Int64), Some(DataType::Float64)))
        }
        (AggregateFunction::Avg, kind) if kind.is_floating() => Ok(number(DataType::Float64)),
        (AggregateFunction::Avg, DataType::Decimal128(..)) => plan_err!(
            "avg of a decimal is not supported yet: write avg(CAST({} AS DOUBLE)), or select sum and count",
            text(argument)
        ),
        (AggregateFunction::Min | AggregateFunction::Max, DataType::Boolean) => plan_err!(
            "{name} of a boolean is not supported: write {name}(CAST({} AS INT))",
            text(argument)
        ),
        (AggregateFunction::Min | AggregateFunction::Max, _) => Ok((Target::Column, None)),
        _ => plan_err!("{name} needs a number, and `{}` is {own}", text(argument)),
    }
}
