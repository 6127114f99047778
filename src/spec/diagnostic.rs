//! One finding about a topology file: code, position, message, help; as text for people and JSON for tools.
//!
//! Invariant: every error that a file can cause is a `Diagnostic` with a code and a position. This file finds nothing.

use std::fmt::Write;

use serde::Serialize;

/// A place in the file; both count from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Span {
    pub line: usize,
    pub column: usize,
    /// Characters to mark.
    pub len: usize,
}

/// One error in a topology file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable, for search: `unknown-key`, `unknown-column`, `unsupported-join`, …
    pub code: &'static str,
    pub span: Span,
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A finding without help.
    pub fn new(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Diagnostic {
            code,
            span,
            message: message.into(),
            help: None,
        }
    }

    /// The same with what to write instead.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same with "did you mean", where there is a candidate near `word`; else a few candidates are all named.
    #[must_use]
    pub fn with_closest<'a>(
        mut self,
        word: &str,
        candidates: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let candidates: Vec<&str> = candidates.into_iter().collect();
        self.help = match closest(word, candidates.iter().copied()) {
            Some(near) => Some(format!("did you mean `{near}`?")),
            None if (1..=MOST_NAMED).contains(&candidates.len()) => {
                Some(format!("write {}", listed(&candidates)))
            }
            None => None,
        };
        self
    }
}

/// Longer lists of candidates help nobody.
const MOST_NAMED: usize = 12;

/// "`a`, `b` or `c`".
pub fn listed(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => "nothing".to_owned(),
    }
}

/// The order in which diagnostics are shown: by position; those at one place keep their order.
pub fn sort(found: &mut [Diagnostic]) {
    found.sort_by_key(|one| (one.span.line, one.span.column));
}

/// The candidate that `word` was probably meant to be: equal but for case, a few typing errors away, or begun by it.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    let length = word.chars().count();
    // Longer words may hold more typing errors before a suggestion is more confusing than helpful.
    let allowed = match length {
        0 => return None,
        1..=3 => 1,
        4..=7 => 2,
        _ => 3,
    };
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let lower = candidate.to_lowercase();
        let mut distance = strsim::damerau_levenshtein(&word, &lower);
        if length >= 3 && lower.starts_with(&word) {
            distance = distance.min(allowed);
        }
        // A word of two letters is one typing error away from too many others that share nothing with it.
        let shares = distance < length;
        if distance <= allowed && shares && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// The diagnostics for people, in the order of their positions, without colours.
pub fn render_text(file: &str, text: &str, found: &[Diagnostic]) -> String {
    render(file, text, found, &Palette::default())
}

/// As [`render_text`], with ANSI colours.
pub fn render_coloured(file: &str, text: &str, found: &[Diagnostic]) -> String {
    let palette = Palette {
        error: "\x1b[1;31m",
        frame: "\x1b[1;34m",
        bold: "\x1b[1m",
        reset: "\x1b[0m",
    };
    render(file, text, found, &palette)
}

/// Escape sequences; all empty where no colours are asked for.
#[derive(Default)]
struct Palette {
    error: &'static str,
    frame: &'static str,
    bold: &'static str,
    reset: &'static str,
}

fn render(file: &str, text: &str, found: &[Diagnostic], palette: &Palette) -> String {
    let mut sorted = found.to_vec();
    sort(&mut sorted);
    let lines: Vec<&str> = text.trim_start_matches('\u{feff}').lines().collect();
    let blocks: Vec<String> = sorted
        .iter()
        .map(|one| render_one(file, &lines, one, palette))
        .collect();
    blocks.join("\n")
}

