//! The aggregation of a windowed node: group keys, aggregate calls, and what they are called above it.
//!
//! Invariant: `fields` are `window_start`, `window_end`, `window_time`, keys, aggregates, in this order, with the types
//! that the operators produce; expressions above are planned over these types and not over DataFusion's.

use super::lower::{Lowered, Target, coerced_type, lower};
use super::relation::{WINDOW_COLUMNS, window_field};
use super::sites::Sites;
use super::text::text;
use super::walk::{Outcome, refused};
use crate::expr::Expr;
use crate::plan::graph::{AggregateCall, AggregateFunction};
use crate::spec::diagnostic::Span;
use arrow_schema::{DataType, Field, Schema};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{
    Column, DFSchema, DFSchemaRef, Result as DfResult, TableReference, plan_err,
};
use datafusion_expr::expr::AggregateFunction as Call;
use datafusion_expr::{Aggregate, Expr as Logical};
use std::collections::HashMap;
use std::sync::Arc;

fn is_window_column(expr: &Logical) -> bool {
    matches!(expr, Logical::Column(column) if WINDOW_COLUMNS.contains(&column.name.as_str()))
}

/// Whether an expression over the input needs the window's columns.
pub(super) fn reads_window(expr: &Logical) -> bool {
    expr.column_refs()
        .iter()
        .any(|column: &&Column| WINDOW_COLUMNS.contains(&column.name.as_str()))
}

/// The aggregation itself.
pub(super) struct Group {
    pub keys: Vec<Expr>,
    pub key_types: Vec<DataType>,
    pub aggregates: Vec<AggregateCall>,
    pub fields: Schema,
    /// `fields` with the names by which DataFusion's expressions above the aggregation know them.
    pub schema: DFSchemaRef,
    /// Everything that is evaluated per row of the input.
    pub reads: Vec<Logical>,
}

impl Group {
    /// The text of an expression above the aggregation: with keys and aggregates as they are called in `fields`.
    pub(super) fn text(&self, expr: &Logical) -> String {
        let renamed = expr.clone().transform_up(|expr| {
            let name = match &expr {
                Logical::Column(column) => self.schema.maybe_index_of_column(column),
                _ => None,
            };
            Ok(match name {
                Some(index) => {
                    let column = Column::new_unqualified(self.fields.field(index).name());
                    Transformed::yes(Logical::Column(column))
                }
                None => Transformed::no(expr),
            })
        });
        renamed
            .data()
            .map_or_else(|_| text(expr), |renamed| text(&renamed))
    }
}

type Named = (Option<TableReference>, Arc<Field>);

/// Reads DataFusion's aggregation over rows of `over`.
pub(super) fn group(aggregate: &Aggregate, over: &DFSchemaRef, sites: &Sites) -> Outcome<Group> {
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
            Err(error) => found.extend(refused(&error, site(expr, sites))),
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

fn site(expr: &Logical, sites: &Sites) -> Span {
    match unaliased(expr) {
        Logical::AggregateFunction(call) => sites.call(expr, call.func.name()),
        _ => sites.whole,
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
