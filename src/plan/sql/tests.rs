//! Outcomes of planning.
