//! From a place in a node's SQL text to the place in the file where that character stands.
//!
//! SQL is written in one of three ways, and `NodeSpec::sql.span` is the place of its first character in each:
//! - in a block after `|`: line `l`, column `c` of the text stand `l − 1` lines and `c − 1` columns further, because
//!   YAML has cut the same indentation from every line;
//! - plain, in one line: `c − 1` columns further;
//! - in quotes, in one line: as plain, and escapes (`''`, `\"`, `\n`) count with all their characters.
//!
//! Folded text (`>`, or plain and quoted text over several lines) has no such place; reading refuses it for SQL.
//! Invariant: a place within the text gives a place within the file. This file does not parse SQL.

use super::Spanned;
use super::diagnostic::Span;

/// Where `line` and `column` of the SQL text stand in the file; both count from 1, the column in characters.
/// A place beyond the text's end (an error at the end of input) gives a place at or after its last character.
pub fn locate(file_text: &str, sql: &Spanned<String>, line: usize, column: usize) -> Span {
    let start = sql.span;
    let (line, column) = (line.max(1), column.max(1));
    let plain = Span {
        line: start.line + line - 1,
        column: start.column + column - 1,
        len: 1,
    };
    let file_text = file_text.trim_start_matches('\u{feff}');
    let Some(raw) = file_text.lines().nth(start.line.saturating_sub(1)) else {
        return plain;
    };
    // Before a block's text stands indentation, before a plain text a blank or a bracket.
    let quote = start
        .column
        .checked_sub(2)
        .and_then(|at| raw.chars().nth(at));
    match quote {
        Some(quote @ ('\'' | '"')) => {
            let body = raw.chars().skip(start.column - 1);
            let skipped = escaped_width(body, quote, line, column);
            Span {
                line: start.line,
                column: start.column + skipped,
                len: 1,
            }
        }
        _ => plain,
    }
}

/// Characters of the file between the opening quote and the wanted place of the unescaped text.
fn escaped_width(
    body: impl Iterator<Item = char>,
    quote: char,
    line: usize,
    column: usize,
) -> usize {
    let mut body = body.peekable();
    let (mut at_line, mut at_column, mut width) = (1, 1, 0);
    while (at_line, at_column) < (line, column) {
        let Some(c) = body.next() else { break };
        let mut breaks = false;
        let mut more = 0;
        if quote == '"' && c == '\\' {
            let escape = body.next();
            breaks = escape == Some('n');
            more = match escape {
                Some('x') => 3,
                Some('u') => 5,
                Some('U') => 9,
                _ => 1,
            };
            for _ in 1..more {
                body.next();
            }
        } else if c == quote {
            if quote == '"' || body.next_if_eq(&quote).is_none() {
                break;
            }
            more = 1;
        }
        width += 1 + more;
        (at_line, at_column) = match breaks {
            true => (at_line + 1, 1),
            false => (at_line, at_column + 1),
        };
    }
    width
}

#[cfg(test)]
mod tests {
    use super::super::yaml;
    use super::*;

    /// The file's character at the place of `needle` within the value of the only key, found through `locate`.
    fn found_at(file: &str, needle: &str) -> String {
        let mut found = Vec::new();
        let root = yaml::parse(file, &mut found).unwrap();
        let yaml::Content::Mapping(entries) = root.content else {
            panic!("no mapping")
        };
        let yaml::Content::Scalar(scalar) = &entries[0].value.content else {
            panic!("no scalar")
        };
        let sql = Spanned {
            value: scalar.text.clone(),
            span: scalar.inner,
        };
        let before = &scalar.text[..scalar.text.find(needle).unwrap()];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap().chars().count() + 1;
        let span = locate(file, &sql, line, column);
        let line = file.lines().nth(span.line - 1).unwrap();
        line.chars().skip(span.column - 1).collect()
    }

    #[test]
    fn places_in_sql_are_found_in_every_way_of_writing_it() {
        let cases = [
            ("plain", "sql: SELECT x FROM t"),
            ("flow", "{sql: SELECT x FROM t}"),
            ("behind other characters", "sql: SELECT 'äöü😀', x FROM t"),
            (
                "double quotes",
                "sql: \"SELECT \\\"a\\\", \\u0041\\x41\\U00000041, x FROM t\"",
            ),
            (
                "double quotes with line breaks",
                "sql: \"SELECT\\n1,\\n  x FROM t\"",
            ),
            ("single quotes", "sql: 'SELECT ''a'''''', x FROM t'"),
            ("block", "sql: |\n  SELECT a,\n    x FROM t\n"),
            ("block, first line", "sql: |\n  x FROM t\n"),
            (
                "block after empty lines",
                "sql: |\n\n\n    SELECT\n    x FROM t\n",
            ),
            (
                "block with stripped end and comment",
                "sql: |- # why\n   SELECT\n   x FROM t",
            ),
            (
                "block with stated indentation",
                "sql: |2\n    SELECT\n   x FROM t\n",
            ),
            (
                "block with other characters",
                "sql: |\n  -- äöü😀\n  'äöü😀', x FROM t\n",
            ),
            (
                "block with windows line ends",
                "sql: |\r\n  SELECT\r\n  x FROM t\r\n",
            ),
        ];
        for (what, file) in cases {
            assert!(found_at(file, "x FROM t").starts_with("x FROM t"), "{what}");
        }
    }

    #[test]
    fn a_place_after_the_end_stays_on_the_line() {
        let sql = Spanned {
            value: "a".to_owned(),
            span: Span {
                line: 1,
                column: 7,
                len: 1,
            },
        };
        assert_eq!(locate("sql: 'a'", &sql, 1, 9).column, 8);
        assert_eq!(locate("", &sql, 1, 1), sql.span);
    }
}
