//! A scalar expression over a batch, with row-wise isolation of failures.
//!
//! Invariant: the value of a row does not depend on its neighbours; a row that fails is NULL in `values` and named
//! once in `errors`. Expressions are deterministic. This file plans nothing.

use arrow_array::{Array, ArrayRef, RecordBatch, new_null_array};
use arrow_schema::{ArrowError, DataType, Schema};
use arrow_select::concat::concat;
use datafusion_common::{DataFusionError, Result};
use datafusion_physical_expr::PhysicalExpr;
use datafusion_physical_expr::expressions::Column;
use std::fmt;
use std::sync::Arc;

/// After so many bad rows in a batch the rest is evaluated row by row instead of by halves.
const BISECTED_ROWS: usize = 8;

/// A planned expression. Cheap to clone, evaluated without planning or allocation of plans.
#[derive(Clone)]
pub struct Expr {
    inner: Arc<dyn PhysicalExpr>,
    /// Close to what the user wrote, for error texts and fingerprints.
    text: Arc<str>,
}

/// A row whose evaluation failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowError {
    pub row: u32,
    /// The expression and the cause.
    pub message: String,
}

/// One value per row; rows named in `errors` hold NULL.
pub struct Evaluated {
    pub values: ArrayRef,
    /// In the order of their rows.
    pub errors: Vec<RowError>,
}

impl Expr {
    pub(crate) fn new(inner: Arc<dyn PhysicalExpr>, text: impl Into<Arc<str>>) -> Self {
        Expr {
            inner,
            text: text.into(),
        }
    }

    /// The input column at `index`, unchanged. `name` serves texts only.
    pub fn column(index: usize, name: &str) -> Self {
        Expr::new(Arc::new(Column::new(name, index)), name)
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// The index of the input column, where the expression is nothing but that column.
    pub fn as_column(&self) -> Option<usize> {
        self.inner.downcast_ref::<Column>().map(Column::index)
    }

    /// The type of the values over rows of `input`.
    ///
    /// # Errors
    /// The text of what does not fit, where `input` is not the schema that the expression was planned for.
    pub fn data_type(&self, input: &Schema) -> Result<DataType, String> {
        self.inner
            .data_type(input)
            .map_err(|error| error.strip_backtrace())
    }

    /// Evaluates every row. A failing row costs about 2 log₂ n further evaluations, a batch full of them one per row.
    pub fn evaluate(&self, rows: &RecordBatch) -> Evaluated {
        match self.try_evaluate(rows) {
            Ok(values) => Evaluated {
                values,
                errors: vec![],
            },
            Err(_) => self.isolate(rows),
        }
    }

    fn try_evaluate(&self, rows: &RecordBatch) -> Result<ArrayRef> {
        self.inner.evaluate(rows)?.into_array(rows.num_rows())
    }

    /// Evaluates halves of what fails, down to single rows, and joins the pieces.
    fn isolate(&self, rows: &RecordBatch) -> Evaluated {
        if rows.num_rows() == 0 {
            return Evaluated {
                values: self.nulls(rows, 0),
                errors: vec![],
            };
        }
        let mut pieces: Vec<ArrayRef> = Vec::new();
        let mut errors: Vec<RowError> = Vec::new();
        // Ranges still to do, the next one last.
        let mut todo = vec![(0, rows.num_rows())];
        while let Some((start, len)) = todo.pop() {
            if len > 1 && errors.len() >= BISECTED_ROWS {
                todo.extend((start..start + len).rev().map(|row| (row, 1)));
                continue;
            }
            match self.try_evaluate(&rows.slice(start, len)) {
                Ok(values) => pieces.push(values),
                Err(_) if len > 1 => {
                    let half = len / 2;
                    todo.push((start + half, len - half));
                    todo.push((start, half));
                }
                Err(error) => {
                    let message = format!("{}: {}", self.text, cause(&error));
                    errors.push(RowError {
                        row: start as u32,
                        message,
                    });
                    pieces.push(self.nulls(rows, 1));
                }
            }
        }
        Evaluated {
            values: self.join(rows, &pieces),
            errors,
        }
    }

    fn nulls(&self, rows: &RecordBatch, count: usize) -> ArrayRef {
        let kind = self
            .inner
            .data_type(rows.schema_ref())
            .unwrap_or(DataType::Null);
        new_null_array(&kind, count)
    }

    fn join(&self, rows: &RecordBatch, pieces: &[ArrayRef]) -> ArrayRef {
        let arrays: Vec<&dyn Array> = pieces.iter().map(AsRef::as_ref).collect();
        // Pieces of one expression have one type; were it otherwise, no value would be better than a wrong one.
        concat(&arrays).unwrap_or_else(|_| self.nulls(rows, rows.num_rows()))
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What went wrong, in the words of a user.
fn cause(error: &DataFusionError) -> String {
    match error.find_root() {
        DataFusionError::ArrowError(arrow, _) => match arrow.as_ref() {
            ArrowError::DivideByZero => "division by zero".to_string(),
            ArrowError::ArithmeticOverflow(what) => {
                format!(
                    "overflow: {}",
                    what.trim_start_matches("Overflow happened on: ")
                )
            }
            ArrowError::CastError(what)
            | ArrowError::ParseError(what)
            | ArrowError::ComputeError(what)
            | ArrowError::InvalidArgumentError(what) => what.clone(),
            other => other.to_string(),
        },
        DataFusionError::Execution(what) => what.clone(),
        other => other.strip_backtrace(),
    }
}
