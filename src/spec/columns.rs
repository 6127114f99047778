//! The columns of a source: `name: type` or `name: { type, path, required, pattern }`.
//!
//! Invariant: a column whose type could not be read is still among the columns, as a timestamp, so that no later check
//! stumbles over it; a spec with such a column is never returned. This file decodes no data.

use chrono::format::{Item, StrftimeItems};

use super::diagnostic::{Diagnostic, Span};
use super::fields::{Fields, Keys, entries, text, texts};
use super::yaml::{Content, Entry, Node};
use super::{ColumnSpec, ColumnType, Spanned};

const COLUMN: Keys = Keys {
    known: &["type", "path", "required", "pattern"],
    later: &[("default", "remove it; COALESCE in SQL does the same")],
};

const TYPES: [&str; 10] = [
    "string",
    "boolean",
    "int32",
    "int64",
    "double",
    "decimal(p,s)",
    "timestamp_ms",
    "timestamp_s",
    "timestamp",
    "date",
];

/// Names that people know from elsewhere.
const OTHER_NAMES: [(&str, &str); 18] = [
    ("text", "string"),
    ("varchar", "string"),
    ("str", "string"),
    ("bool", "boolean"),
    ("int", "int32"),
    ("integer", "int32"),
    ("long", "int64"),
    ("bigint", "int64"),
    ("number", "double"),
    ("float", "double"),
    ("float64", "double"),
    ("real", "double"),
    ("numeric", "decimal(p,s)"),
    ("decimal", "decimal(p,s)"),
    ("datetime", "timestamp"),
    ("time", "timestamp"),
    ("timestamp_millis", "timestamp_ms"),
    ("timestamp_seconds", "timestamp_s"),
];

/// Digits of the widest decimal.
const MOST_DIGITS: u8 = 38;

/// What stands for a type that could not be read.
const UNREADABLE: ColumnType = ColumnType::TimestampMs;

/// The mapping below `columns`; `None` if it is none at all.
pub(super) fn columns(
    owner: &str,
    node: &Node,
    found: &mut Vec<Diagnostic>,
) -> Option<Vec<ColumnSpec>> {
    let label = format!("`columns` of {owner}");
    let entries = entries(&label, node, found)?;
    if entries.is_empty() {
        let message = format!("{label} is empty: a source needs at least one column");
        found.push(Diagnostic::new("missing-key", node.span, message));
        return None;
    }
    let mut columns = Vec::with_capacity(entries.len());
    let mut torn = false;
    for entry in entries {
        // `{ price: decimal(9,2) }` is for YAML `price: decimal(9` and a key `2)`; the first was reported.
        let rest_of_decimal = torn
            && matches!(entry.value.content, Content::Nothing)
            && entry.key.value.ends_with(')');
        torn = is_torn_decimal(&entry.value);
        if !rest_of_decimal {
            columns.push(column(owner, entry, found));
        }
    }
    Some(columns)
}

/// Whether a column's value is, or has as its `type`, a decimal without its closing bracket.
fn is_torn_decimal(node: &Node) -> bool {
    match &node.content {
        Content::Scalar(scalar) => {
            scalar.text.starts_with("decimal(") && !scalar.text.contains(')')
        }
        Content::Mapping(entries) => torn_type(entries).is_some(),
        _ => false,
    }
}

fn torn_type(entries: &[Entry]) -> Option<&Node> {
    let entry = entries.iter().find(|entry| entry.key.value == "type")?;
    is_torn_decimal(&entry.value).then_some(&entry.value)
}

fn column(owner: &str, entry: &Entry, found: &mut Vec<Diagnostic>) -> ColumnSpec {
    let name = entry.key.clone();
    let label = format!("column `{}` of {owner}", name.value);
    if name.value.trim().is_empty() {
        let message = format!("a column of {owner} has no name");
        found.push(Diagnostic::new("invalid-name", name.span, message));
    }
    let mut spec = ColumnSpec {
        kind: UNREADABLE,
        path: vec![name.value.clone()],
        required: false,
        name,
    };
    let only_type = match &entry.value.content {
        // The other half of the type would be an unknown key.
        Content::Mapping(entries) => torn_type(entries),
        _ => Some(&entry.value),
    };
    if let Some(node) = only_type {
        if let Some(given) = text(&label, node, found) {
            spec.kind = column_type(&label, &given, found);
        }
        return spec;
    }
    let Some(fields) = Fields::open(label.clone(), spec.name.span, &entry.value, &COLUMN, found)
    else {
        return spec;
    };
    let given = fields.needed_text("type", found);
    let readable = !given.value.is_empty();
    if readable {
        spec.kind = column_type(&label, &given, found);
    }
    if let Some(node) = fields.get("path") {
        spec.path = path(&fields.label("path"), node, found).unwrap_or(spec.path);
    }
    spec.required = fields.flag("required", found).unwrap_or(false);
    if let Some(given) = fields.text("pattern", found)
        && readable
    {
        pattern(&fields.label("pattern"), given, &mut spec.kind, found);
    }
    spec
}

