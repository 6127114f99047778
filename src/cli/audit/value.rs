//! Values as the auditor sees them: exact numbers, doubles, text, times; and how they are compared.
//!
//! Invariant: this is written apart from the engine's decoder and encoder, on serde_json and chrono alone, so that a
//! mistake there is not repeated here.

use chrono::{DateTime, NaiveDate};
use serde_json::Value as Json;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

/// How far sums and averages of doubles may lie apart, relatively: they depend on the order of addition.
const TOLERANCE: f64 = 1e-9;

/// A double with one NaN and one zero, ordered.
#[derive(Debug, Clone, Copy)]
pub struct Double(f64);

impl Double {
    pub fn new(value: f64) -> Self {
        Double(if value.is_nan() {
            f64::NAN
        } else if value == 0.0 {
            0.0
        } else {
            value
        })
    }

    pub fn get(self) -> f64 {
        self.0
    }
}

impl PartialEq for Double {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Double {}

impl Hash for Double {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

impl PartialOrd for Double {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Double {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// `unscaled / 10^scale`, with the smallest scale that is exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Exact {
    unscaled: i128,
    scale: u32,
}

impl Exact {
    pub fn new(mut unscaled: i128, mut scale: u32) -> Self {
        while scale > 0 && unscaled % 10 == 0 {
            unscaled /= 10;
            scale -= 1;
        }
        Exact { unscaled, scale }
    }

    /// Reads a JSON number without rounding; `None` where it does not fit 38 digits.
    pub fn parse(text: &str) -> Option<Self> {
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        let unscaled: i128 = digits.parse().ok()?;
        let scale = i32::try_from(fraction.len()).ok()?.checked_sub(exponent)?;
        if unscaled == 0 {
            return Some(Exact::new(0, 0));
        }
        if scale >= 0 {
            return (scale <= 1000).then(|| Exact::new(unscaled, scale as u32));
        }
        Some(Exact::new(
            unscaled.checked_mul(10i128.checked_pow(scale.unsigned_abs())?)?,
            0,
        ))
    }

    pub fn as_f64(self) -> f64 {
        self.unscaled as f64 / 10f64.powi(self.scale as i32)
    }

    pub fn as_integer(self) -> Option<i128> {
        (self.scale == 0).then_some(self.unscaled)
    }

    pub fn scale(self) -> u32 {
        self.scale
    }

    /// Digits before the decimal point.
    pub fn whole_digits(self) -> u32 {
        let whole =
            self.unscaled.unsigned_abs() / 10u128.checked_pow(self.scale).unwrap_or(u128::MAX);
        if whole == 0 { 0 } else { whole.ilog10() + 1 }
    }

    /// `None` where the sum leaves 128 bits.
    pub fn checked_add(self, other: Exact) -> Option<Exact> {
        let scale = self.scale.max(other.scale);
        Some(Exact::new(
            self.at_scale(scale)?.checked_add(other.at_scale(scale)?)?,
            scale,
        ))
    }

    fn at_scale(self, scale: u32) -> Option<i128> {
        self.unscaled
            .checked_mul(10i128.checked_pow(scale - self.scale)?)
    }

    fn compare(self, other: Exact) -> Ordering {
        let scale = self.scale.max(other.scale);
        match (self.at_scale(scale), other.at_scale(scale)) {
            (Some(left), Some(right)) => left.cmp(&right),
            _ => self.as_f64().total_cmp(&other.as_f64()),
        }
    }
}

impl fmt::Display for Exact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scale == 0 {
            return write!(f, "{}", self.unscaled);
        }
        let digits = format!(
            "{:0>width$}",
            self.unscaled.unsigned_abs(),
            width = self.scale as usize + 1
        );
        let (whole, fraction) = digits.split_at(digits.len() - self.scale as usize);
        write!(
            f,
            "{}{whole}.{fraction}",
            if self.unscaled < 0 { "-" } else { "" }
        )
    }
}

/// One value. The derived order is for grouping only; SQL's order is [`Value::compare`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Value {
    Null,
    Bool(bool),
    Exact(Exact),
    Double(Double),
    Text(String),
    /// Microseconds since 1970.
    Time(i128),
    /// Days since 1970.
    Date(i64),
}

impl Value {
    pub fn integer(value: i128) -> Value {
        Value::Exact(Exact::new(value, 0))
    }

    pub fn time_ms(ms: i64) -> Value {
        Value::Time(i128::from(ms) * 1000)
    }

