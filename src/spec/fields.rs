//! Typed access to the keys of one mapping: what is unknown, missing or of the wrong kind becomes a diagnostic.
//!
//! Invariant: a getter that gives `None` has either added a diagnostic or found the key absent and optional.
//! This file knows no key itself.

use super::Spanned;
use super::diagnostic::{Diagnostic, Span, listed};
use super::duration::{self, DurationError};
use super::yaml::{Content, Entry, Node, Scalar, Style};

/// The keys that a mapping may have.
pub(super) struct Keys {
    pub known: &'static [&'static str],
    /// Words that the design knows and this version does not do, with what to do instead.
    pub later: &'static [(&'static str, &'static str)],
}

/// One mapping of the file, already checked for unknown keys.
pub(super) struct Fields<'n> {
    /// "source `clicks`".
    owner: String,
    /// Where an error about a missing key points.
    span: Span,
    entries: &'n [Entry],
}

impl<'n> Fields<'n> {
    /// Takes a node as a mapping and reports its unknown keys.
    pub fn open(
        owner: String,
        span: Span,
        node: &'n Node,
        keys: &Keys,
        found: &mut Vec<Diagnostic>,
    ) -> Option<Self> {
        let entries = entries(&owner, node, found)?;
        for Entry { key, .. } in entries {
            if keys.known.contains(&key.value.as_str()) {
                continue;
            }
            if let Some((_, instead)) = keys.later.iter().find(|(word, _)| *word == key.value) {
                let message = format!("`{}` is not supported yet, in {owner}", key.value);
                found.push(Diagnostic::new("not-supported", key.span, message).with_help(*instead));
                continue;
            }
            let message = format!("{owner} has no key `{}`", key.value);
            let unknown = Diagnostic::new("unknown-key", key.span, message);
            found.push(unknown.with_closest(&key.value, keys.known.iter().copied()));
        }
        Some(Fields {
            owner,
            span,
            entries,
        })
    }

    pub fn get(&self, key: &str) -> Option<&'n Node> {
        let entry = self.entries.iter().find(|entry| entry.key.value == key)?;
        Some(&entry.value)
    }

    /// Where the key itself stands.
    pub fn key_span(&self, key: &str) -> Option<Span> {
        let entry = self.entries.iter().find(|entry| entry.key.value == key)?;
        Some(entry.key.span)
    }

    /// As [`Fields::get`]; an absent key is an error.
    pub fn require(&self, key: &str, found: &mut Vec<Diagnostic>) -> Option<&'n Node> {
        let node = self.get(key);
        if node.is_none() {
            let message = format!("{} needs `{key}`", self.owner);
            found.push(Diagnostic::new("missing-key", self.span, message));
        }
        node
    }

    /// "`topic` of source `clicks`".
    pub fn label(&self, key: &str) -> String {
        format!("`{key}` of {}", self.owner)
    }

    /// A text that must be there; an empty one at the mapping's place stands for one that is not.
    pub fn needed_text(&self, key: &str, found: &mut Vec<Diagnostic>) -> Spanned<String> {
        self.require(key, found)
            .and_then(|node| text(&self.label(key), node, found))
            .unwrap_or_else(|| Spanned {
                value: String::new(),
                span: self.span,
            })
    }

    pub fn text(&self, key: &str, found: &mut Vec<Diagnostic>) -> Option<Spanned<String>> {
        text(&self.label(key), self.get(key)?, found)
    }

    /// One of a few words; `later` are those that this version does not do yet.
    pub fn choice<T: Copy>(
        &self,
        key: &str,
        words: &[(&str, T)],
        later: &[&str],
        found: &mut Vec<Diagnostic>,
    ) -> Option<T> {
        let given = self.text(key, found)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == given.value) {
            return Some(*value);
        }
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        if later.contains(&given.value.as_str()) {
            let message = format!(
                "{}: `{}` is not supported yet",
                self.label(key),
                given.value
            );
            found.push(
                Diagnostic::new("not-supported", given.span, message)
                    .with_help(format!("write {}", listed(&names))),
            );
            return None;
        }
        let message = format!("{} cannot be `{}`", self.label(key), given.value);
        let wrong = Diagnostic::new("invalid-value", given.span, message);
        found.push(wrong.with_closest(&given.value, names));
        None
    }

    pub fn flag(&self, key: &str, found: &mut Vec<Diagnostic>) -> Option<bool> {
        let node = self.get(key)?;
        let scalar = scalar(&self.label(key), node, "true or false", found)?;
        match (scalar.style, scalar.text.as_str()) {
            (Style::Plain, "true") => Some(true),
            (Style::Plain, "false") => Some(false),
            _ => {
                let message = format!(
                    "{} is `{}`, not true or false",
                    self.label(key),
                    scalar.text
                );
                found.push(Diagnostic::new("wrong-kind", node.span, message));
                None
            }
        }
    }

    pub fn integer(&self, key: &str, found: &mut Vec<Diagnostic>) -> Option<Spanned<i64>> {
        let node = self.get(key)?;
        let scalar = scalar(&self.label(key), node, "a whole number", found)?;
        match (scalar.style, scalar.text.parse()) {
            (Style::Plain, Ok(value)) => Some(Spanned {
                value,
                span: node.span,
            }),
            _ => {
                let message = format!(
                    "{} is `{}`, not a whole number",
                    self.label(key),
                    scalar.text
                );
                found.push(Diagnostic::new("wrong-kind", node.span, message));
                None
            }
        }
    }

    /// A duration in milliseconds, or `word` where one stands for "no bound", which is `Some(None)`.
    pub fn duration(
        &self,
        key: &str,
        word: Option<&str>,
        found: &mut Vec<Diagnostic>,
    ) -> Option<Option<i64>> {
        let node = self.get(key)?;
        let scalar = scalar(&self.label(key), node, "a duration", found)?;
        if word == Some(scalar.text.as_str()) {
            return Some(None);
        }
        match duration::parse(&scalar.text) {
            Ok(ms) => Some(Some(ms)),
            Err(cause) => {
                let message = format!("{}: {cause}", self.label(key));
                let mut help = DurationError::help().to_owned();
                if let Some(word) = word {
                    help.push_str(&format!("; or `{word}`"));
                }
                found.push(Diagnostic::new("invalid-duration", node.span, message).with_help(help));
                None
            }
        }
    }

    /// A moment in milliseconds since 1970.
    pub fn moment(&self, key: &str, found: &mut Vec<Diagnostic>) -> Option<i64> {
        let node = self.get(key)?;
        let scalar = scalar(&self.label(key), node, "a moment", found)?;
        match duration::parse_moment(&scalar.text) {
            Ok(ms) => Some(ms),
            Err(cause) => {
                let message = format!("{}: {cause}", self.label(key));
                let help = "write RFC 3339 with a zone, such as 2024-05-01T00:00:00Z, or milliseconds since 1970";
                found.push(Diagnostic::new("invalid-value", node.span, message).with_help(help));
                None
            }
        }
    }
}

