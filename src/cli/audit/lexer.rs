//! Words, literals and symbols of SQL.
//!
//! Invariant: unquoted names are lower case, as SQL folds them here; quoted ones are as written. Knows no grammar.

use std::fmt;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    /// An unquoted word in lower case: a name or a keyword.
    Name(String),
    /// A name in double quotes.
    Quoted(String),
    /// A string in single quotes.
    Text(String),
    Number(String),
    Symbol(&'static str),
}

impl Token {
    /// Whether this is the keyword (in lower case) or symbol.
    pub fn is(&self, word: &str) -> bool {
        match self {
            Token::Name(name) => name == word,
            Token::Symbol(symbol) => *symbol == word,
            _ => false,
        }
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Token::Name(text) | Token::Number(text) => write!(f, "`{text}`"),
            Token::Quoted(text) => write!(f, "`\"{text}\"`"),
            Token::Text(text) => write!(f, "'{text}'"),
            Token::Symbol(symbol) => write!(f, "`{symbol}`"),
        }
    }
}

/// Longer symbols first.
const SYMBOLS: [&str; 24] = [
    "=>", "<>", "!=", "<=", ">=", "||", "::", "=", "<", ">", "(", ")", ",", ".", "*", "+", "-",
    "/", "%", ";", "[", "]", "{", "}",
];

/// Cuts the text into tokens; comments are left out.
///
/// # Errors
/// A character or an open quote or comment that is no SQL.
pub fn lex(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = vec![];
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let used = if rest.starts_with("--") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").ok_or("a comment that does not end")? + 2
        } else if first == '\'' || first == '"' {
            let (content, used) = quoted(rest, first)?;
            tokens.push(if first == '"' {
                Token::Quoted(content)
            } else {
                Token::Text(content)
            });
            used
        } else if first.is_alphabetic() || first == '_' {
            let used = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            tokens.push(Token::Name(rest[..used].to_lowercase()));
            used
        } else if first.is_ascii_digit() {
            let used = number(rest);
            tokens.push(Token::Number(rest[..used].to_owned()));
            used
        } else {
            let symbol = SYMBOLS.iter().find(|symbol| rest.starts_with(**symbol));
            let symbol = symbol.ok_or_else(|| format!("the character `{first}`"))?;
            tokens.push(Token::Symbol(symbol));
            symbol.len()
        };
        rest = rest[used..].trim_start();
    }
    Ok(tokens)
}

/// Content of a quoted text at the beginning of `rest`, and its whole length; a doubled quote stands for one.
fn quoted(rest: &str, quote: char) -> Result<(String, usize), String> {
    let mut content = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            content.push(c);
        } else if chars.peek().is_some_and(|(_, next)| *next == quote) {
            content.push(quote);
            chars.next();
        } else {
            return Ok((content, at + 1));
        }
    }
    Err(format!("a {quote} that does not end"))
}

/// Length of the number at the beginning of `rest`.
fn number(rest: &str) -> usize {
    let digits = |from: usize| {
        rest[from..]
            .find(|c: char| !c.is_ascii_digit())
            .map_or(rest.len(), |end| from + end)
    };
    let mut end = digits(0);
    if rest[end..].starts_with('.') {
        end = digits(end + 1);
    }
    if rest[end..].starts_with(['e', 'E']) {
        let sign = usize::from(rest[end + 1..].starts_with(['+', '-']));
        let exponent = digits(end + 1 + sign);
        if exponent > end + 1 + sign {
            end = exponent;
        }
    }
    end
}