    /// SQL's comparison; `None` where a side is NULL or the types do not go together.
    pub fn compare(&self, other: &Value) -> Option<Ordering> {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Value::Exact(a), Value::Exact(b)) => Some(a.compare(*b)),
            (Value::Double(a), Value::Double(b)) => Some(a.cmp(b)),
            (Value::Exact(a), Value::Double(b)) => Some(Double::new(a.as_f64()).cmp(b)),
            (Value::Double(a), Value::Exact(b)) => Some(a.cmp(&Double::new(b.as_f64()))),
            (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
            (Value::Time(a), Value::Time(b)) => Some(a.cmp(b)),
            (Value::Date(a), Value::Date(b)) => Some(a.cmp(b)),
            _ => None,
        }
    }

    /// Whether an output value is the expected one; doubles may differ in their last digits.
    pub fn matches(&self, observed: &Value) -> bool {
        match (self, observed) {
            // JSON has no NaN and no infinity: they are written as null.
            (Value::Double(expected), Value::Null) => !expected.get().is_finite(),
            (Value::Double(expected), Value::Double(observed)) => {
                let (a, b) = (expected.get(), observed.get());
                a == b || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
            }
            _ => self == observed,
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("NULL"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Exact(value) => write!(f, "{value}"),
            Value::Double(value) => write!(f, "{}", value.get()),
            Value::Text(value) => f.write_str(value),
            Value::Time(us) => f.write_str(&show_time(*us)),
            Value::Date(days) => {
                match i32::try_from(*days)
                    .ok()
                    .and_then(NaiveDate::from_epoch_days)
                {
                    Some(date) => write!(f, "{date}"),
                    None => write!(f, "day {days}"),
                }
            }
        }
    }
}

/// Microseconds since 1970 as ISO 8601.
pub fn show_time(us: i128) -> String {
    match i64::try_from(us)
        .ok()
        .and_then(DateTime::from_timestamp_micros)
    {
        Some(time) => time.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true),
        None => format!("{us} us since 1970"),
    }
}

/// What an output column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ValueKind {
    Bool,
    Exact,
    Double,
    Text,
    Time,
    Date,
}

/// How a sink writes times and decimals.
#[derive(Debug, Clone, Copy, Default)]
pub struct OutputFormat {
    pub epoch_ms: bool,
    pub decimals_as_string: bool,
}

/// Reads a value of the output document as what its column holds.
///
/// # Errors
/// Another JSON type stands there; the text says which was expected.
pub fn read_output(kind: ValueKind, format: OutputFormat, json: &Json) -> Result<Value, String> {
    let value = match (kind, json) {
        (_, Json::Null) => Some(Value::Null),
        (ValueKind::Bool, Json::Bool(value)) => Some(Value::Bool(*value)),
        (ValueKind::Text, Json::String(text)) => Some(Value::Text(text.clone())),
        (ValueKind::Exact, Json::Number(number)) => Exact::parse(number.as_str()).map(Value::Exact),
        (ValueKind::Exact, Json::String(text)) if format.decimals_as_string => {
            Exact::parse(text).map(Value::Exact)
        }
        (ValueKind::Double, Json::Number(number)) => number
            .as_str()
            .parse()
            .ok()
            .map(|value| Value::Double(Double::new(value))),
        (ValueKind::Double, Json::String(text)) if format.decimals_as_string => text
            .parse()
            .ok()
            .map(|value| Value::Double(Double::new(value))),
        (ValueKind::Time, Json::Number(number)) if format.epoch_ms => {
            number.as_str().parse::<i64>().ok().map(Value::time_ms)
        }
        (ValueKind::Time, Json::String(text)) if !format.epoch_ms => {
            parse_time(text).map(Value::Time)
        }
        (ValueKind::Date, Json::String(text)) => parse_date(text).map(Value::Date),
        _ => None,
    };
    value.ok_or_else(|| format!("{json} where {} was expected", expected_word(kind, format)))
}

fn expected_word(kind: ValueKind, format: OutputFormat) -> &'static str {
    match kind {
        ValueKind::Bool => "a boolean",
        ValueKind::Exact | ValueKind::Double => "a number",
        ValueKind::Text => "a string",
        ValueKind::Time if format.epoch_ms => "ms since 1970",
        ValueKind::Time => "an ISO 8601 time with Z",
        ValueKind::Date => "a date",
    }
}

/// RFC 3339 to microseconds since 1970.
pub fn parse_time(text: &str) -> Option<i128> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(i128::from(time.timestamp()) * 1_000_000 + i128::from(time.timestamp_subsec_micros()))
}

/// `YYYY-MM-DD` to days since 1970.
pub fn parse_date(text: &str) -> Option<i64> {
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(i64::from(date.to_epoch_days()))
}

#[cfg(test)]
mod tests;
