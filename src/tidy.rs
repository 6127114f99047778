//! The house rules that a compiler does not know, as a test: layers, sizes, headers, and libraries that live in one place only.
//!
//! Invariant: `cargo test` fails, with file and line, on every breach in `src/` and `integration-tests/`. The rules read text, not
//! syntax trees: [`source`] blanks out strings and comments, the rest is plain searching. Formatting and lints are `make lint`'s business.

mod imports;
mod source;
#[cfg(test)]
mod tests;

use source::Source;

/// Lines a file may have.
const FILE_LINES: usize = 500;
/// Lines a function may have, from its `fn` to its closing brace; tests excepted.
const FUNCTION_LINES: usize = 70;
/// A header shorter than this says nothing.
const HEADER_CHARS: usize = 30;

/// One place where a rule is broken.
#[derive(Debug, PartialEq, Eq)]
struct Breach {
    file: String,
    /// Counted from 1.
    line: usize,
    what: String,
}

impl std::fmt::Display for Breach {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

/// All breaches of one file; `path` is relative to the workspace, with forward slashes.
fn check(path: &str, text: &str) -> Vec<Breach> {
    let source = Source::new(path, text);
    let mut found = Vec::new();
    let mut add = |line: usize, what: String| {
        found.push(Breach {
            file: path.to_string(),
            line,
            what,
        })
    };
    header(&source, &mut add);
    file_size(&source, &mut add);
    function_sizes(&source, &mut add);
    forbidden(&source, &mut add);
    bare_matches(&source, &mut add);
    imports::layers(&source, &mut add);
    imports::one_place(&source, &mut add);
    found
}

fn header(source: &Source, add: &mut impl FnMut(usize, String)) {
    let header: String = source
        .text
        .lines()
        .take_while(|line| line.starts_with("//!"))
        .map(|line| line.trim_start_matches("//!").trim())
        .collect();
    if header.is_empty() {
        add(1, "the file does not open with a `//!` header".into());
    } else if header.chars().count() < HEADER_CHARS {
        add(
            1,
            format!("the header says nothing (under {HEADER_CHARS} characters)"),
        );
    }
}

fn file_size(source: &Source, add: &mut impl FnMut(usize, String)) {
    let lines = source.text.lines().count();
    if lines > FILE_LINES {
        add(
            FILE_LINES + 1,
            format!("{lines} lines, more than {FILE_LINES}"),
        );
    }
}

fn function_sizes(source: &Source, add: &mut impl FnMut(usize, String)) {
    for at in source.words("fn") {
        let name = source.product[at + 2..].trim_start();
        // `fn(` is a function type.
        if !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
            continue;
        }
        let Some(end) = source.item_end(at) else {
            continue;
        };
        let (first, last) = (source.line_of(at), source.line_of(end));
        let lines = last - first + 1;
        if lines > FUNCTION_LINES {
            let name: String = name
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect();
            add(
                first,
                format!("fn {name} has {lines} lines, more than {FUNCTION_LINES}"),
            );
        }
    }
}

/// What must not stand anywhere, tests included.
fn forbidden(source: &Source, add: &mut impl FnMut(usize, String)) {
    for (pattern, instead) in [
        ("#[allow(", "mend the cause, or `#[expect(…, reason = …)]`"),
        ("#![allow(", "mend the cause, or `#[expect(…, reason = …)]`"),
        ("unimplemented!", "no stubs"),
        ("todo!", "no stubs"),
    ] {
        for (at, _) in source.code.match_indices(pattern) {
            add(source.line_of(at), format!("`{pattern}`: {instead}"));
        }
    }
    for marker in ["TODO", "FIXME"] {
        for (at, _) in source.comments.match_indices(marker) {
            add(
                source.line_of(at),
                format!("`{marker}`: do it, or open an issue"),
            );
        }
    }
}

/// `matches!(…);` as a statement checks nothing, and no lint says so: an `assert!` was forgotten.
fn bare_matches(source: &Source, add: &mut impl FnMut(usize, String)) {
    const MACRO: &str = "matches!(";
    for (at, _) in source.code.match_indices(MACRO) {
        let before = source.code[..at].trim_end().chars().next_back();
        let opens_statement = matches!(before, None | Some(';' | '{' | '}'));
        let after = source::closing(&source.code, at + MACRO.len() - 1)
            .map(|end| source.code[end + 1..].trim_start());
        if opens_statement && after.is_some_and(|rest| rest.starts_with(';')) {
            add(
                source.line_of(at),
                "a bare `matches!(…);` checks nothing: wrap it in assert!".into(),
            );
        }
    }
}
