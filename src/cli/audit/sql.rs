//! A reader for the one form of SQL that the auditor understands, independent of the engine's SQL:
//! `SELECT … FROM TUMBLE(source, time, size [, offset]) [WHERE …] GROUP BY …`.
//!
//! Invariant: what it accepts means what the engine says it means; anything else is refused by name, never guessed.

use super::lexer::{Token, lex};
use super::value::{Exact, Value};

/// The one form.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub source: String,
    pub time: String,
    pub size_ms: i64,
    pub offset_ms: i64,
    pub filter: Option<Condition>,
    /// Every group expression, `window_start` and the like among them.
    pub group: Vec<String>,
    pub items: Vec<Item>,
}

/// One column of the result.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    pub name: String,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// A group column, or one of the window's.
    Column(String),
    Aggregate {
        function: Function,
        argument: Option<String>,
        filter: Option<Condition>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    Count,
    Sum,
    Min,
    Max,
    Avg,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Condition {
    Compare(Operand, Comparison, Operand),
    IsNull(String),
    Not(Box<Condition>),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    Column(String),
    Literal(Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

type Result<T> = std::result::Result<T, String>;

/// Reads the query.
///
/// # Errors
/// What it contains that the auditor does not check.
pub fn parse(text: &str) -> Result<Query> {
    let mut parser = Parser {
        tokens: lex(text)?,
        at: 0,
        alias: None,
    };
    let query = parser.query()?;
    parser.skip(";");
    match parser.peek() {
        None => Ok(query),
        Some(token) => Err(format!("{token}")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    /// The name by which columns of the window may be qualified.
    alias: Option<String>,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    /// Takes a symbol or keyword if it comes next.
    fn skip(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|token| token.is(word));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, word: &str) -> Result<()> {
        if self.skip(word) {
            Ok(())
        } else {
            Err(self.found(&format!("`{}`", word.to_uppercase())))
        }
    }

    fn found(&self, wanted: &str) -> String {
        match self.peek() {
            Some(token) => format!("{token} where it expects {wanted}"),
            None => format!("the end of the query where it expects {wanted}"),
        }
    }

    fn name(&mut self) -> Result<String> {
        let name = match self.peek() {
            Some(Token::Name(name) | Token::Quoted(name)) => name.clone(),
            _ => return Err(self.found("a name")),
        };
        self.at += 1;
        Ok(name)
    }

    /// A column, perhaps qualified: the qualifier is checked by the caller's knowledge of one single table.
    fn column(&mut self) -> Result<String> {
        let first = self.name()?;
        if self.skip(".") {
            if self.alias.is_none() {
                self.alias = Some(first);
            } else if self.alias.as_ref() != Some(&first) {
                return Err(format!("a second table `{first}`"));
            }
            return self.name();
        }
        Ok(first)
    }

    fn query(&mut self) -> Result<Query> {
        self.expect("select")?;
        let mut items = vec![self.item()?];
        while self.skip(",") {
            items.push(self.item()?);
        }
        self.expect("from")?;
        let (source, time, size_ms, offset_ms) = self.tumble()?;
        let explicit = self.skip("as");
        let clause = ["where", "group", ";"]
            .iter()
            .any(|word| self.peek().is_some_and(|t| t.is(word)));
        if explicit || (self.peek().is_some() && !clause) {
            let alias = self.name()?;
            if self.alias.as_ref().is_some_and(|used| *used != alias) {
                return Err("columns of another table than the window's".to_owned());
            }
        }
        let filter = if self.skip("where") {
            Some(self.condition()?)
        } else {
            None
        };
        self.expect("group")?;
        self.expect("by")?;
        let mut group = vec![self.column()?];
        while self.skip(",") {
            group.push(self.column()?);
        }
        Ok(Query {
            source,
            time,
            size_ms,
            offset_ms,
            filter,
            group,
            items,
        })
    }

    fn tumble(&mut self) -> Result<(String, String, i64, i64)> {
        self.expect("tumble")?;
        self.expect("(")?;
        self.skip("table");
        let source = self.name()?;
        self.expect(",")?;
        let time = if self.skip("descriptor") {
            self.expect("(")?;
            let time = self.name()?;
            self.expect(")")?;
            time
        } else {
            self.name()?
        };
        self.expect(",")?;
        let size = self.interval()?;
        let offset = if self.skip(",") { self.interval()? } else { 0 };
        self.expect(")")?;
        if size <= 0 {
            return Err(format!("a window of {size} ms"));
        }
        Ok((source, time, size, offset))
    }

    /// `INTERVAL '15' SECOND` or `INTERVAL '15 seconds'`, in ms.
    fn interval(&mut self) -> Result<i64> {
        self.expect("interval")?;
        let text = match self.peek() {
            Some(Token::Text(text)) => text.clone(),
            Some(Token::Number(text)) => text.clone(),
            _ => return Err(self.found("the length of an interval")),
        };
        self.at += 1;
        let (number, unit) = match text.trim().split_once(char::is_whitespace) {
            Some((number, unit)) => (number.to_owned(), unit.trim().to_lowercase()),
            None => (text.trim().to_owned(), self.name()?),
        };
        let unit_ms = match unit.trim_end_matches('s') {
            "m" | "millisecond" => 1,
            "second" => 1000,
            "minute" => 60_000,
            "hour" => 3_600_000,
            "day" => 86_400_000,
            _ => return Err(format!("an interval in `{unit}`")),
        };
        let number: i64 = number
            .parse()
            .map_err(|_| format!("an interval of `{number}` {unit}"))?;
        number
            .checked_mul(unit_ms)
            .ok_or_else(|| "an interval beyond 64 bits".to_owned())
    }

    fn item(&mut self) -> Result<Item> {
        if self.peek().is_some_and(|token| token.is("*")) {
            return Err("`SELECT *`".to_owned());
        }
        let calls = self
            .tokens
            .get(self.at + 1)
            .is_some_and(|token| token.is("("));
        let (what, own_name) = if calls {
            (self.aggregate()?, None)
        } else {
            let column = self.column()?;
            (What::Column(column.clone()), Some(column))
        };
        let named = self.skip("as");
        let has_name = named
            || (matches!(self.peek(), Some(Token::Name(_) | Token::Quoted(_)))
                && !self.peek().is_some_and(|token| token.is("from")));
        let name = match own_name {
            _ if has_name => self.name()?,
            Some(name) => name,
            None if self
                .peek()
                .is_none_or(|next| next.is(",") || next.is("from")) =>
            {
                return Err("an aggregate without a name (write `AS name` behind it)".to_owned());
            }
            None => return Err(self.found("`AS name`")),
        };
        Ok(Item { name, what })
    }

    fn aggregate(&mut self) -> Result<What> {
        let name = self.name()?;
        let function = match name.to_lowercase().as_str() {
            "count" => Function::Count,
            "sum" => Function::Sum,
            "min" => Function::Min,
            "max" => Function::Max,
            "avg" => Function::Avg,
            _ => return Err(format!("the function `{name}`")),
        };
        self.expect("(")?;
        if self.skip("distinct") {
            return Err(format!("`{name}(DISTINCT …)`"));
        }
        let argument = match self.skip("*") {
            true if function == Function::Count => None,
            true => return Err(format!("`{name}(*)`")),
            false => Some(self.column()?),
        };
        self.expect(")")?;
        let filter = if self.skip("filter") {
            self.expect("(")?;
            self.expect("where")?;
            let condition = self.condition()?;
            self.expect(")")?;
            Some(condition)
        } else {
            None
        };
        Ok(What::Aggregate {
            function,
            argument,
            filter,
        })
    }

    fn condition(&mut self) -> Result<Condition> {
        let mut left = self.conjunction()?;
        while self.skip("or") {
            left = Condition::Or(Box::new(left), Box::new(self.conjunction()?));
        }
        Ok(left)
    }

    fn conjunction(&mut self) -> Result<Condition> {
        let mut left = self.factor()?;
        while self.skip("and") {
            left = Condition::And(Box::new(left), Box::new(self.factor()?));
        }
        Ok(left)
    }

    fn factor(&mut self) -> Result<Condition> {
        if self.skip("not") {
            return Ok(Condition::Not(Box::new(self.factor()?)));
        }
        if self.skip("(") {
            let inner = self.condition()?;
            self.expect(")")?;
            return Ok(inner);
        }
        let left = self.operand()?;
        if self.skip("is") {
            let not = self.skip("not");
            self.expect("null")?;
            let Operand::Column(name) = left else {
                return Err("`IS NULL` of a literal".to_owned());
            };
            let is_null = Condition::IsNull(name);
            return Ok(if not {
                Condition::Not(Box::new(is_null))
            } else {
                is_null
            });
        }
        let comparison = match self.peek() {
            Some(token) if token.is("=") => Comparison::Equal,
            Some(token) if token.is("<>") || token.is("!=") => Comparison::NotEqual,
            Some(token) if token.is("<") => Comparison::Less,
            Some(token) if token.is("<=") => Comparison::LessEqual,
            Some(token) if token.is(">") => Comparison::Greater,
            Some(token) if token.is(">=") => Comparison::GreaterEqual,
            _ => return Err(self.found("a comparison (=, <>, <, <=, >, >=, IS NULL)")),
        };
        self.at += 1;
        Ok(Condition::Compare(left, comparison, self.operand()?))
    }

    fn operand(&mut self) -> Result<Operand> {
        let negative = self.skip("-");
        let literal = match self.peek() {
            Some(Token::Number(text)) => {
                let text = format!("{}{text}", if negative { "-" } else { "" });
                let exact = Exact::parse(&text).ok_or_else(|| format!("the number {text}"))?;
                Value::Exact(exact)
            }
            _ if negative => return Err(self.found("a number")),
            Some(Token::Text(text)) => Value::Text(text.clone()),
            Some(token) if token.is("true") => Value::Bool(true),
            Some(token) if token.is("false") => Value::Bool(false),
            _ => return self.column().map(Operand::Column),
        };
        self.at += 1;
        Ok(Operand::Literal(literal))
    }
}

#[cfg(test)]
mod tests;
