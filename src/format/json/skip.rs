//! Values that no column asks for: read over, and still held to every rule of JSON.
//!
//! Invariant: what is skipped is checked as strictly as what is kept, duplicate keys included. Nesting is bounded,
//! so the recursion is too.

use super::reader::{Fault, MAX_DEPTH, Reader};

/// The keys of the objects being read that are not known by number, innermost object last.
#[derive(Default)]
pub(super) struct Keys {
    bytes: Vec<u8>,
    /// Start and end of each key in `bytes`.
    spans: Vec<(usize, usize)>,
}

impl Keys {
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.spans.clear();
    }

    /// Where the keys of an object that begins now will stand.
    #[inline]
    pub fn open(&self) -> usize {
        self.spans.len()
    }

    /// Reads a key from its opening quote and keeps it.
    pub fn read(&mut self, input: &mut Reader<'_>) -> Result<(), Fault> {
        let start = self.bytes.len();
        input.string_into(&mut self.bytes)?;
        self.spans.push((start, self.bytes.len()));
        Ok(())
    }

    pub fn push(&mut self, key: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.spans.push((start, self.bytes.len()));
    }

    /// Forgets the keys of the object opened at `base`, which must differ from each other.
    #[inline]
    pub fn close(&mut self, base: usize) -> Result<(), Fault> {
        if self.spans.len() == base {
            Ok(())
        } else {
            self.compare(base)
        }
    }

    fn compare(&mut self, base: usize) -> Result<(), Fault> {
        let bytes = &self.bytes;
        let key = |span: &(usize, usize)| &bytes[span.0..span.1];
        let spans = &mut self.spans[base..];
        let start = spans[0].0;
        let twice = if spans.len() <= 8 {
            (1..spans.len()).any(|i| spans[..i].iter().any(|other| key(other) == key(&spans[i])))
        } else {
            spans.sort_unstable_by(|a, b| key(a).cmp(key(b)));
            spans.windows(2).any(|pair| key(&pair[0]) == key(&pair[1]))
        };
        self.spans.truncate(base);
        self.bytes.truncate(start);
        if twice {
            Err(Fault::DuplicateKey)
        } else {
            Ok(())
        }
    }
}

/// Reads over one value that lies inside `depth` objects and arrays.
///
/// `scratch` takes the meaning of escaped strings, which nobody reads: unescaping is what checks them.
pub(super) fn skip(
    input: &mut Reader<'_>,
    depth: u32,
    keys: &mut Keys,
    scratch: &mut Vec<u8>,
) -> Result<(), Fault> {
    match input.peek() {
        b'"' => {
            let text = input.string()?;
            if text.escaped {
                scratch.clear();
                input.unescape(text, scratch)?;
            }
            Ok(())
        }
        b'{' => skip_object(input, depth + 1, keys, scratch),
        b'[' => skip_array(input, depth + 1, keys, scratch),
        b't' => input.literal(b"true"),
        b'f' => input.literal(b"false"),
        b'n' => input.literal(b"null"),
        b'-' | b'0'..=b'9' => input.number().map(|_| ()),
        _ => Err(input.fault(Fault::Value)),
    }
}

fn skip_object(
    input: &mut Reader<'_>,
    depth: u32,
    keys: &mut Keys,
    scratch: &mut Vec<u8>,
) -> Result<(), Fault> {
    if depth > MAX_DEPTH {
        return Err(Fault::Depth);
    }
    input.pos += 1;
    input.white();
    if input.peek() == b'}' {
        input.pos += 1;
        return Ok(());
    }
    let base = keys.open();
    loop {
        if input.peek() != b'"' {
            return Err(input.fault(Fault::Key));
        }
        keys.read(input)?;
        input.punctuation(b':', Fault::Colon)?;
        skip(input, depth, keys, scratch)?;
        if !input.more(b'}', Fault::ObjectEnd)? {
            break;
        }
    }
    keys.close(base)
}

fn skip_array(
    input: &mut Reader<'_>,
    depth: u32,
    keys: &mut Keys,
    scratch: &mut Vec<u8>,
) -> Result<(), Fault> {
    if depth > MAX_DEPTH {
        return Err(Fault::Depth);
    }
    input.pos += 1;
    input.white();
    if input.peek() == b']' {
        input.pos += 1;
        return Ok(());
    }
    loop {
        skip(input, depth, keys, scratch)?;
        if !input.more(b']', Fault::ArrayEnd)? {
            return Ok(());
        }
    }
}
