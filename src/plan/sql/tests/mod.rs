//! What SQL becomes: refusals by code and place, plans by their parts, expressions by their values.

mod evaluation;
mod plans;
mod refusals;
