//! What stands in FROM: an input by its name, or `TUMBLE(input, time, size [, offset])`.
//!
//! Invariant: a [`From`] that is returned names one input of the topology; for a window the size is positive, the
//! offset smaller than it, and the time column is the input's time attribute.

use super::interval::milliseconds;
use super::place::{Place, diagnostic, suggest};
use super::relation::{Relation, Relations};
use crate::plan::graph::Window;
use crate::spec::diagnostic::{Diagnostic, Span};
use datafusion_sql::sqlparser::ast::{
    Expr, FunctionArg, FunctionArgExpr, Ident, ObjectName, Select, TableAlias, TableFactor,
};

/// The input of a node.
pub(super) struct From<'r> {
    pub relation: &'r Relation,
    /// As it is called in this SQL: the alias or the input's name.
    pub called: String,
    pub window: Option<Tumble>,
}

pub(super) struct Tumble {
    pub window: Window,
    /// Index of the time attribute in the input's schema.
    pub time: usize,
}

/// Reads FROM. `Ok(None)`: what stands there is refused elsewhere, or its input could not be planned.
pub(super) fn read<'r>(
    select: &Select,
    relations: &'r Relations,
    place: &Place<'_>,
) -> Result<Option<From<'r>>, Vec<Diagnostic>> {
    let [table] = select.from.as_slice() else {
        return Ok(None);
    };
    if !table.joins.is_empty() {
        return Ok(None);
    }
    let TableFactor::Table {
        name, alias, args, ..
    } = &table.relation
    else {
        return Ok(None);
    };
    let called = |relation: &Relation| {
        alias
            .as_ref()
            .map_or_else(|| relation.name.clone(), |a| a.name.value.clone())
    };
    match args {
        None => {
            let found = lookup(&plain(name), place.of(name), relations).map_err(|d| vec![d])?;
            Ok(found.map(|relation| From {
                called: called(relation),
                relation,
                window: None,
            }))
        }
        Some(args) => {
            let function = name.to_string();
            if !function.eq_ignore_ascii_case("tumble") {
                let message = format!("`{function}` is not a function that can stand in FROM");
                return Err(vec![diagnostic(
                    "unknown-table-function",
                    place.of(name),
                    message,
                    SIGNATURE,
                )]);
            }
            let found = tumble(&args.args, name, relations, place)?;
            Ok(found.map(|(relation, window)| From {
                called: called(relation),
                relation,
                window: Some(window),
            }))
        }
    }
}

const SIGNATURE: &str = "write TUMBLE(input, time, INTERVAL '15' SECOND [, INTERVAL offset])";
const PARAMETERS: [&str; 4] = ["data", "time", "size", "offset"];

/// Replaces FROM by a plain table of that name for the planner.
pub(super) fn replacement(relation: &Relation, alias: Option<TableAlias>) -> TableFactor {
    TableFactor::Table {
        name: ObjectName::from(vec![Ident::with_quote('"', relation.name.clone())]),
        alias,
        args: None,
        with_hints: vec![],
        version: None,
        with_ordinality: false,
        partitions: vec![],
        json_path: None,
        sample: None,
        index_hints: vec![],
    }
}

/// A plain name without quotes, or the whole text of a name in several parts.
fn plain(name: &ObjectName) -> String {
    match name.0.as_slice() {
        [part] => part
            .as_ident()
            .map_or_else(|| name.to_string(), |ident| ident.value.clone()),
        _ => name.to_string(),
    }
}

/// `Ok(None)`: the input has diagnostics of its own.
fn lookup<'r>(
    name: &str,
    span: Span,
    relations: &'r Relations,
) -> Result<Option<&'r Relation>, Diagnostic> {
    relations.get(name).ok_or_else(|| {
        let help = suggest(name, relations.names(), "there are");
        diagnostic(
            "unknown-input",
            span,
            format!("no source or node is called `{name}`"),
            help,
        )
    })
}

fn tumble<'r>(
    args: &[FunctionArg],
    name: &ObjectName,
    relations: &'r Relations,
    place: &Place<'_>,
) -> Result<Option<(&'r Relation, Tumble)>, Vec<Diagnostic>> {
    let [data, time, size, offset] = by_parameter(args, place).map_err(|d| vec![d])?;
    let (Some(data), Some(time), Some(size)) = (data, time, size) else {
        return Err(vec![diagnostic(
            "tumble-arguments",
            place.of(name),
            "TUMBLE lacks arguments",
            SIGNATURE,
        )]);
    };
    let mut found = Vec::new();
    let relation = match data {
        Expr::Identifier(ident) => lookup(&ident.value, place.at(ident.span), relations),
        other => Err(diagnostic(
            "tumble-arguments",
            place.of(other),
            format!("TUMBLE reads a source or a node, not `{other}`"),
            SIGNATURE,
        )),
    };
    let relation = relation.unwrap_or_else(|d| {
        found.push(d);
        None
    });
    let time = relation.and_then(|relation| {
        time_column(time, relation, place)
            .map_err(|d| found.push(d))
            .ok()
    });
    let window = window(size, offset, place).map_err(|d| found.push(d)).ok();
    if !found.is_empty() {
        return Err(found);
    }
    let (Some(relation), Some(time), Some(window)) = (relation, time, window) else {
        return Ok(None);
    };
    Ok(Some((relation, Tumble { window, time })))
}

