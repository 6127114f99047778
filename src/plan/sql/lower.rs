//! From DataFusion's logical expressions to [`Expr`]: coerced, checked, simplified, made physical; once.
//!
//! Invariant: the values of a lowered expression have one of the engine's eight types, or exactly the one asked for.

use super::text::text;
use crate::expr::{Expr, checked};
use arrow_schema::{DataType, TimeUnit};
use datafusion_common::{DFSchema, DFSchemaRef, DataFusionError, Result, plan_err};
use datafusion_expr::execution_props::ExecutionProps;
use datafusion_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion_expr::simplify::SimplifyContext;
use datafusion_expr::{Cast, Expr as Logical, ExprSchemable};
use datafusion_optimizer::simplify_expressions::ExprSimplifier;
use datafusion_physical_expr::create_physical_expr;

/// What the values of an expression become.
pub(super) enum Target {
    /// The type of the engine that is nearest.
    Column,
    Boolean,
    /// Exactly this type, by a checked cast.
    Exactly(DataType),
}

pub(super) struct Lowered {
    pub expr: Expr,
    pub kind: DataType,
    pub nullable: bool,
}

/// The type of the engine in which values of a type of DataFusion's are kept: columns, keys and results have it.
pub(super) fn engine_type(kind: &DataType) -> Option<DataType> {
    use DataType::*;
    Some(match kind {
        Utf8 | LargeUtf8 | Utf8View => Utf8,
        Boolean => Boolean,
        Int8 | Int16 | Int32 | UInt8 | UInt16 => Int32,
        Int64 | UInt32 | UInt64 => Int64,
        Float16 | Float32 | Float64 => Float64,
        Decimal32(precision, scale)
        | Decimal64(precision, scale)
        | Decimal128(precision, scale) => Decimal128(*precision, *scale),
        Timestamp(_, _) => Timestamp(TimeUnit::Millisecond, None),
        Date32 | Date64 => Date32,
        Dictionary(_, values) => engine_type(values)?,
        _ => return None,
    })
}

/// The type of `expr` after coercion.
pub(super) fn coerced_type(expr: &Logical, schema: &DFSchemaRef) -> Result<DataType> {
    coerce(expr, schema)?.get_type(schema.as_ref())
}

fn coerce(expr: &Logical, schema: &DFSchemaRef) -> Result<Logical> {
    simplifier(schema).coerce(expr.clone(), schema)
}

fn simplifier(schema: &DFSchemaRef) -> ExprSimplifier {
    ExprSimplifier::new(
        SimplifyContext::builder()
            .with_schema(schema.clone())
            .build(),
    )
}

/// Lowers an expression over rows of `schema`.
///
/// # Errors
/// Types that do not fit together, and types that no column can have.
pub(super) fn lower(expr: &Logical, schema: &DFSchemaRef, target: Target) -> Result<Lowered> {
    lower_as(expr, text(expr), schema, target)
}

/// [`lower`], for an expression that is known to the user by another text.
pub(super) fn lower_as(
    expr: &Logical,
    text: String,
    schema: &DFSchemaRef,
    target: Target,
) -> Result<Lowered> {
    let coerced = coerce(expr, schema)?;
    let own = coerced.get_type(schema.as_ref())?;
    let kind = match target {
        Target::Column => column_type(&text, &own)?,
        Target::Boolean if matches!(own, DataType::Boolean | DataType::Null) => DataType::Boolean,
        Target::Boolean => return plan_err!("`{text}` is {own}, not a condition"),
        Target::Exactly(kind) => kind,
    };
    let cast = if kind == own {
        coerced
    } else {
        Logical::Cast(Cast::new(Box::new(coerced), kind.clone()))
    };
    let nullable = nullable(&cast, schema)?;
    let simplified = simplifier(schema).simplify(checked::rewrite(cast, schema)?)?;
    let props = ExecutionProps::new();
    let physical = create_physical_expr(
        &simplified,
        schema,
        &props,
        &PhysicalPlanningContext::default(),
    )?;
    Ok(Lowered {
        expr: Expr::new(checked::restore(physical)?, text),
        kind,
        nullable,
    })
}

fn column_type(text: &str, own: &DataType) -> Result<DataType> {
    match engine_type(own) {
        Some(kind) => Ok(kind),
        None if *own == DataType::Null => {
            plan_err!("NULL has no type here: write CAST(NULL AS VARCHAR), or another type")
        }
        None => plan_err!(
            "`{text}` is {own}, which no column can hold: CAST it to text, a number, a date or a timestamp"
        ),
    }
}

/// Only a column that is passed through may be called NOT NULL: a failed expression leaves NULL behind.
fn nullable(expr: &Logical, schema: &DFSchema) -> Result<bool> {
    let mut inner = expr;
    while let Logical::Alias(alias) = inner {
        inner = &alias.expr;
    }
    if matches!(inner, Logical::Column(_)) {
        inner.nullable(schema)
    } else {
        Ok(true)
    }
}

/// DataFusion's message in one line, without its prefixes and its advice to report a bug.
pub(super) fn message(error: &DataFusionError) -> String {
    let whole = match error.find_root() {
        DataFusionError::Plan(text)
        | DataFusionError::NotImplemented(text)
        | DataFusionError::Execution(text) => text.clone(),
        DataFusionError::SchemaError(text, _) => text.to_string(),
        other => other.strip_backtrace(),
    };
    let line = whole.split_whitespace().collect::<Vec<_>>().join(" ");
    let between = |from: &str, to: &str| Some(line.split_once(from)?.1.split_once(to)?.0);
    // What was looked for says more than the list of signatures that were tried.
    if let Some(call) = between("the given name and argument types '", "'") {
        return format!("there is no `{call}`: CAST the argument to a type that it takes");
    }
    if line.contains("failed to match any signature")
        && let (Some(name), Some(kind)) = (between("Function '", "'"), between("(DataType: ", ")"))
    {
        return format!("{name} does not take {kind}: CAST the argument to a type that it takes");
    }
    line.trim_start_matches("Error during planning: ")
        .trim_end_matches('.')
        .to_string()
}