/// The entries of a mapping, which a section may be; anything else is reported.
pub(super) fn entries<'n>(
    owner: &str,
    node: &'n Node,
    found: &mut Vec<Diagnostic>,
) -> Option<&'n [Entry]> {
    match &node.content {
        Content::Mapping(entries) => Some(entries),
        other => {
            wrong_kind(owner, node.span, other, "a mapping", found);
            None
        }
    }
}

/// A text, not empty. Numbers and truth values are taken as they are written.
pub(super) fn text(
    label: &str,
    node: &Node,
    found: &mut Vec<Diagnostic>,
) -> Option<Spanned<String>> {
    let scalar = scalar(label, node, "text", found)?;
    if scalar.text.trim().is_empty() {
        found.push(Diagnostic::new(
            "invalid-value",
            node.span,
            format!("{label} is empty"),
        ));
        return None;
    }
    Some(Spanned {
        value: scalar.text.clone(),
        span: node.span,
    })
}

/// A text or a list of texts; at least one.
pub(super) fn texts(
    label: &str,
    node: &Node,
    found: &mut Vec<Diagnostic>,
) -> Option<Vec<Spanned<String>>> {
    let Content::List(items) = &node.content else {
        return text(label, node, found).map(|one| vec![one]);
    };
    if items.is_empty() {
        found.push(Diagnostic::new(
            "invalid-value",
            node.span,
            format!("{label} is empty"),
        ));
        return None;
    }
    let read: Vec<_> = items.iter().map(|item| text(label, item, found)).collect();
    read.into_iter().collect()
}

/// A single value; `expected` names it in the error.
pub(super) fn scalar<'n>(
    label: &str,
    node: &'n Node,
    expected: &str,
    found: &mut Vec<Diagnostic>,
) -> Option<&'n Scalar> {
    match &node.content {
        Content::Scalar(scalar) => Some(scalar),
        other => {
            wrong_kind(label, node.span, other, expected, found);
            None
        }
    }
}

fn wrong_kind(
    label: &str,
    span: Span,
    content: &Content,
    expected: &str,
    found: &mut Vec<Diagnostic>,
) {
    if !matches!(content, Content::Refused) {
        let message = format!("{label} must be {expected}, not {}", content.kind());
        found.push(Diagnostic::new("wrong-kind", span, message));
    }
}
