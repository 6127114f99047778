//! JSON's lexical parts, read from the bytes of one record: white space, strings, literals.
//!
//! Invariant: never reads outside the record and never panics; on a fault `pos` stands at the offending byte. A
//! string that was read is valid UTF-8. Nothing is allocated here except what a caller's buffer needs to grow.

#[cfg(test)]
mod tests;

use thiserror::Error;

/// Deepest nesting of objects and arrays that is taken, the document itself included.
pub(super) const MAX_DEPTH: u32 = 128;

/// Why a record is not one well-formed document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum Fault {
    #[error("the record is empty")]
    Empty,
    #[error("the document is not an object")]
    NotObject,
    #[error("the record ends before the document")]
    Truncated,
    #[error("more bytes follow the document")]
    Trailing,
    #[error("a value was expected")]
    Value,
    #[error("a key in double quotes was expected")]
    Key,
    #[error("`:` was expected")]
    Colon,
    #[error("`,` or the end of the object was expected")]
    ObjectEnd,
    #[error("`,` or the end of the array was expected")]
    ArrayEnd,
    #[error("a digit was expected")]
    Digit,
    #[error("a number must not begin with 0")]
    LeadingZero,
    #[error("a control character stands unescaped in a string")]
    Control,
    #[error("not an escape sequence of JSON")]
    Escape,
    #[error("half of a surrogate pair")]
    Surrogate,
    #[error("not UTF-8")]
    Utf8,
    #[error("a key stands twice in one object")]
    DuplicateKey,
    #[error("nested deeper than 128 levels")]
    Depth,
}

/// A string as it stands in the record.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    /// What stands between the quotes.
    pub raw: &'a [u8],
    /// `raw` holds backslashes; whoever reads it must [`unescape`] it, for that is what checks them.
    pub escaped: bool,
}

/// A position in the bytes of one record.
#[derive(Clone)]
pub(super) struct Reader<'a> {
    pub bytes: &'a [u8],
    pub pos: usize,
}

/// Bytes, none of them 0, that are likely to come next, prepared for comparing.
pub(super) struct Expected {
    len: usize,
    /// The bytes as words, and which bytes of each word they are. They never equal the zeros behind a record's end.
    words: Box<[(u64, u64)]>,
}

impl Expected {
    pub fn new(bytes: &[u8]) -> Self {
        let mask = |len: usize| {
            if len < 8 {
                (1 << (8 * len)) - 1
            } else {
                u64::MAX
            }
        };
        let words = (0..bytes.len())
            .step_by(8)
            .map(|at| (word(bytes, at), mask(bytes.len() - at)));
        Expected {
            len: bytes.len(),
            words: words.collect(),
        }
    }
}

