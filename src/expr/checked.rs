//! Arithmetic that fails instead of wrapping, and comparisons of doubles in which −0.0 = 0.0 and all NaN are one.
//!
//! Invariant: between type coercion and physical planning every `+ - * / %` that can fail is a [`Checked`] function,
//! so that DataFusion's simplifier neither folds constants with wrapping arithmetic nor removes a division by zero
//! (`a / a` is not 1). [`restore`] turns them back into operators. Divisions of doubles follow IEEE 754.

use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::{DataType, Field, Schema};
use datafusion_common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion_common::{DFSchema, Result, ScalarValue};
use datafusion_expr::expr::{Between, Case, InList, ScalarFunction};
use datafusion_expr::type_coercion::binary::BinaryTypeCoercer;
use datafusion_expr::{
    BinaryExpr, ColumnarValue, Expr, ExprSchemable, Operator, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion_physical_expr::expressions::{self, Column};
use datafusion_physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use std::sync::Arc;

/// `left op right` whose overflow is an error.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Checked {
    op: Operator,
    signature: Signature,
}

impl Checked {
    fn call(op: Operator, left: Expr, right: Expr) -> Expr {
        let function = Checked {
            op,
            signature: Signature::any(2, Volatility::Immutable),
        };
        Expr::ScalarFunction(ScalarFunction::new_udf(
            Arc::new(ScalarUDF::new_from_impl(function)),
            vec![left, right],
        ))
    }
}

impl ScalarUDFImpl for Checked {
    fn name(&self) -> &str {
        match self.op {
            Operator::Plus => "checked_add",
            Operator::Minus => "checked_subtract",
            Operator::Multiply => "checked_multiply",
            Operator::Divide => "checked_divide",
            _ => "checked_remainder",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        BinaryTypeCoercer::new(&types[0], &self.op, &types[1]).get_result_type()
    }

    /// Called for constants only: everything else is an operator again by then.
    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let arrays = args
            .args
            .iter()
            .map(|arg| arg.to_array(rows))
            .collect::<Result<Vec<ArrayRef>>>()?;
        let fields: Vec<Field> = ["left", "right"]
            .iter()
            .zip(&arrays)
            .map(|(name, array)| Field::new(*name, array.data_type().clone(), true))
            .collect();
        let batch = RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays)?;
        operator(
            Arc::new(Column::new("left", 0)),
            self.op,
            Arc::new(Column::new("right", 1)),
        )
        .evaluate(&batch)
    }
}

fn operator(
    left: Arc<dyn PhysicalExpr>,
    op: Operator,
    right: Arc<dyn PhysicalExpr>,
) -> Arc<dyn PhysicalExpr> {
    Arc::new(expressions::BinaryExpr::new(left, op, right).with_fail_on_overflow(true))
}

/// One bit pattern for equal doubles: −0.0 becomes 0.0 and every NaN the same NaN, which is above all numbers.
#[derive(Debug, PartialEq, Eq, Hash)]
struct CanonicalDouble {
    signature: Signature,
}

fn canonical_f64(value: f64) -> f64 {
    if value.is_nan() {
        f64::NAN
    } else {
        value + 0.0
    }
}

fn canonical_f32(value: f32) -> f32 {
    if value.is_nan() {
        f32::NAN
    } else {
        value + 0.0
    }
}

