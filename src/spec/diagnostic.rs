//! One finding about a topology file: code, position, message, help; as text for people and JSON for tools.
//!
//! Invariant: every error that a file can cause is a `Diagnostic` with a code and a position. This file finds nothing.

/// A place in the file; both count from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span {
    pub line: usize,
    pub column: usize,
    /// Characters to mark.
    pub len: usize,
}

/// One error in a topology file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable, for search: `unknown-key`, `unknown-column`, `unsupported-join`, …
    pub code: &'static str,
    pub span: Span,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}
