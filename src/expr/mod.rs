//! SQL expressions over rows: DataFusion behind our own types.
//!
//! Invariant: a row whose evaluation fails is reported by its index and leaves its neighbours alone; integer
//! arithmetic is checked. DataFusion is named in this folder and in `plan/sql` only. Nothing here is persisted.

pub(crate) mod checked;
#[cfg(test)]
pub(crate) mod fixtures;
mod scalar;

pub use scalar::{Evaluated, Expr, RowError};
