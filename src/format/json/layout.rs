//! The usual layout of the objects of a topic, learned from its records.
//!
//! Invariant: learning changes the speed only, never the result. An object is first compared with the usual members,
//! as raw bytes from the end of one value to the beginning of the next. Where it leaves them, each key is compared with
//! the two that followed its predecessor before; only a key in a new place costs a look-up. What is learned is bounded.

use super::column::Session;
use super::reader::{Expected, Fault, Reader};
use hashbrown::HashMap;

/// Undeclared keys that are remembered; further ones are still checked, but looked up each time.
const MAX_LEARNED: usize = 128;
/// A fallback among so many teaches the usual members anew.
const LEARN_EVERY: u32 = 1024;
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

/// A member of the usual object.
struct Member {
    /// What stands between the values: comma, key, colon and all white space.
    before: Expected,
    key: u32,
    target: Target,
}

/// A member met while learning: where what stands before its value is in the record.
struct Draft {
    start: usize,
    end: usize,
    key: u32,
    target: Target,
}

pub(super) struct Layout {
    usual: Vec<Member>,
    draft: Vec<Draft>,
    /// How often an object was not the usual one.
    fallbacks: u32,
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
            usual: vec![],
            draft: vec![],
            fallbacks: 0,
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

    /// Steps over what stands before the value of the usual member number `met`, if that comes next.
    #[inline(always)]
    pub fn usual(&self, input: &mut Reader<'_>, met: usize) -> Option<Target> {
        let member = self.usual.get(met)?;
        if !input.take(&member.before) {
            return None;
        }
        // There may be more white space than usual.
        input.white();
        Some(member.target)
    }

    /// Goes on with an object of which the first `met` members were the usual ones. Returns the number of the last
    /// key, and whether this object shall be learned.
    pub fn leave_usual(&mut self, met: usize) -> (u32, bool) {
        // The keys of one object are told apart from those of every other one by its number.
        self.object += 1;
        for member in &self.usual[..met] {
            let name = self.keys[member.key as usize].name;
            self.names[name as usize].seen = self.object;
        }
        self.draft.clear();
        self.fallbacks = self.fallbacks.wrapping_add(1);
        let last = if met == 0 { 0 } else { self.usual[met - 1].key };
        (
            last,
            self.fallbacks <= 4 || self.fallbacks.is_multiple_of(LEARN_EVERY),
        )
    }

    /// Notes a member of the object being learned; `bytes[start..end]` stand before its value.
    pub fn note(&mut self, start: usize, end: usize, key: u32, target: Target) {
        self.draft.push(Draft {
            start,
            end,
            key,
            target,
        });
    }

    /// Makes the noted members follow the first `met` usual ones.
    pub fn learn(&mut self, bytes: &[u8], met: usize) {
        self.usual.truncate(met);
        for member in self.draft.drain(..).take(MAX_LEARNED) {
            let before = Expected::new(&bytes[member.start..member.end]);
            self.usual.push(Member {
                before,
                key: member.key,
                target: member.target,
            });
        }
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
