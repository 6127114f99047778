//! A Rust file as the rules want to see it: code without strings and comments, comments alone, and the product code without tests.
//!
//! Invariant: every view has the length and the line breaks of the text, so that a byte offset means the same place in all of them.
//! It knows just enough of Rust's lexical grammar for rustfmt-formatted code; it does not parse.

/// One file and its views.
pub(super) struct Source<'a> {
    pub path: &'a str,
    pub text: &'a str,
    /// Without the contents of strings, characters and comments.
    pub code: String,
    /// Only the comments.
    pub comments: String,
    /// `code` without the items marked `#[cfg(test)]`; empty if the whole file is a test.
    pub product: String,
}

impl<'a> Source<'a> {
    pub fn new(path: &'a str, text: &'a str) -> Self {
        let (code, comments) = views(text);
        let product = if is_test_file(path) {
            blank(&code, 0, code.len())
        } else {
            without_tests(&code)
        };
        Source {
            path,
            text,
            code,
            comments,
            product,
        }
    }

    /// The line, from 1, in which a byte offset lies.
    pub fn line_of(&self, at: usize) -> usize {
        1 + self.text.as_bytes()[..at]
            .iter()
            .filter(|b| **b == b'\n')
            .count()
    }

    /// Offsets in `product` where `word` stands as a whole word.
    pub fn words(&self, word: &str) -> Vec<usize> {
        let is_part = |c: char| c.is_alphanumeric() || c == '_';
        self.product
            .match_indices(word)
            .map(|(at, _)| at)
            .filter(|at| {
                !self.product[..*at].ends_with(is_part)
                    && !self.product[at + word.len()..].starts_with(is_part)
            })
            .collect()
    }

    /// Offset of the brace that closes the item beginning at `at`; `None` for a declaration that ends in `;`.
    pub fn item_end(&self, at: usize) -> Option<usize> {
        match first_of(&self.product, at)? {
            (open, '{') => closing(&self.product, open),
            _ => None,
        }
    }
}

/// Tests in files of their own, and this checker with its planted breaches.
fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/") || path.starts_with("src/tidy")
}

/// The bracket that closes the one at `open`.
pub(super) fn closing(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0i32;
    for (at, c) in code[open..].char_indices() {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(open + at);
        }
    }
    None
}

/// The first `{` or `;` after `from` outside parentheses and square brackets (`[u8; 4]` is not the end of a signature).
fn first_of(code: &str, from: usize) -> Option<(usize, char)> {
    let mut depth = 0i32;
    for (at, c) in code[from..].char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' | ';' if depth == 0 => return Some((from + at, c)),
            _ => {}
        }
    }
    None
}

fn blank(text: &str, from: usize, to: usize) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for byte in &mut bytes[from..to] {
        if *byte != b'\n' {
            *byte = b' ';
        }
    }
    // Whole characters were replaced by spaces: still UTF-8.
    String::from_utf8(bytes).expect("spaces for whole characters")
}

fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut product = code.to_string();
    while let Some(at) = product.find(MARK) {
        let end = match first_of(&product, at + MARK.len()) {
            Some((open, '{')) => closing(&product, open).map_or(product.len(), |close| close + 1),
            Some((end, _)) => end + 1,
            None => product.len(),
        };
        product = blank(&product, at, end);
    }
    product
}

/// Code and comments, each with everything else as spaces.
fn views(text: &str) -> (String, String) {
    let (mut code, mut comments) = (text.to_string(), blank(text, 0, text.len()).into_bytes());
    let mut at = 0;
    while at < text.len() {
        let (end, is_comment) = token(text, at);
        if is_comment {
            comments[at..end].copy_from_slice(&text.as_bytes()[at..end]);
        }
        if is_comment || end - at > 1 {
            code = blank(&code, at, end);
        }
        at = end.max(at + text[at..].chars().next().map_or(1, char::len_utf8));
    }
    (
        code,
        String::from_utf8(comments).expect("whole comments in spaces"),
    )
}

/// End of the comment or literal that begins at `at` (or `at` itself), and whether it is a comment.
fn token(text: &str, at: usize) -> (usize, bool) {
    let rest = &text[at..];
    let until = |pattern: &str, from: usize| {
        rest[from..]
            .find(pattern)
            .map_or(rest.len(), |i| from + i + pattern.len())
    };
    if rest.starts_with("//") {
        return (at + rest.find('\n').unwrap_or(rest.len()), true);
    }
    if rest.starts_with("/*") {
        return (at + until("*/", 2), true);
    }
    if rest.starts_with('"') {
        return (at + escaped_end(rest, '"'), false);
    }
    let after_name = text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    let raw = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'));
    if let (Some(raw), false) = (raw, after_name) {
        let hashes = raw.len() - raw.trim_start_matches('#').len();
        if raw[hashes..].starts_with('"') {
            let open = rest.len() - raw.len() + hashes + 1;
            return (
                at + until(&format!("\"{}", "#".repeat(hashes)), open),
                false,
            );
        }
    }
    // A character, not a lifetime: 'x' or '\…'.
    let mut chars = rest.chars().skip(1);
    if rest.starts_with('\'')
        && (rest[1..].starts_with('\\') || (chars.next().is_some() && chars.next() == Some('\'')))
    {
        return (at + escaped_end(rest, '\''), false);
    }
    (at, false)
}

/// Length of a literal that opens with `quote`, which a backslash escapes inside.
fn escaped_end(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.len()
}