impl ScalarUDFImpl for CanonicalDouble {
    fn name(&self) -> &str {
        "canonical_double"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        Ok(types[0].clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let scalar = matches!(args.args[0], ColumnarValue::Scalar(_));
        let array = args.args[0].to_array(if scalar { 1 } else { args.number_rows })?;
        let array: ArrayRef = match array.data_type() {
            DataType::Float64 => Arc::new(
                array
                    .as_primitive::<Float64Type>()
                    .unary::<_, Float64Type>(canonical_f64),
            ),
            DataType::Float32 => Arc::new(
                array
                    .as_primitive::<Float32Type>()
                    .unary::<_, Float32Type>(canonical_f32),
            ),
            _ => array,
        };
        if scalar {
            ScalarValue::try_from_array(&array, 0).map(ColumnarValue::Scalar)
        } else {
            Ok(ColumnarValue::Array(array))
        }
    }
}

/// Makes arithmetic checked and comparisons of doubles canonical. `expr` is coerced already.
pub(crate) fn rewrite(expr: Expr, schema: &DFSchema) -> Result<Expr> {
    expr.transform_up(|expr| {
        Ok(match expr {
            Expr::BinaryExpr(binary) => rewrite_binary(binary, schema)?,
            Expr::Negative(inner) => rewrite_negative(inner, schema)?,
            Expr::Between(b) if is_double(&b.expr, schema)? => {
                let [expr, low, high] = [b.expr, b.low, b.high].map(|e| Box::new(canonical(*e)));
                Transformed::yes(Expr::Between(Between {
                    expr,
                    negated: b.negated,
                    low,
                    high,
                }))
            }
            Expr::InList(l) if is_double(&l.expr, schema)? => {
                let list = l.list.into_iter().map(canonical).collect();
                Transformed::yes(Expr::InList(InList::new(
                    Box::new(canonical(*l.expr)),
                    list,
                    l.negated,
                )))
            }
            Expr::Case(case) => rewrite_case(case, schema)?,
            Expr::ScalarFunction(f) if compares(f.name()) && any_double(&f.args, schema)? => {
                let args = f.args.into_iter().map(canonical).collect();
                Transformed::yes(Expr::ScalarFunction(ScalarFunction::new_udf(f.func, args)))
            }
            other => Transformed::no(other),
        })
    })
    .data()
}

/// Functions that compare their arguments with one another.
fn compares(function: &str) -> bool {
    matches!(function, "nullif" | "greatest" | "least")
}

fn rewrite_binary(binary: BinaryExpr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    use Operator::*;
    let double = is_double(&binary.left, schema)?;
    let BinaryExpr { left, op, right } = binary;
    Ok(match op {
        Plus | Minus | Multiply | Divide | Modulo if !double => {
            Transformed::yes(Checked::call(op, *left, *right))
        }
        Eq | NotEq | Lt | LtEq | Gt | GtEq | IsDistinctFrom | IsNotDistinctFrom if double => {
            let [left, right] = [left, right].map(|side| Box::new(canonical(*side)));
            Transformed::yes(Expr::BinaryExpr(BinaryExpr { left, op, right }))
        }
        _ => Transformed::no(Expr::BinaryExpr(BinaryExpr { left, op, right })),
    })
}

/// `-x` of an integer as `0 - x`: the smallest integer has no opposite.
fn rewrite_negative(inner: Box<Expr>, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let kind = inner.get_type(schema)?;
    if !kind.is_signed_integer() {
        return Ok(Transformed::no(Expr::Negative(inner)));
    }
    let zero = Expr::Literal(ScalarValue::new_zero(&kind)?, None);
    Ok(Transformed::yes(Checked::call(
        Operator::Minus,
        zero,
        *inner,
    )))
}

fn rewrite_case(case: Case, schema: &DFSchema) -> Result<Transformed<Expr>> {
    match case.expr {
        Some(base) if is_double(&base, schema)? => {
            let when = case
                .when_then_expr
                .into_iter()
                .map(|(when, then)| (Box::new(canonical(*when)), then))
                .collect();
            Ok(Transformed::yes(Expr::Case(Case::new(
                Some(Box::new(canonical(*base))),
                when,
                case.else_expr,
            ))))
        }
        _ => Ok(Transformed::no(Expr::Case(case))),
    }
}

fn is_double(expr: &Expr, schema: &DFSchema) -> Result<bool> {
    Ok(matches!(
        expr.get_type(schema)?,
        DataType::Float64 | DataType::Float32
    ))
}

fn any_double(args: &[Expr], schema: &DFSchema) -> Result<bool> {
    args.iter()
        .try_fold(false, |any, arg| Ok(any || is_double(arg, schema)?))
}

fn canonical(expr: Expr) -> Expr {
    if let Expr::Literal(ScalarValue::Float64(Some(value)), metadata) = expr {
        return Expr::Literal(ScalarValue::Float64(Some(canonical_f64(value))), metadata);
    }
    let function = CanonicalDouble {
        signature: Signature::any(1, Volatility::Immutable),
    };
    Expr::ScalarFunction(ScalarFunction::new_udf(
        Arc::new(ScalarUDF::new_from_impl(function)),
        vec![expr],
    ))
}

/// Turns the checked functions of a physical expression into operators that fail on overflow.
pub(crate) fn restore(expr: Arc<dyn PhysicalExpr>) -> Result<Arc<dyn PhysicalExpr>> {
    expr.transform_up(|expr| {
        let checked =
            ScalarFunctionExpr::try_downcast_func::<Checked>(expr.as_ref()).and_then(|call| {
                let function = call.fun().inner().downcast_ref::<Checked>()?;
                Some(operator(
                    call.args()[0].clone(),
                    function.op,
                    call.args()[1].clone(),
                ))
            });
        Ok(checked.map_or_else(|| Transformed::no(expr.clone()), Transformed::yes))
    })
    .data()
}