fn render_one(file: &str, lines: &[&str], found: &Diagnostic, palette: &Palette) -> String {
    let Palette {
        error,
        frame,
        bold,
        reset,
    } = palette;
    let Span { line, column, len } = found.span;
    let number = line.to_string();
    let margin = " ".repeat(number.len());
    let code = found.code;
    let mut out = format!(
        "{error}error[{code}]{reset}{bold}: {}{reset}\n",
        printable(&found.message)
    );
    // Writing into a String cannot fail.
    let _ = writeln!(out, "{margin}{frame}-->{reset} {file}:{line}:{column}");
    if let Some(source) = line.checked_sub(1).and_then(|index| lines.get(index)) {
        let source = printable(source);
        let before = column.saturating_sub(1);
        // The marker follows the line's tabs, so that it stands right at any tab width.
        let pad: String = source
            .chars()
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .chain(std::iter::repeat(' '))
            .take(before)
            .collect();
        let room = source.chars().count().saturating_sub(before).max(1);
        let marks = "^".repeat(len.clamp(1, room));
        let _ = writeln!(out, "{margin} {frame}|{reset}");
        let _ = writeln!(out, "{frame}{number} |{reset} {source}");
        let _ = writeln!(out, "{margin} {frame}|{reset} {pad}{error}{marks}{reset}");
    }
    if let Some(help) = &found.help {
        let _ = writeln!(
            out,
            "{margin} {frame}={reset} {bold}help{reset}: {}",
            printable(help)
        );
    }
    out
}

/// Text without control characters: a file must not be able to steer the reader's terminal.
fn printable(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

#[derive(Serialize)]
struct Record<'a> {
    code: &'a str,
    file: &'a str,
    line: usize,
    column: usize,
    length: usize,
    message: &'a str,
    help: Option<&'a str>,
}

/// The diagnostics for tools: an array of objects in the order of their positions.
pub fn render_json(file: &str, found: &[Diagnostic]) -> String {
    let mut sorted = found.to_vec();
    sort(&mut sorted);
    let records: Vec<Record<'_>> = sorted
        .iter()
        .map(|one| Record {
            code: one.code,
            file,
            line: one.span.line,
            column: one.span.column,
            length: one.span.len,
            message: &one.message,
            help: one.help.as_deref(),
        })
        .collect();
    // Strings and numbers only: serialising them cannot fail.
    serde_json::to_string_pretty(&records).unwrap_or_else(|_| "[]".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn example() -> Vec<Diagnostic> {
        let at = |line, column, len| Span { line, column, len };
        vec![
            Diagnostic::new("later", at(12, 1, 1), "past the end of the file"),
            Diagnostic::new("first", at(2, 3, 4), "wrong word").with_help("write `good`"),
        ]
    }

    #[test]
    fn text_shows_place_line_marker_and_help_in_order_of_position() {
        expect![[r#"
            error[first]: wrong word
             --> t.yaml:2:3
              |
            2 | 	 evil: 1
              | 	 ^^^^
              = help: write `good`

            error[later]: past the end of the file
              --> t.yaml:12:1
        "#]]
        .assert_eq(&render_text("t.yaml", "app: x\n\t evil: 1\n", &example()));
    }

    #[test]
    fn json_is_an_array_of_objects_in_order_of_position() {
        expect![[r#"
            [
              {
                "code": "first",
                "file": "t.yaml",
                "line": 2,
                "column": 3,
                "length": 4,
                "message": "wrong word",
                "help": "write `good`"
              },
              {
                "code": "later",
                "file": "t.yaml",
                "line": 12,
                "column": 1,
                "length": 1,
                "message": "past the end of the file",
                "help": null
              }
            ]"#]]
        .assert_eq(&render_json("t.yaml", &example()));
    }

    #[test]
    fn escapes_reach_the_terminal_only_where_colours_are_asked_for() {
        let found = [Diagnostic::new(
            "c",
            Span {
                line: 1,
                column: 1,
                len: 1,
            },
            "m\x1b[2J",
        )];
        let text = "a\x1b[31mb";
        assert!(!render_text("f", text, &found).contains('\x1b'));
        let coloured = render_coloured("f", text, &found);
        assert!(coloured.contains("\x1b[1;31merror[c]"));
        assert!(!coloured.contains("\x1b[31m") && !coloured.contains("\x1b[2J"));
    }

    #[test]
    fn closest_finds_typing_errors_cases_and_beginnings_and_nothing_far() {
        let words = ["topic", "timestamp", "out_of_orderness", "key"];
        let cases = [
            ("topics", Some("topic")),
            ("tpoic", Some("topic")),
            ("TimeStamp", Some("timestamp")),
            ("out_of_order", Some("out_of_orderness")),
            ("kye", Some("key")),
            ("xyz", None),
            ("k", None),
            ("", None),
            ("partitioned", None),
        ];
        for (word, expected) in cases {
            assert_eq!(closest(word, words), expected, "{word}");
        }
        // The nearest, not the first.
        assert_eq!(closest("count", ["counts2", "counts"]), Some("counts"));
    }
}