/// Sorts positional and named arguments into data, time, size and offset.
fn by_parameter<'e>(
    args: &'e [FunctionArg],
    place: &Place<'_>,
) -> Result<[Option<&'e Expr>; 4], Diagnostic> {
    let mut sorted = [None; 4];
    for (position, arg) in args.iter().enumerate() {
        let (index, value) = match arg {
            FunctionArg::Unnamed(value) => (Some(position), value),
            FunctionArg::Named { name, arg, .. } => {
                let lower = name.value.to_lowercase();
                let lower = if lower == "timecol" {
                    "time"
                } else {
                    lower.as_str()
                };
                (
                    PARAMETERS.iter().position(|parameter| *parameter == lower),
                    arg,
                )
            }
            FunctionArg::ExprNamed { arg, .. } => (None, arg),
        };
        let FunctionArgExpr::Expr(value) = value else {
            return Err(diagnostic(
                "tumble-arguments",
                place.of(arg),
                "`*` is no argument of TUMBLE",
                SIGNATURE,
            ));
        };
        match index.and_then(|index| sorted.get_mut(index)) {
            Some(slot @ None) => *slot = Some(value),
            Some(_) => {
                return Err(diagnostic(
                    "tumble-arguments",
                    place.of(arg),
                    "this argument is given twice",
                    SIGNATURE,
                ));
            }
            None => {
                let help = format!(
                    "{SIGNATURE}; the arguments are named {}",
                    PARAMETERS.join(", ")
                );
                return Err(diagnostic(
                    "tumble-arguments",
                    place.of(arg),
                    "TUMBLE has no such argument",
                    help,
                ));
            }
        }
    }
    Ok(sorted)
}

fn time_column(expr: &Expr, relation: &Relation, place: &Place<'_>) -> Result<usize, Diagnostic> {
    let ident = match expr {
        Expr::Identifier(ident) => ident,
        Expr::CompoundIdentifier(parts) if parts.len() == 2 && parts[0].value == relation.name => {
            &parts[1]
        }
        Expr::Function(function)
            if function.name.to_string().eq_ignore_ascii_case("descriptor") =>
        {
            return Err(diagnostic(
                "tumble-arguments",
                place.of(expr),
                "DESCRIPTOR(…) is not needed",
                SIGNATURE,
            ));
        }
        other => {
            let message = format!("the time of a window is a column, not `{other}`");
            return Err(diagnostic(
                "tumble-time",
                place.of(other),
                message,
                SIGNATURE,
            ));
        }
    };
    let name = &ident.value;
    let Some(index) = relation
        .schema
        .fields()
        .iter()
        .position(|field| field.name() == name)
    else {
        let help = suggest(name, relation.columns(), "its columns are");
        let message = format!("`{}` has no column `{name}`", relation.name);
        return Err(diagnostic(
            "unknown-column",
            place.at(ident.span),
            message,
            help,
        ));
    };
    if relation.times.contains(&index) {
        return Ok(index);
    }
    let help = match relation.times.first() {
        Some(time) => format!("use `{}`", relation.schema.field(*time).name()),
        None => relation.without_time(),
    };
    let message = format!(
        "`{name}` is not the time attribute of `{}`: watermarks say nothing about it",
        relation.name
    );
    Err(diagnostic(
        "tumble-time",
        place.at(ident.span),
        message,
        help,
    ))
}

fn window(size: &Expr, offset: Option<&Expr>, place: &Place<'_>) -> Result<Window, Diagnostic> {
    let read = |expr: &Expr| {
        milliseconds(expr)
            .map_err(|(message, help)| diagnostic("interval", place.of(expr), message, help))
    };
    let size_ms = read(size)?;
    if size_ms <= 0 {
        return Err(diagnostic(
            "tumble-size",
            place.of(size),
            "the size of a window must be above zero",
            "",
        ));
    }
    let offset_ms = offset.map_or(Ok(0), read)?;
    match offset {
        Some(at) if offset_ms.unsigned_abs() >= size_ms.unsigned_abs() => {
            let help = "windows repeat after their size: use the remainder";
            Err(diagnostic(
                "tumble-offset",
                place.of(at),
                "the offset must be smaller than the window",
                help,
            ))
        }
        _ => Ok(Window::Tumbling { size_ms, offset_ms }),
    }
}
