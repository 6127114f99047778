//! A scalar expression over a batch, with row-wise isolation of failures.

use arrow_array::{ArrayRef, RecordBatch};
use datafusion_physical_expr::PhysicalExpr;
use std::sync::Arc;

/// A planned expression. Cheap to clone, evaluated without planning or allocation of plans.
#[derive(Clone)]
pub struct Expr {
    inner: Arc<dyn PhysicalExpr>,
    /// As the user wrote it (or DataFusion prints it), for error texts.
    text: Arc<str>,
}

/// A row whose evaluation failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    pub row: u32,
    pub message: String,
}

/// One value per row; rows named in `errors` hold NULL.
pub struct Evaluated {
    pub values: ArrayRef,
    pub errors: Vec<RowError>,
}

impl Expr {
    pub(crate) fn new(inner: Arc<dyn PhysicalExpr>, text: impl Into<Arc<str>>) -> Self {
        Expr { inner, text: text.into() }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The index of the input column, where the expression is nothing but that column.
    pub fn as_column(&self) -> Option<usize> {
        unimplemented!()
    }

    pub fn evaluate(&self, rows: &RecordBatch) -> Evaluated {
        let _ = (&self.inner, rows);
        unimplemented!()
    }
}