/// Where reading stopped, and why if it failed. The two fit into registers, as an error with a position would not.
pub(super) type Step = (usize, Result<(), Fault>);

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x8080_8080_8080_8080;

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, pos: 0 }
    }

    /// Lets a function that is not inlined go on from here. That it gets the position by value keeps this reader in
    /// registers: a position in memory would cost more than all comparisons of the usual path.
    #[inline(always)]
    pub fn step(&mut self, read: impl FnOnce(&'a [u8], usize) -> Step) -> Result<(), Fault> {
        let (pos, result) = read(self.bytes, self.pos);
        self.pos = pos;
        result
    }

    /// The same for a function that wants a reader.
    #[inline(always)]
    pub fn aside<T>(&mut self, read: impl FnOnce(&mut Reader<'a>) -> T) -> T {
        let mut copy = self.clone();
        let result = read(&mut copy);
        self.pos = copy.pos;
        result
    }

    /// The next byte; 0, which JSON allows nowhere, at the end.
    #[inline(always)]
    pub fn peek(&self) -> u8 {
        self.bytes.get(self.pos).copied().unwrap_or(0)
    }

    #[inline(always)]
    pub fn at_end(&self) -> bool {
        self.pos >= self.bytes.len()
    }

    #[inline(always)]
    pub fn white(&mut self) {
        if self.peek().wrapping_sub(1) < b' ' {
            self.aside(|input| input.white_run());
        }
    }

    fn white_run(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\t' | b'\r') {
            self.pos += 1;
        }
    }

    /// `fault`, or that the record has ended.
    #[inline(always)]
    pub fn fault(&self, fault: Fault) -> Fault {
        if self.at_end() {
            Fault::Truncated
        } else {
            fault
        }
    }

    /// Steps over `byte`, with white space before and after it.
    #[inline(always)]
    pub fn punctuation(&mut self, byte: u8, otherwise: Fault) -> Result<(), Fault> {
        if self.peek() != byte {
            self.white();
            if self.peek() != byte {
                return Err(self.fault(otherwise));
            }
        }
        self.pos += 1;
        self.white();
        Ok(())
    }

    /// Steps over what follows a member: true for a comma (and the white space after it), false for `close`.
    #[inline(always)]
    pub fn more(&mut self, close: u8, otherwise: Fault) -> Result<bool, Fault> {
        if !matches!(self.peek(), b',' | b'}' | b']') {
            self.white();
        }
        let byte = self.peek();
        if byte != b',' && byte != close {
            return Err(self.fault(otherwise));
        }
        self.pos += 1;
        if byte == b',' {
            self.white();
        }
        Ok(byte == b',')
    }

    /// Steps over `expected` if just its bytes come next.
    #[inline(always)]
    pub fn take(&mut self, expected: &Expected) -> bool {
        let mut at = self.pos;
        for (value, mask) in &expected.words {
            if word(self.bytes, at) & mask != *value {
                return false;
            }
            at += 8;
        }
        self.pos += expected.len;
        true
    }

    #[inline(always)]
    pub fn literal(&mut self, literal: &[u8]) -> Result<(), Fault> {
        for byte in literal {
            if self.peek() != *byte {
                return Err(self.fault(Fault::Value));
            }
            self.pos += 1;
        }
        Ok(())
    }

    /// Reads a string; `pos` stands at its opening quote.
    #[inline(always)]
    pub fn string(&mut self) -> Result<Text<'a>, Fault> {
        let start = self.pos + 1;
        let mut at = start;
        let mut escaped = false;
        let mut seen = 0;
        loop {
            let word = word(self.bytes, at);
            let stops = stops(word);
            if stops == 0 {
                seen |= word;
                at += 8;
                continue;
            }
            let first = stops & stops.wrapping_neg();
            seen |= word & (first - 1);
            at += (first.trailing_zeros() / 8) as usize;
            match self.bytes.get(at) {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    at += 2;
                }
                other => {
                    self.pos = at.min(self.bytes.len());
                    return Err(if other.is_some() {
                        Fault::Control
                    } else {
                        Fault::Truncated
                    });
                }
            }
        }
        let raw = &self.bytes[start..at];
        if seen & HIGH != 0
            && let Err(error) = std::str::from_utf8(raw)
        {
            self.pos = start + error.valid_up_to();
            return Err(Fault::Utf8);
        }
        self.pos = at + 1;
        Ok(Text { raw, escaped })
    }

    /// Reads a string and appends what it means to `out`.
    #[inline(always)]
    pub fn string_into(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        let text = self.string()?;
        if text.escaped {
            return self.aside(|input| input.unescape(text, out));
        }
        append(self.bytes, self.pos - 1 - text.raw.len(), self.pos - 1, out);
        Ok(())
    }

    /// Appends what the escaped `text` means, which was the last thing read; `pos` stays behind it.
    #[cold]
    pub fn unescape(&mut self, text: Text<'a>, out: &mut Vec<u8>) -> Result<(), Fault> {
        let end = self.pos;
        let mut inner = Reader::new(text.raw);
        if let Err(fault) = inner.unescape_all(out) {
            self.pos = end - 1 - text.raw.len() + inner.pos;
            return Err(fault);
        }
        Ok(())
    }

    fn unescape_all(&mut self, out: &mut Vec<u8>) -> Result<(), Fault> {
        while !self.at_end() {
            let rest = &self.bytes[self.pos..];
            let plain = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
            out.extend_from_slice(&rest[..plain]);
            self.pos += plain;
            if self.at_end() {
                break;
            }
            self.pos += 1;
            let byte = match self.peek() {
                b'"' => b'"',
                b'\\' => b'\\',
                b'/' => b'/',
                b'b' => 8,
                b'f' => 12,
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'u' => {
                    self.pos += 1;
                    let character = self.unicode()?;
                    let mut utf8 = [0; 4];
                    out.extend_from_slice(character.encode_utf8(&mut utf8).as_bytes());
                    continue;
                }
                _ => return Err(Fault::Escape),
            };
            out.push(byte);
            self.pos += 1;
        }
        Ok(())
    }

    /// The character of a `\u` escape or of a pair of them; `pos` stands behind the first `\u`.
    fn unicode(&mut self) -> Result<char, Fault> {
        let first = self.hex()?;
        if let Some(character) = char::from_u32(first) {
            return Ok(character);
        }
        // What is no character is half of a pair; the first half lies below 0xDC00.
        if first >= 0xDC00 || !self.bytes[self.pos..].starts_with(b"\\u") {
            return Err(Fault::Surrogate);
        }
        self.pos += 2;
        let second = self.hex()?;
        if !(0xDC00..0xE000).contains(&second) {
            return Err(Fault::Surrogate);
        }
        char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))
            .ok_or(Fault::Surrogate)
    }

    fn hex(&mut self) -> Result<u32, Fault> {
        let mut value = 0;
        for _ in 0..4 {
            let digit = (self.peek() as char).to_digit(16).ok_or(Fault::Escape)?;
            value = value * 16 + digit;
            self.pos += 1;
        }
        Ok(value)
    }
}

