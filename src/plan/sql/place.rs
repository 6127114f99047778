//! Where something stands: from positions in a node's SQL to positions in the file.
//!
//! Invariant: every diagnostic about SQL points into the node's `sql`, at the token that causes it where there is one.

use crate::spec::diagnostic::{Diagnostic, Span};
use datafusion_sql::sqlparser::ast::Spanned;
use datafusion_sql::sqlparser::tokenizer::{self, Token, TokenWithSpan};

/// The text of one node and its tokens.
pub(super) struct Place<'a> {
    /// Of the first character of the text; for a block scalar that is the first line below the `|`.
    start: Span,
    sql: &'a str,
    tokens: Vec<TokenWithSpan>,
}

/// A position in the SQL as one in the file: the lines of a block scalar are all indented like its first.
pub(super) fn position(start: Span, line: usize, column: usize) -> (usize, usize) {
    (
        start.line + line.max(1) - 1,
        start.column + column.max(1) - 1,
    )
}

impl<'a> Place<'a> {
    pub(super) fn new(start: Span, sql: &'a str) -> Self {
        Place {
            start,
            sql,
            tokens: vec![],
        }
    }

    pub(super) fn set_tokens(&mut self, tokens: Vec<TokenWithSpan>) {
        self.tokens = tokens;
    }

    /// Tokens without whitespace and comments.
    pub(super) fn tokens(&self) -> impl Iterator<Item = &TokenWithSpan> {
        self.tokens
            .iter()
            .filter(|token| !matches!(token.token, Token::Whitespace(_)))
    }

    /// The first character of the SQL.
    pub(super) fn whole(&self) -> Span {
        let len = self
            .sql
            .lines()
            .next()
            .map_or(1, |line| line.trim_end().chars().count());
        Span {
            len: len.max(1),
            ..self.start
        }
    }

    pub(super) fn at(&self, span: tokenizer::Span) -> Span {
        if span.start.line == 0 {
            return self.whole();
        }
        let (line, column) = position(
            self.start,
            span.start.line as usize,
            span.start.column as usize,
        );
        let len = if span.end.line == span.start.line {
            span.end.column.saturating_sub(span.start.column) as usize
        } else {
            let text = self
                .sql
                .lines()
                .nth(span.start.line as usize - 1)
                .unwrap_or_default()
                .trim_end();
            (text.chars().count() + 1).saturating_sub(span.start.column as usize)
        };
        Span {
            line,
            column,
            len: len.max(1),
        }
    }

    pub(super) fn of(&self, node: &impl Spanned) -> Span {
        self.at(node.span())
    }

    /// The first unquoted occurrence of a word, or the beginning of the SQL.
    pub(super) fn word(&self, word: &str) -> Span {
        self.find_word(word).unwrap_or_else(|| self.whole())
    }

    pub(super) fn find_word(&self, word: &str) -> Option<Span> {
        let token = self.tokens().find(|token| is_word(&token.token, word))?;
        Some(self.at(token.span))
    }
}

pub(super) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

pub(super) fn diagnostic(
    code: &'static str,
    span: Span,
    message: impl Into<String>,
    help: impl Into<String>,
) -> Diagnostic {
    let help = help.into();
    Diagnostic {
        code,
        span,
        message: message.into(),
        help: (!help.is_empty()).then_some(help),
    }
}

/// "did you mean `x`?" for the nearest of `names`, or else a list of them.
pub(super) fn suggest<'n>(
    wrong: &str,
    names: impl IntoIterator<Item = &'n str>,
    what: &str,
) -> String {
    let mut names: Vec<&str> = names.into_iter().collect();
    match nearest(wrong, names.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None if names.is_empty() => String::new(),
        None => {
            let more = names.len().saturating_sub(20);
            names.truncate(20);
            let tail = if more == 0 {
                String::new()
            } else {
                format!(" and {more} more")
            };
            format!("{what}: {}{tail}", names.join(", "))
        }
    }
}

/// The name most like `wrong`, if one is like it at all.
pub(super) fn nearest<'n>(
    wrong: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> Option<&'n str> {
    let lower = wrong.to_lowercase();
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&lower, &name.to_lowercase()), name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}