fn column_type(label: &str, given: &Spanned<String>, found: &mut Vec<Diagnostic>) -> ColumnType {
    match given.value.as_str() {
        "string" => ColumnType::String,
        "boolean" => ColumnType::Boolean,
        "int32" => ColumnType::Int32,
        "int64" => ColumnType::Int64,
        "double" => ColumnType::Double,
        "timestamp_ms" => ColumnType::TimestampMs,
        "timestamp_s" => ColumnType::TimestampS,
        "timestamp" => ColumnType::Timestamp { pattern: None },
        "date" => ColumnType::Date,
        other if other.starts_with("decimal(") => decimal(label, other, given.span, found),
        other => {
            let message = format!("{label}: there is no type `{other}`");
            let lower = other.to_lowercase();
            let known = OTHER_NAMES.iter().find(|(name, _)| *name == lower);
            let unknown = Diagnostic::new("unknown-type", given.span, message);
            found.push(match known {
                Some((_, ours)) => unknown.with_help(format!("did you mean `{ours}`?")),
                None => unknown.with_closest(other, TYPES),
            });
            UNREADABLE
        }
    }
}

fn decimal(label: &str, given: &str, span: Span, found: &mut Vec<Diagnostic>) -> ColumnType {
    let inner = given
        .strip_prefix("decimal(")
        .and_then(|rest| rest.strip_suffix(')'));
    let Some(inner) = inner else {
        let message = format!("{label}: `{given}` has no closing bracket");
        let help = "within `{ }` YAML splits at the comma: write it in quotes, \"decimal(9,2)\"";
        found.push(Diagnostic::new("unknown-type", span, message).with_help(help));
        return UNREADABLE;
    };
    let parsed = inner.split_once(',').and_then(|(precision, scale)| {
        let precision: u8 = precision.trim().parse().ok()?;
        let scale: i8 = scale.trim().parse().ok()?;
        Some((precision, scale))
    });
    match parsed {
        Some((precision, scale))
            if (1..=MOST_DIGITS).contains(&precision)
                && u8::try_from(scale).is_ok_and(|scale| scale <= precision) =>
        {
            ColumnType::Decimal { precision, scale }
        }
        _ => {
            let message = format!("{label}: `{given}` is no decimal type");
            let help =
                "decimal(p,s) has p digits, 1 to 38, of which s, 0 to p, stand after the point";
            found.push(Diagnostic::new("unknown-type", span, message).with_help(help));
            UNREADABLE
        }
    }
}

/// `a.b.c`, or a list of field names where one holds a dot.
fn path(label: &str, node: &Node, found: &mut Vec<Diagnostic>) -> Option<Vec<String>> {
    let given = texts(label, node, found)?;
    if matches!(node.content, Content::List(_)) {
        return Some(given.into_iter().map(|step| step.value).collect());
    }
    let steps: Vec<String> = given
        .iter()
        .flat_map(|path| path.value.split('.').map(str::to_owned))
        .collect();
    if steps.iter().any(String::is_empty) {
        let message = format!("{label} has an empty step");
        let help = "write the field names with one dot between them, or as a list";
        found.push(Diagnostic::new("invalid-value", node.span, message).with_help(help));
        return None;
    }
    Some(steps)
}

/// Puts a strftime pattern into a `timestamp` column's type.
fn pattern(
    label: &str,
    given: Spanned<String>,
    kind: &mut ColumnType,
    found: &mut Vec<Diagnostic>,
) {
    let help = "patterns are those of strftime, such as %Y-%m-%d %H:%M:%S%.f%z";
    match kind {
        ColumnType::Timestamp { pattern } => {
            let broken = StrftimeItems::new(&given.value).any(|item| matches!(item, Item::Error));
            if broken || !given.value.contains('%') {
                let message = format!("{label}: `{}` is no strftime pattern", given.value);
                found.push(Diagnostic::new("invalid-value", given.span, message).with_help(help));
            }
            *pattern = Some(given.value);
        }
        _ if *kind == UNREADABLE
            && found.last().is_some_and(|last| last.code == "unknown-type") => {}
        _ => {
            let message = format!("{label} has a meaning for the type `timestamp` only");
            found.push(Diagnostic::new("invalid-value", given.span, message));
        }
    }
}