/// Appends `bytes[start..end]`: word by word where it is short, which most strings are.
#[inline(always)]
pub(super) fn append(bytes: &[u8], start: usize, end: usize, out: &mut Vec<u8>) {
    if end - start > 32 {
        out.extend_from_slice(&bytes[start..end]);
        return;
    }
    let len = out.len() + (end - start);
    let mut at = start;
    while at < end {
        out.extend_from_slice(&word(bytes, at).to_le_bytes());
        at += 8;
    }
    out.truncate(len);
}

/// Eight bytes from `at`, the first one lowest; zeros stand for what lies behind the end.
#[inline(always)]
pub(super) fn word(bytes: &[u8], at: usize) -> u64 {
    match bytes.get(at..at.wrapping_add(8)) {
        Some(word) => u64::from_le_bytes([
            word[0], word[1], word[2], word[3], word[4], word[5], word[6], word[7],
        ]),
        None => last_word(bytes, at),
    }
}

#[inline(always)]
fn last_word(bytes: &[u8], at: usize) -> u64 {
    let left = bytes.len().saturating_sub(at);
    if left == 0 {
        return 0;
    }
    if let Some(chunk) = bytes.last_chunk::<8>() {
        return u64::from_le_bytes(*chunk) >> (8 * (8 - left));
    }
    bytes[at..]
        .iter()
        .rev()
        .fold(0, |word, byte| word << 8 | *byte as u64)
}

/// Marks quotes, backslashes and control characters in their bytes' high bits. Only the lowest mark is exact: the
/// subtraction may borrow from the bytes above a hit.
#[inline(always)]
pub(super) fn stops(word: u64) -> u64 {
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let quote = quote.wrapping_sub(ONES) & !quote;
    let backslash = backslash.wrapping_sub(ONES) & !backslash;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (quote | backslash | control) & HIGH
}
