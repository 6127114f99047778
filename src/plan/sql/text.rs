//! Planned expressions as text: for error messages, `explain`, and fingerprints.
//!
//! Invariant: the text depends on the expression only, not on the version of DataFusion, for everything but rare
//! functions; equal texts over equal inputs mean equal values. It is not meant to be parsed again.

use datafusion_common::ScalarValue;
use datafusion_expr::expr::{AggregateFunction, Case, Like};
use datafusion_expr::{BinaryExpr, Expr, Operator};

/// The text of an expression as SQL, without qualifiers of columns.
pub(super) fn text(expr: &Expr) -> String {
    match expr {
        Expr::Alias(alias) => text(&alias.expr),
        Expr::Column(column) => column.name.clone(),
        Expr::Literal(value, _) => literal(value),
        Expr::BinaryExpr(binary) => binary_text(binary),
        Expr::Not(inner) => format!("NOT {}", operand(inner, Operator::Eq)),
        Expr::Negative(inner) => format!("-{}", operand(inner, Operator::Multiply)),
        Expr::IsNull(inner) => suffix(inner, "IS NULL"),
        Expr::IsNotNull(inner) => suffix(inner, "IS NOT NULL"),
        Expr::IsTrue(inner) => suffix(inner, "IS TRUE"),
        Expr::IsNotTrue(inner) => suffix(inner, "IS NOT TRUE"),
        Expr::IsFalse(inner) => suffix(inner, "IS FALSE"),
        Expr::IsNotFalse(inner) => suffix(inner, "IS NOT FALSE"),
        Expr::Between(b) => {
            let [expr, low, high] =
                [&b.expr, &b.low, &b.high].map(|side| operand(side, Operator::Plus));
            format!("{expr}{} BETWEEN {low} AND {high}", not(b.negated))
        }
        Expr::InList(l) => format!(
            "{}{} IN ({})",
            operand(&l.expr, Operator::Plus),
            not(l.negated),
            list(&l.list)
        ),
        Expr::Like(like) => like_text(
            like,
            if like.case_insensitive {
                "ILIKE"
            } else {
                "LIKE"
            },
        ),
        Expr::SimilarTo(like) => like_text(like, "SIMILAR TO"),
        Expr::Case(case) => case_text(case),
        Expr::Cast(cast) => format!("CAST({} AS {})", text(&cast.expr), cast.field.data_type()),
        Expr::TryCast(cast) => format!(
            "TRY_CAST({} AS {})",
            text(&cast.expr),
            cast.field.data_type()
        ),
        Expr::ScalarFunction(call) => format!("{}({})", call.name(), list(&call.args)),
        Expr::AggregateFunction(call) => aggregate_text(call),
        other => other.to_string(),
    }
}

fn not(negated: bool) -> &'static str {
    if negated { " NOT" } else { "" }
}

fn list(exprs: &[Expr]) -> String {
    exprs.iter().map(text).collect::<Vec<_>>().join(", ")
}

fn suffix(inner: &Expr, words: &str) -> String {
    format!("{} {words}", operand(inner, Operator::Eq))
}

/// The operand of an operator that binds like `op`, in parentheses where it needs them.
fn operand(expr: &Expr, op: Operator) -> String {
    match expr {
        Expr::BinaryExpr(inner) if inner.op.precedence() < op.precedence() => {
            format!("({})", text(expr))
        }
        Expr::Between(_) | Expr::InList(_) | Expr::Like(_) | Expr::Not(_) => {
            format!("({})", text(expr))
        }
        _ => text(expr),
    }
}

fn binary_text(binary: &BinaryExpr) -> String {
    let left = operand(&binary.left, binary.op);
    // `a - (b - c)`: the right side needs parentheses at the same precedence too.
    let right = match binary.right.as_ref() {
        Expr::BinaryExpr(inner) if inner.op.precedence() <= binary.op.precedence() => {
            format!("({})", text(&binary.right))
        }
        right => operand(right, binary.op),
    };
    format!("{left} {} {right}", binary.op)
}

fn like_text(like: &Like, word: &str) -> String {
    let escape = like
        .escape_char
        .map_or(String::new(), |c| format!(" ESCAPE '{c}'"));
    let pattern = text(&like.pattern);
    format!(
        "{}{} {word} {pattern}{escape}",
        operand(&like.expr, Operator::Plus),
        not(like.negated)
    )
}

fn case_text(case: &Case) -> String {
    let base = case
        .expr
        .as_ref()
        .map_or(String::new(), |base| format!(" {}", text(base)));
    let when: String = case
        .when_then_expr
        .iter()
        .map(|(when, then)| format!(" WHEN {} THEN {}", text(when), text(then)))
        .collect();
    let other = case
        .else_expr
        .as_ref()
        .map_or(String::new(), |e| format!(" ELSE {}", text(e)));
    format!("CASE{base}{when}{other} END")
}

fn aggregate_text(call: &AggregateFunction) -> String {
    let all_rows = call.func.name() == "count"
        && matches!(call.params.args.as_slice(), [] | [Expr::Literal(..)]);
    let args = if all_rows {
        "*".to_string()
    } else {
        list(&call.params.args)
    };
    let filter = call
        .params
        .filter
        .as_ref()
        .map_or(String::new(), |f| format!(" FILTER (WHERE {})", text(f)));
    format!("{}({args}){filter}", call.func.name())
}

fn literal(value: &ScalarValue) -> String {
    if value.is_null() {
        return "NULL".to_string();
    }
    match value {
        ScalarValue::Utf8(Some(t))
        | ScalarValue::LargeUtf8(Some(t))
        | ScalarValue::Utf8View(Some(t)) => {
            format!("'{}'", t.replace('\'', "''"))
        }
        // A double that is whole must not look like an integer.
        ScalarValue::Float64(Some(v)) => format!("{v:?}"),
        ScalarValue::Float32(Some(v)) => format!("{v:?}"),
        ScalarValue::IntervalMonthDayNano(Some(i)) => {
            format!(
                "INTERVAL '{} months {} days {} ns'",
                i.months, i.days, i.nanoseconds
            )
        }
        other => other.to_string(),
    }
}
