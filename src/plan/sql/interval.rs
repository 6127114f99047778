//! `INTERVAL '15' SECOND` as milliseconds.
//!
//! Invariant: an accepted interval is exact in milliseconds and does not depend on a calendar; a day is 24 hours.

use datafusion_sql::sqlparser::ast::{Expr, Interval, UnaryOperator, Value};

/// Reads a literal interval.
///
/// # Errors
/// What is wrong, and what to write instead.
pub(super) fn milliseconds(expr: &Expr) -> Result<i64, (String, String)> {
    match expr {
        Expr::Interval(interval) => literal(interval),
        Expr::Nested(inner) => milliseconds(inner),
        Expr::UnaryOp {
            op: UnaryOperator::Minus,
            expr,
        } => Ok(-milliseconds(expr)?),
        other => Err((format!("`{other}` is not an interval"), example())),
    }
}

fn example() -> String {
    "write for example INTERVAL '15' SECOND".to_string()
}

fn literal(interval: &Interval) -> Result<i64, (String, String)> {
    if interval.last_field.is_some() {
        return Err((
            "an interval from one unit TO another is not supported".to_string(),
            example(),
        ));
    }
    let text = match interval.value.as_ref() {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::Number(text, _) => text.clone(),
            other => return Err((format!("`{other}` is not an interval's number"), example())),
        },
        other => {
            return Err((
                format!("an interval must be a literal, not `{other}`"),
                example(),
            ));
        }
    };
    match &interval.leading_field {
        Some(unit) => amount(text.trim(), &unit.to_string()),
        None => sum_of_parts(&text),
    }
}

/// `'1 minute 30 seconds'`.
fn sum_of_parts(text: &str) -> Result<i64, (String, String)> {
    let words: Vec<&str> = text.split_whitespace().collect();
    if words.is_empty() || words.len() % 2 == 1 {
        return Err((format!("'{text}' does not name its unit"), example()));
    }
    words.chunks_exact(2).try_fold(0i64, |sum, pair| {
        sum.checked_add(amount(pair[0], pair[1])?)
            .ok_or_else(|| too_large(text))
    })
}

fn amount(number: &str, unit: &str) -> Result<i64, (String, String)> {
    let lower = unit.to_lowercase();
    let factor: i64 = match lower.trim_end_matches('s') {
        "millisecond" => 1,
        "second" => 1_000,
        "minute" => 60_000,
        "hour" => 3_600_000,
        "day" => 86_400_000,
        "week" => {
            let help = "write INTERVAL '7' DAY; weeks then begin on Thursdays like 1970-01-01, an offset of 4 days moves them to Mondays";
            return Err((
                "WEEK is not supported: it does not say on which day a week begins".to_string(),
                help.to_string(),
            ));
        }
        "month" | "quarter" | "year" => {
            let message = format!(
                "{} has no fixed length, and windows of the calendar are not supported yet",
                unit.to_uppercase()
            );
            return Err((
                message,
                "use MILLISECOND, SECOND, MINUTE, HOUR or DAY (24 hours)".to_string(),
            ));
        }
        _ => {
            let message = format!("unknown unit {}", unit.to_uppercase());
            return Err((
                message,
                "use MILLISECOND, SECOND, MINUTE, HOUR or DAY (24 hours)".to_string(),
            ));
        }
    };
    scaled(number, factor).ok_or_else(|| too_large(&format!("{number} {unit}")))
}

fn too_large(text: &str) -> (String, String) {
    (
        format!("'{text}' is not a whole number of milliseconds"),
        example(),
    )
}

/// `number × factor`, where the result is whole and fits.
fn scaled(number: &str, factor: i64) -> Option<i64> {
    let (negative, digits) = match number.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.len() + fraction.len() == 0
        || whole.len() > 18
        || fraction.len() > 9
        || !all_digits(whole)
        || !all_digits(fraction)
    {
        return None;
    }
    let unscaled: i128 = format!("0{whole}{fraction}").parse().ok()?;
    let divisor = 10i128.pow(fraction.len() as u32);
    let product = unscaled * i128::from(factor);
    let value = i64::try_from(product / divisor)
        .ok()
        .filter(|_| product % divisor == 0)?;
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use datafusion_sql::sqlparser::dialect::GenericDialect;
    use datafusion_sql::sqlparser::parser::Parser;

    fn read(sql: &str) -> Result<i64, String> {
        let expr = Parser::new(&GenericDialect {})
            .try_with_sql(sql)
            .unwrap()
            .parse_expr()
            .unwrap();
        milliseconds(&expr).map_err(|(message, _)| message)
    }

    #[test]
    fn fixed_units_are_milliseconds() {
        for (sql, ms) in [
            ("INTERVAL '15' SECOND", 15_000),
            ("INTERVAL '15' SECONDS", 15_000),
            ("INTERVAL '1' DAY", 86_400_000),
            ("INTERVAL '0.5' SECOND", 500),
            ("INTERVAL '250' MILLISECOND", 250),
            ("INTERVAL '1 minute 30 seconds'", 90_000),
            ("INTERVAL '-5' MINUTE", -300_000),
            ("- INTERVAL '5' MINUTE", -300_000),
        ] {
            assert_eq!(read(sql), Ok(ms), "{sql}");
        }
    }

    #[test]
    fn what_has_no_fixed_length_or_is_not_whole_is_refused() {
        for sql in [
            "INTERVAL '1' MONTH",
            "INTERVAL '1' WEEK",
            "INTERVAL '15'",
            "INTERVAL '0.0001' SECOND",
            "INTERVAL 'x' SECOND",
            "INTERVAL '99999999999999999' DAY",
            "15",
        ] {
            assert!(read(sql).is_err(), "{sql}");
        }
    }
}
