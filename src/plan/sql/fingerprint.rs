//! What state and positions mean, as a number: another number may not go on from them.
//!
//! Invariant: FNV-1a (64 bit) over length-prefixed parts of our own texts; never a library's hash, which may change
//! with its version. Names of nodes downstream, sinks, and policies that can be tuned (lateness, idleness) are left out.

use crate::expr::Expr;
use crate::plan::graph::{MapPlan, WindowPlan};
use crate::spec::SourceSpec;

const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

/// Collects the parts of one fingerprint.
pub(super) struct Fingerprint(u64);

impl Fingerprint {
    /// `kind` separates the fingerprints of different things.
    pub(super) fn new(kind: &str) -> Self {
        Fingerprint(OFFSET_BASIS).text(kind)
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(PRIME);
        }
        self
    }

    /// The length stands in front, so that "a" + "bc" is not "ab" + "c".
    pub(super) fn text(self, text: &str) -> Self {
        self.bytes(&(text.len() as u64).to_le_bytes())
            .bytes(text.as_bytes())
    }

    pub(super) fn number(self, number: u64) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    fn optional(self, expr: Option<&Expr>) -> Self {
        match expr {
            Some(expr) => self.number(1).text(expr.text()),
            None => self.number(0),
        }
    }

    fn exprs(self, exprs: &[Expr]) -> Self {
        exprs
            .iter()
            .fold(self.number(exprs.len() as u64), |f, expr| {
                f.text(expr.text())
            })
    }

    pub(super) fn finish(self) -> u64 {
        self.0
    }
}

/// A source's rows: topic, columns, event time.
pub(super) fn source(spec: &SourceSpec) -> u64 {
    let columns = Fingerprint::new("source")
        .text(&spec.topic.value)
        .number(spec.columns.len() as u64);
    let columns = spec.columns.iter().fold(columns, |f, column| {
        let path = column
            .path
            .iter()
            .fold(f.text(&column.name.value), |f, part| f.text(part));
        path.number(column.path.len() as u64)
            .text(&format!("{:?}", column.kind))
            .number(u64::from(column.required))
    });
    columns
        .text(
            spec.event_time
                .as_ref()
                .map_or("", |time| &time.column.value),
        )
        .finish()
}

/// A map node's rows over those of its input.
pub(super) fn map(input: u64, plan: &MapPlan) -> u64 {
    let schema = plan.schema.fields().iter();
    let names = schema.fold(Fingerprint::new("map").number(input), |f, field| {
        f.text(field.name()).text(&field.data_type().to_string())
    });
    names
        .optional(plan.filter.as_ref())
        .exprs(&plan.projection)
        .finish()
}

/// A windowed node's partials and state.
pub(super) fn fold(input: u64, plan: &WindowPlan, shards: i32) -> u64 {
    let start = Fingerprint::new("fold")
        .number(input)
        .text(&plan.node)
        .number(shards as u64);
    let start = start
        .text(&format!("{:?}", plan.window))
        .number(plan.time as u64)
        .optional(plan.filter.as_ref());
    let keys = plan
        .key_types
        .iter()
        .fold(start.exprs(&plan.keys), |f, kind| f.text(&kind.to_string()));
    let calls =
        plan.aggregates
            .iter()
            .fold(keys.number(plan.aggregates.len() as u64), |f, call| {
                let argument = call
                    .argument_type
                    .as_ref()
                    .map_or(String::new(), |kind| kind.to_string());
                f.text(&format!("{:?}", call.function))
                    .optional(call.argument.as_ref())
                    .text(&argument)
                    .optional(call.filter.as_ref())
                    .text(&call.output_type.to_string())
            });
    calls.finish()
}

/// The rows that a windowed node emits.
pub(super) fn window(fold: u64, plan: &WindowPlan) -> u64 {
    let names = plan
        .output
        .fields()
        .iter()
        .fold(Fingerprint::new("window").number(fold), |f, field| {
            f.text(field.name()).text(&field.data_type().to_string())
        });
    names
        .optional(plan.having.as_ref())
        .exprs(&plan.projection)
        .finish()
}
