//! YAML as a tree in which every key and value knows its place.
//!
//! Invariant: lines and columns are those of the file, counted from 1 in characters; every duplicate key is reported.
//! Only the plain part of YAML is taken: anchors, aliases, tags and a second document are refused. This file knows no
//! key of the topology. It stands on yaml-rust2's events: a loader above them would stop at the first duplicate.

use std::collections::HashMap;
use std::str::Chars;

use yaml_rust2::parser::{Event, Parser, Tag};
use yaml_rust2::scanner::{Marker, TScalarStyle};

use super::Spanned;
use super::diagnostic::{Diagnostic, Span};

/// Deeper nesting than any topology has; it bounds the recursion.
const DEEPEST: usize = 32;

/// A value and its place.
#[derive(Debug)]
pub(crate) struct Node {
    pub span: Span,
    pub content: Content,
}

#[derive(Debug)]
pub(crate) enum Content {
    /// Nothing after the key, or `null`.
    Nothing,
    Scalar(Scalar),
    List(Vec<Node>),
    Mapping(Vec<Entry>),
    /// Already reported: nothing more is to be said about it.
    Refused,
}

impl Content {
    /// What stands here, in the words of an error message.
    pub fn kind(&self) -> &'static str {
        match self {
            Content::Nothing | Content::Refused => "nothing",
            Content::Scalar(_) => "text",
            Content::List(_) => "a list",
            Content::Mapping(_) => "a mapping",
        }
    }
}

/// Text or number; which of them, the reader of the key decides.
#[derive(Debug)]
pub(crate) struct Scalar {
    pub text: String,
    pub style: Style,
    /// From the text's first character, without quotes; in a block the first line below the `|`, which may be empty.
    pub inner: Span,
}

/// How a scalar is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    Quoted,
    /// Plain or quoted text over more than one line, or `>`: line breaks of the file are not those of the text.
    Folded,
    /// A block after `|`.
    Literal,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub key: Spanned<String>,
    pub value: Node,
}

/// Reads a file. `None` where its syntax is broken, which is then among `found`.
pub(crate) fn parse(text: &str, found: &mut Vec<Diagnostic>) -> Option<Node> {
    let text = text.trim_start_matches('\u{feff}');
    if let Some(at) = text.find('\0') {
        // The scanner takes it for the end of the file.
        let before = &text[..at];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let span = Span {
            line,
            column,
            len: 1,
        };
        found.push(Diagnostic::new(
            "yaml-syntax",
            span,
            "the file holds a NUL character",
        ));
        return None;
    }
    let mut builder = Builder {
        parser: Parser::new_from_str(text),
        lines: text.lines().collect(),
        found,
    };
    builder.document().ok()
}

/// The syntax is broken; the diagnostic stands among those found.
struct Broken;

struct Builder<'a> {
    parser: Parser<Chars<'a>>,
    lines: Vec<&'a str>,
    found: &'a mut Vec<Diagnostic>,
}

