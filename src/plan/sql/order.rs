//! Which node reads which input, and in what order they are planned.
//!
//! Invariant: a node comes after its input; nodes of a cycle, and what reads them, are left out and reported once per
//! cycle. Names are taken from the tokens, so that a node with an error in its SQL still has its place.

use super::place::{Place, diagnostic, is_word};
use crate::spec::diagnostic::{Diagnostic, Span};
use crate::spec::{NodeSpec, TopologySpec};
use datafusion_sql::sqlparser::dialect::GenericDialect;
use datafusion_sql::sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};
use std::collections::BTreeMap;

/// The name that stands in FROM, and where.
fn reads(node: &NodeSpec) -> Option<(String, Span)> {
    let tokens = Tokenizer::new(&GenericDialect {}, &node.sql.value)
        .tokenize_with_location()
        .ok()?;
    let mut place = Place::new(node.sql.span, &node.sql.value);
    place.set_tokens(tokens);
    let tokens: Vec<&TokenWithSpan> = place.tokens().collect();
    let after = &tokens[outer_from(&tokens)? + 1..];
    let function = after
        .get(1)
        .is_some_and(|token| token.token == Token::LParen);
    let inside = if function { after.get(2..)? } else { after };
    let named = inside
        .windows(2)
        .position(|two| is_word(&two[0].token, "data") && two[1].token == Token::RArrow);
    let token = inside.get(named.map_or(0, |position| position + 2))?;
    match &token.token {
        Token::Word(word) => Some((word.value.clone(), place.at(token.span))),
        _ => None,
    }
}

/// FROM outside of parentheses: `EXTRACT(YEAR FROM x)` is another one.
fn outer_from(tokens: &[&TokenWithSpan]) -> Option<usize> {
    let mut depth = 0i32;
    tokens.iter().position(|token| {
        match token.token {
            Token::LParen => depth += 1,
            Token::RParen => depth -= 1,
            _ => {}
        }
        depth == 0 && is_word(&token.token, "FROM")
    })
}

/// Nodes in the order of their dependencies, otherwise that of the file.
pub(super) fn order<'s>(spec: &'s TopologySpec, found: &mut Vec<Diagnostic>) -> Vec<&'s NodeSpec> {
    let inputs: BTreeMap<&str, (String, Span)> = spec
        .nodes
        .iter()
        .filter_map(|node| Some((node.name.value.as_str(), reads(node)?)))
        .collect();
    let mut ordered: Vec<&NodeSpec> = Vec::new();
    let mut waiting: Vec<&NodeSpec> = spec.nodes.iter().collect();
    loop {
        let (later, ready): (Vec<&NodeSpec>, Vec<&NodeSpec>) = waiting.iter().partition(|node| {
            let input = inputs.get(node.name.value.as_str()).map(|(name, _)| name);
            input.is_some_and(|input| waiting.iter().any(|other| other.name.value == *input))
        });
        if ready.is_empty() {
            break;
        }
        ordered.extend(ready);
        waiting = later;
    }
    report_cycles(&waiting, &inputs, found);
    ordered
}

fn report_cycles(
    waiting: &[&NodeSpec],
    inputs: &BTreeMap<&str, (String, Span)>,
    found: &mut Vec<Diagnostic>,
) {
    for node in waiting {
        let first = node.name.value.as_str();
        let mut path = vec![first];
        let mut at = first;
        while let Some((next, _)) = inputs.get(at)
            && !path.contains(&next.as_str())
        {
            path.push(next);
            at = next;
        }
        let closes = inputs.get(at).is_some_and(|(next, _)| next == first);
        // Of the nodes on a cycle, the first in the file reports it.
        let reported = path.iter().any(|name| {
            waiting
                .iter()
                .take_while(|n| n.name.value != first)
                .any(|n| n.name.value == *name)
        });
        if closes && !reported {
            path.push(first);
            let span = inputs.get(first).map_or(node.name.span, |(_, span)| *span);
            let message = format!(
                "nodes read each other in a circle: {}",
                path.join(" reads ")
            );
            found.push(diagnostic(
                "cycle",
                span,
                message,
                "let one of them read a source",
            ));
        }
    }
}

/// Sources and nodes whose rows go nowhere.
pub(super) fn unread(spec: &TopologySpec) -> Vec<Diagnostic> {
    let inputs: Vec<String> = spec
        .nodes
        .iter()
        .filter_map(reads)
        .map(|(name, _)| name)
        .collect();
    let read = |name: &str| {
        inputs.iter().any(|input| input == name) || spec.sinks.iter().any(|s| s.from.value == name)
    };
    let sources = spec
        .sources
        .iter()
        .map(|source| ("unused-source", &source.name));
    let nodes = spec.nodes.iter().map(|node| ("unused-node", &node.name));
    sources
        .chain(nodes)
        .filter(|(_, name)| !read(&name.value))
        .map(|(code, name)| {
            diagnostic(
                code,
                name.span,
                format!("nothing reads `{}`", name.value),
                "read it in a node or a sink, or remove it",
            )
        })
        .collect()
}
