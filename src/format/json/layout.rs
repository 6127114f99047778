//! The usual order of keys in the objects of a topic, learned from its records.
//!
//! Invariant: learning changes the speed only, never the result. A key is first compared, as raw bytes, with the one
//! that followed the same predecessor last time and the time before; only another order costs a look-up, and only a
//! key never seen is scanned twice. What is learned is bounded, whatever keys a topic holds.

use super::column::Session;
use super::reader::{Expected, Fault, Reader};
use hashbrown::HashMap;

/// Undeclared keys that are remembered; further ones are still checked, but looked up each time.
const MAX_LEARNED: usize = 128;
/// Longer keys are not remembered.
const MAX_KEY: usize = 256;

/// Where the value of a key goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Skip,
    Column(u32),
    /// A nested object with columns in it: the number of its layout.
    Object(u32),
    /// The value is read once for each target of this list.
    Several(u32),
}

struct Name {
    target: Target,
    /// The object, by its running number, that held this key last.
    seen: u64,
}

/// One spelling of a name. Key 0 stands for the beginning of the object.
struct Key {
    /// The bytes as they stand in the record, quotes included.
    quoted: Expected,
    name: u32,
    /// The keys that followed last time and before that; 0 for none.
    next: [u32; 2],
}

pub(super) struct Layout {
    names: Vec<Name>,
    keys: Vec<Key>,
    by_name: HashMap<Box<[u8]>, u32>,
    by_quoted: HashMap<Box<[u8]>, u32>,
    declared: usize,
    /// Running number of the object being read.
    object: u64,
}

impl Layout {
    pub fn new() -> Self {
        let start = Key {
            quoted: Expected::new(b""),
            name: 0,
            next: [0; 2],
        };
        let names = vec![Name {
            target: Target::Skip,
            seen: 0,
        }];
        Layout {
            names,
            keys: vec![start],
            by_name: HashMap::new(),
            by_quoted: HashMap::new(),
            declared: 0,
            object: 0,
        }
    }

    /// Declares a key, in the order in which records are expected to have it.
    pub fn declare(&mut self, name: &str, target: Target) {
        let number = self.add_name(name.as_bytes(), target);
        self.declared += 1;
        let plain = !name
            .bytes()
            .any(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
        if plain {
            let previous = self.keys.len() - 1;
            let key = self.add_key(format!("\"{name}\"").as_bytes(), number);
            self.keys[previous].next[0] = key;
        }
    }

    pub fn declared(&self, name: &str) -> Option<Target> {
        self.by_name
            .get(name.as_bytes())
            .map(|number| self.names[*number as usize].target)
    }

    pub fn redirect(&mut self, name: &str, target: Target) {
        if let Some(number) = self.by_name.get(name.as_bytes()) {
            self.names[*number as usize].target = target;
        }
    }

    /// Begins an object. Its keys are told apart from those of every other one by its number.
    #[inline(always)]
    pub fn open(&mut self) {
        self.object += 1;
    }

    /// Reads the key that follows key number `previous` (0 at the beginning). Returns its number, to be handed in
    /// as the next `previous`, and where its value goes.
    #[inline(always)]
    pub fn key(
        &mut self,
        input: &mut Reader<'_>,
        previous: u32,
        session: &mut Session,
    ) -> Result<(u32, Target), Fault> {
        let [guess, other] = self.keys[previous as usize].next;
        if guess != 0 && input.take(&self.keys[guess as usize].quoted) {
            return self.meet(guess);
        }
        if other != 0 && input.take(&self.keys[other as usize].quoted) {
            self.keys[previous as usize].next = [other, guess];
            return self.meet(other);
        }
        input.aside(|input| self.search(input, previous, session))
    }

    #[inline(always)]
    fn meet(&mut self, key: u32) -> Result<(u32, Target), Fault> {
        let target = self.mark(self.keys[key as usize].name)?;
        Ok((key, target))
    }

    #[inline(always)]
    fn mark(&mut self, name: u32) -> Result<Target, Fault> {
        let name = &mut self.names[name as usize];
        if name.seen == self.object {
            return Err(Fault::DuplicateKey);
        }
        name.seen = self.object;
        Ok(name.target)
    }

    #[inline(never)]
    fn search(
        &mut self,
        input: &mut Reader<'_>,
        previous: u32,
        session: &mut Session,
    ) -> Result<(u32, Target), Fault> {
        if input.peek() != b'"' {
            return Err(input.fault(Fault::Key));
        }
        let start = input.pos;
        let text = input.string()?;
        let quoted = &input.bytes[start..input.pos];
        if let Some(key) = self.by_quoted.get(quoted).copied() {
            self.follow(previous, key);
            return self.meet(key);
        }
        session.scratch.clear();
        let meaning = if text.escaped {
            input.unescape(text, &mut session.scratch)?;
            &session.scratch[..]
        } else {
            text.raw
        };
        // Whether a name is remembered depends on its meaning alone, so that two spellings of it are told to be one.
        let name = match self.by_name.get(meaning).copied() {
            Some(name) => name,
            None if meaning.len() <= MAX_KEY && self.names.len() <= self.declared + MAX_LEARNED => {
                self.add_name(meaning, Target::Skip)
            }
            None => {
                session.keys.push(meaning);
                return Ok((previous, Target::Skip));
            }
        };
        let target = self.mark(name)?;
        if quoted.len() > 2 * MAX_KEY || self.keys.len() > 2 * (self.declared + MAX_LEARNED) {
            return Ok((previous, target));
        }
        let key = self.add_key(quoted, name);
        self.follow(previous, key);
        Ok((key, target))
    }

    fn follow(&mut self, previous: u32, key: u32) {
        let next = &mut self.keys[previous as usize].next;
        *next = [key, next[0]];
    }

    fn add_name(&mut self, name: &[u8], target: Target) -> u32 {
        let number = self.names.len() as u32;
        self.names.push(Name { target, seen: 0 });
        self.by_name.insert(name.into(), number);
        number
    }

    fn add_key(&mut self, quoted: &[u8], name: u32) -> u32 {
        let number = self.keys.len() as u32;
        self.keys.push(Key {
            quoted: Expected::new(quoted),
            name,
            next: [0; 2],
        });
        self.by_quoted.insert(quoted.into(), number);
        number
    }
}