impl Builder<'_> {
    fn document(&mut self) -> Result<Node, Broken> {
        loop {
            let (event, mark) = self.next()?;
            match event {
                Event::StreamStart | Event::DocumentStart | Event::Nothing => {}
                Event::StreamEnd => {
                    return Ok(Node {
                        span: Span {
                            line: 1,
                            column: 1,
                            len: 1,
                        },
                        content: Content::Nothing,
                    });
                }
                event => {
                    let root = self.node(event, mark, 0)?;
                    self.end()?;
                    return Ok(root);
                }
            }
        }
    }

    /// What follows the first document must be the end of the file.
    fn end(&mut self) -> Result<(), Broken> {
        loop {
            let (event, mark) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(()),
                Event::DocumentStart => {
                    let second = Diagnostic::new(
                        "yaml-syntax",
                        span_at(mark, 3),
                        "a second document begins here",
                    );
                    self.found
                        .push(second.with_help("one file holds one topology: remove the `---`"));
                    return Ok(());
                }
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Result<(Event, Marker), Broken> {
        self.parser.next_token().map_err(|error| {
            // The end of the file is reported on the line after the last one.
            let mut span = span_at(*error.marker(), 1);
            if span.line > self.lines.len() {
                span.line = self.lines.len().max(1);
                let last = self.lines.last().map_or(0, |line| line.chars().count());
                span.column = last + 1;
            }
            let mut broken = Diagnostic::new(
                "yaml-syntax",
                span,
                format!("broken YAML: {}", error.info()),
            );
            if error.info().contains("mapping values are not allowed") {
                broken =
                    broken.with_help("text that holds `: ` must stand in quotes or below a `|`");
            } else if error.info().contains('\t') || error.info().contains("tab") {
                broken = broken.with_help("indent with spaces, not with tabs");
            }
            self.found.push(broken);
            Broken
        })
    }

    fn node(&mut self, event: Event, mark: Marker, depth: usize) -> Result<Node, Broken> {
        let span = span_at(mark, 1);
        if depth > DEEPEST {
            let message = "the nesting is deeper than any topology needs";
            self.found
                .push(Diagnostic::new("yaml-syntax", span, message));
            return Err(Broken);
        }
        let content = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let node = self.scalar(text, style, mark);
                if self.refuse(anchor, tag.as_ref(), node.span) {
                    Content::Refused
                } else {
                    return Ok(node);
                }
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse(anchor, tag.as_ref(), span);
                self.list(depth)?
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse(anchor, tag.as_ref(), span);
                self.mapping(depth)?
            }
            // An alias; the parser sends nothing else where a value begins.
            _ => {
                self.refuse_word("aliases", span);
                Content::Refused
            }
        };
        Ok(Node { span, content })
    }

    fn list(&mut self, depth: usize) -> Result<Content, Broken> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Content::List(items)),
                (event, mark) => items.push(self.node(event, mark, depth + 1)?),
            }
        }
    }

    fn mapping(&mut self, depth: usize) -> Result<Content, Broken> {
        let mut entries: Vec<Entry> = Vec::new();
        let mut seen: HashMap<String, usize> = HashMap::new();
        loop {
            let key = match self.next()? {
                (Event::MappingEnd, _) => return Ok(Content::Mapping(entries)),
                (event, mark) => self.node(event, mark, depth + 1)?,
            };
            let (event, mark) = self.next()?;
            let mut value = self.node(event, mark, depth + 1)?;
            let name = match key.content {
                Content::Scalar(scalar) => scalar.text,
                Content::Refused => continue,
                other => {
                    let message = format!("a key must be text, not {}", other.kind());
                    self.found
                        .push(Diagnostic::new("wrong-kind", key.span, message));
                    continue;
                }
            };
            if matches!(value.content, Content::Nothing) {
                // The parser gives an absent value the place of whatever comes next.
                value.span = key.span;
            }
            if let Some(line) = seen.insert(name.clone(), key.span.line) {
                let message = format!("`{name}` stands here for a second time");
                let help = format!("the first is in line {line}: keep one of them");
                self.found
                    .push(Diagnostic::new("duplicate-key", key.span, message).with_help(help));
                continue;
            }
            let key = Spanned {
                value: name,
                span: key.span,
            };
            entries.push(Entry { key, value });
        }
    }

    fn scalar(&self, text: String, style: TScalarStyle, mark: Marker) -> Node {
        let line = mark.line().checked_sub(1).and_then(|at| self.lines.get(at));
        let start = span_at(mark, 1);
        let first_line = text.lines().next().map_or(0, |line| line.chars().count());
        // An absent value may be marked behind the last line.
        let null = matches!(style, TScalarStyle::Plain)
            && matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL");
        let (style, span, inner) = match style {
            TScalarStyle::Plain => {
                let here = line.map(|line| line.chars().skip(mark.col()));
                let whole = here.is_some_and(|here| starts_with(here, &text));
                let span = Span {
                    len: first_line.max(1),
                    ..start
                };
                let style = if whole { Style::Plain } else { Style::Folded };
                (style, span, span)
            }
            TScalarStyle::SingleQuoted | TScalarStyle::DoubleQuoted => {
                let here = line.map(|line| line.chars().skip(mark.col()));
                match here.and_then(quoted_length) {
                    Some(len) => {
                        let inner = Span {
                            column: start.column + 1,
                            len: len.saturating_sub(2).max(1),
                            ..start
                        };
                        (Style::Quoted, Span { len, ..start }, inner)
                    }
                    None => (Style::Folded, start, start),
                }
            }
            TScalarStyle::Literal | TScalarStyle::Folded => {
                // The mark stands at the first line that is not empty, behind its indentation.
                let empty = text.chars().take_while(|c| *c == '\n').count();
                let span = Span {
                    line: start.line.saturating_sub(empty).max(1),
                    len: first_line.max(1),
                    ..start
                };
                let literal = matches!(style, TScalarStyle::Literal);
                let style = if literal {
                    Style::Literal
                } else {
                    Style::Folded
                };
                (style, span, span)
            }
        };
        let content = match null {
            true => Content::Nothing,
            false => Content::Scalar(Scalar { text, style, inner }),
        };
        Node { span, content }
    }

    /// Whether the node carries an anchor or a tag, which is then reported.
    fn refuse(&mut self, anchor: usize, tag: Option<&Tag>, span: Span) -> bool {
        if anchor != 0 {
            self.refuse_word("anchors", span);
        }
        if tag.is_some() {
            self.refuse_word("tags", span);
        }
        anchor != 0 || tag.is_some()
    }

    fn refuse_word(&mut self, what: &str, span: Span) {
        let message = format!("YAML {what} are not supported in a topology");
        self.found
            .push(Diagnostic::new("not-supported", span, message).with_help("write the value out"));
    }
}

/// The scanner counts lines from 1 and columns from 0.
fn span_at(mark: Marker, len: usize) -> Span {
    Span {
        line: mark.line().max(1),
        column: mark.col() + 1,
        len,
    }
}

fn starts_with(mut here: impl Iterator<Item = char>, text: &str) -> bool {
    text.chars().all(|wanted| here.next() == Some(wanted))
}

/// Characters from the opening quote to the closing one, if that stands in the same line.
fn quoted_length(here: impl Iterator<Item = char>) -> Option<usize> {
    let mut here = here.peekable();
    let quote = here.next()?;
    let mut len = 1;
    while let Some(c) = here.next() {
        len += 1;
        if quote == '"' && c == '\\' {
            here.next()?;
            len += 1;
        } else if c == quote {
            if quote == '\'' && here.peek() == Some(&'\'') {
                here.next();
                len += 1;
            } else {
                return Some(len);
            }
        }
    }
    None
}
