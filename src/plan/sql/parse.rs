//! From text to one `SELECT`, with every failure as a diagnostic.
//!
//! Invariant: what is returned is bounded in size and depth, so that planning and evaluating it cannot exhaust a
//! stack. This file judges nothing but the shape "one SELECT".

use super::place::{Place, diagnostic, is_word};
use crate::spec::diagnostic::Diagnostic;
use datafusion_sql::sqlparser::ast::{Expr, Query, SetExpr, Statement, Visit, Visitor};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::parser::{Parser, ParserError};
use datafusion_sql::sqlparser::tokenizer::{Location, Span, Token, Tokenizer};
use std::ops::ControlFlow;

/// Tokens of one node's SQL.
const MAX_TOKENS: usize = 20_000;
/// Nesting of one expression; a chain of `a + b + c` nests as deep as it is long.
pub(super) const MAX_DEPTH: usize = 200;
/// Windows that other engines have, and we do not yet.
const OTHER_WINDOWS: [&str; 4] = ["HOP", "CUMULATE", "SESSION", "COUNT_WINDOW"];

/// Parses a node's SQL into its one query; `place` learns the tokens.
pub(super) fn parse(sql: &str, place: &mut Place<'_>) -> Result<Box<Query>, Diagnostic> {
    let tokens = Tokenizer::new(&GenericDialect {}, sql)
        .tokenize_with_location()
        .map_err(|error| {
            let at = Span {
                start: error.location,
                end: error.location,
            };
            diagnostic(
                "sql-syntax",
                place.at(at),
                format!("cannot read the SQL: {}", error.message),
                "",
            )
        })?;
    place.set_tokens(tokens.clone());
    if place.tokens().count() > MAX_TOKENS {
        return Err(too_deep(
            place,
            format!("the SQL is longer than {MAX_TOKENS} words and signs"),
        ));
    }
    other_window(place)?;
    let mut parser = Parser::new(&GenericDialect {})
        .with_recursion_limit(MAX_DEPTH)
        .with_tokens_with_locations(tokens);
    let mut statements = parser
        .parse_statements()
        .map_err(|error| syntax_error(place, error))?;
    if statements.len() > 1 {
        return Err(several_statements(place));
    }
    let query = match statements.pop() {
        Some(Statement::Query(query)) => query,
        Some(_) => return Err(not_a_select(place)),
        None => {
            return Err(diagnostic(
                "sql-syntax",
                place.whole(),
                "there is no SQL here",
                "write a SELECT",
            ));
        }
    };
    if matches!(
        *query.body,
        SetExpr::Values(_)
            | SetExpr::Insert(_)
            | SetExpr::Update(_)
            | SetExpr::Delete(_)
            | SetExpr::Merge(_)
            | SetExpr::Table(_)
    ) {
        return Err(not_a_select(place));
    }
    match query.visit(&mut Depth(0)) {
        ControlFlow::Continue(()) => Ok(query),
        ControlFlow::Break(()) => Err(too_deep(
            place,
            format!("an expression is nested deeper than {MAX_DEPTH}"),
        )),
    }
}

fn several_statements(place: &Place<'_>) -> Diagnostic {
    let end = place.tokens().find(|token| token.token == Token::SemiColon);
    let span = end.map_or(place.whole(), |token| place.at(token.span));
    let help = "write one SELECT per node; a node can read another one";
    diagnostic("several-statements", span, "a node is one statement", help)
}

fn not_a_select(place: &Place<'_>) -> Diagnostic {
    let help = "write SELECT … FROM …; where rows go is said under `sinks`";
    diagnostic(
        "not-a-select",
        place.whole(),
        "a node's SQL must be a SELECT",
        help,
    )
}

fn too_deep(place: &Place<'_>, message: String) -> Diagnostic {
    let help =
        "use `x IN (…)` for a long chain of OR, or compute parts of it in a node before this one";
    diagnostic("expression-too-deep", place.whole(), message, help)
}

/// Named before parsing: `SESSION(t PARTITION BY k, …)` is no syntax of the parser.
fn other_window(place: &Place<'_>) -> Result<(), Diagnostic> {
    let tokens: Vec<_> = place.tokens().collect();
    for three in tokens.windows(3) {
        let window = OTHER_WINDOWS
            .iter()
            .find(|name| is_word(&three[1].token, name));
        if let (true, Some(window), Token::LParen) =
            (is_word(&three[0].token, "FROM"), window, &three[2].token)
        {
            let message = format!("{window} windows are not supported yet");
            let help = "use TUMBLE(input, time, INTERVAL '15' SECOND)";
            return Err(diagnostic(
                "unsupported-window",
                place.at(three[1].span),
                message,
                help,
            ));
        }
    }
    Ok(())
}

fn syntax_error(place: &Place<'_>, error: ParserError) -> Diagnostic {
    let (ParserError::ParserError(text) | ParserError::TokenizerError(text)) = error else {
        return too_deep(
            place,
            format!("an expression is nested deeper than {MAX_DEPTH}"),
        );
    };
    let (message, at) = split_position(&text);
    let span = at.map_or(place.whole(), |start| {
        let token = place.tokens().find(|token| token.span.start == start);
        place.at(token.map_or(Span { start, end: start }, |token| token.span))
    });
    diagnostic(
        "sql-syntax",
        span,
        format!("SQL syntax: {}", message.to_lowercase_first()),
        "",
    )
}

/// Takes the position off the parser's text: `… at Line: 1, Column: 8`.
fn split_position(text: &str) -> (&str, Option<Location>) {
    let parts = text.rsplit_once(" at Line: ").and_then(|(message, at)| {
        let (line, column) = at.split_once(", Column: ")?;
        Some((
            message,
            Location {
                line: line.trim().parse().ok()?,
                column: column.trim().parse().ok()?,
            },
        ))
    });
    parts.map_or((text, None), |(message, at)| (message, Some(at)))
}

trait LowercaseFirst {
    fn to_lowercase_first(&self) -> String;
}

impl LowercaseFirst for str {
    fn to_lowercase_first(&self) -> String {
        let mut chars = self.chars();
        chars.next().map_or_else(String::new, |first| {
            first.to_lowercase().chain(chars).collect()
        })
    }
}

/// Breaks off where an expression is nested too deep.
struct Depth(usize);

impl Visitor for Depth {
    type Break = ();

    fn pre_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.0 += 1;
        if self.0 > MAX_DEPTH {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    fn post_visit_expr(&mut self, _: &Expr) -> ControlFlow<()> {
        self.0 -= 1;
        ControlFlow::Continue(())
    }
}
