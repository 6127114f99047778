//! Expressions for the tests of operators, built without SQL.
//!
//! Invariant: the same DataFusion expressions as the planner makes, so that failures look alike. Tests only.

use super::Expr;
use datafusion_common::ScalarValue;
use datafusion_expr::Operator;
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::{BinaryExpr, Column, Literal};
use std::sync::Arc;

fn column(index: usize) -> Arc<dyn PhysicalExpr> {
    Arc::new(Column::new("c", index))
}

fn binary(
    left: Arc<dyn PhysicalExpr>,
    operator: Operator,
    right: Arc<dyn PhysicalExpr>,
    text: String,
) -> Expr {
    Expr::new(Arc::new(BinaryExpr::new(left, operator, right)), text)
}

fn quotient(index: usize) -> Arc<dyn PhysicalExpr> {
    let hundred = Arc::new(Literal::new(ScalarValue::Int64(Some(100))));
    Arc::new(BinaryExpr::new(hundred, Operator::Divide, column(index)))
}

/// `100 / column`, which fails for 0.
pub(crate) fn hundred_over(index: usize) -> Expr {
    Expr::new(quotient(index), format!("100 / {index}"))
}

/// `column > value`, for a column of 64-bit integers.
pub(crate) fn greater(index: usize, value: i64) -> Expr {
    let value = Arc::new(Literal::new(ScalarValue::Int64(Some(value))));
    binary(
        column(index),
        Operator::Gt,
        value,
        format!("{index} > value"),
    )
}

/// `100 / column > value`: a condition that fails for 0.
pub(crate) fn hundred_over_is_greater(index: usize, value: i64) -> Expr {
    let value = Arc::new(Literal::new(ScalarValue::Int64(Some(value))));
    binary(
        quotient(index),
        Operator::Gt,
        value,
        format!("100 / {index} > value"),
    )
}
