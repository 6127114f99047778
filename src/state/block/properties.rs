//! Properties of blocks: what was encoded comes back whatever the limit, and no bytes make the decoder panic.

use super::tests::{TYPES, changes, decoded_changes, decoded_partials, header, partials};
use super::*;
use crate::state::Change;
use proptest::prelude::*;

type Entry = (
    i64,
    Vec<u8>,
    u64,
    i64,
    i64,
    (Option<i64>, Option<i128>, Option<i32>, Option<Vec<u8>>),
    Option<Vec<u8>>,
);

fn from_entries(entries: &[Entry]) -> Partials {
    let mut partials = Partials {
        states: TYPES.iter().map(|t| StateColumn::new(*t)).collect(),
        ..Partials::default()
    };
    for (i, (end, key, rows, first, last, states, carried)) in entries.iter().enumerate() {
        partials.window_ends.push(*end);
        partials.keys.push(key);
        partials.rows.push(*rows);
        partials.first_offsets.push(*first);
        partials.last_offsets.push(*last);
        for column in &mut partials.states {
            match column {
                StateColumn::I64(v) => v.push(states.0),
                StateColumn::I128(v) => v.push(states.1),
                StateColumn::F64(v) => v.push(states.2.map(f64::from)),
                StateColumn::Bytes(v) => v.push(states.3.as_deref().map(Into::into)),
            }
        }
        if let Some(value) = carried {
            let record = Carried {
                entry: i as u32,
                timestamp: *first,
                key: states.3.clone(),
                value: Some(value.clone()),
            };
            partials.carried.push(record);
        }
    }
    partials
}

fn entry() -> impl Strategy<Value = Entry> {
    let bytes = |max| prop::collection::vec(any::<u8>(), 0..max);
    let end = prop_oneof![Just(15_000i64), any::<i64>()];
    let states = (
        any::<Option<i64>>(),
        any::<Option<i128>>(),
        any::<Option<i32>>(),
        prop::option::of(bytes(20)),
    );
    (
        end,
        bytes(30),
        any::<u64>(),
        any::<i64>(),
        any::<i64>(),
        states,
        prop::option::weighted(0.2, bytes(200)),
    )
}

/// The entries of all blocks one after the other, their records pointing at them.
fn concatenated(blocks: &[Vec<u8>]) -> Partials {
    let mut whole = from_entries(&[]);
    for (i, block) in blocks.iter().enumerate() {
        let (read, part) = decoded_partials(block, &TYPES);
        assert_eq!(
            read,
            Header {
                part: i as u32,
                parts: blocks.len() as u32,
                ..header()
            }
        );
        let offset = whole.keys.len() as u32;
        whole.window_ends.extend(part.window_ends);
        part.keys.iter().for_each(|k| whole.keys.push(k));
        whole.rows.extend(part.rows);
        whole.first_offsets.extend(part.first_offsets);
        whole.last_offsets.extend(part.last_offsets);
        for (to, from) in whole.states.iter_mut().zip(part.states) {
            match (to, from) {
                (StateColumn::I64(to), StateColumn::I64(from)) => {
                    from.iter().for_each(|v| to.push(v));
                }
                (StateColumn::I128(to), StateColumn::I128(from)) => {
                    from.iter().for_each(|v| to.push(v));
                }
                (StateColumn::F64(to), StateColumn::F64(from)) => {
                    from.iter().for_each(|v| to.push(v));
                }
                (StateColumn::Bytes(to), StateColumn::Bytes(from)) => {
                    to.extend(from.iter().cloned());
                }
                other => panic!("{other:?}"),
            }
        }
        whole
            .carried
            .extend(part.carried.into_iter().map(|c| Carried {
                entry: c.entry + offset,
                ..c
            }));
    }
    whole
}

proptest! {
    #[test]
    fn partials_come_back_whatever_the_limit(entries in prop::collection::vec(entry(), 0..60), limit in 0..4000usize) {
        let partials = from_entries(&entries);
        let blocks = encode_partials(&header(), &partials, limit);
        prop_assert_eq!(concatenated(&blocks), partials);
        for block in &blocks {
            let rows = decoded_partials(block, &TYPES).1.keys.len();
            prop_assert!(block.len() <= limit || rows <= 1, "{} bytes, {} rows", block.len(), rows);
            prop_assert!(rows > 0 || blocks.len() == 1);
        }
    }

    #[test]
    fn changes_come_back_whatever_the_limit(
        pushed in prop::collection::vec((any::<u8>(), 0..3u8, prop::collection::vec(any::<u8>(), 0..200), prop::collection::vec(any::<u8>(), 0..200)), 0..40),
        facts in prop::option::of(prop::collection::vec(any::<u8>(), 0..300)),
        limit in 0..2000usize,
    ) {
        let pushed: Vec<(u8, Change<'_>)> = pushed.iter().map(|(node, kind, key, value)| (*node, match kind {
            0 => Change::Put { key, value },
            1 => Change::Delete { key },
            _ => Change::Clear { prefix: key },
        })).collect();
        let mut changes = Changes::default();
        pushed.iter().for_each(|(node, change)| changes.push(*node, *change));
        changes.facts = facts;
        let blocks = encode_changes(&header(), &changes, limit);
        let mut parts = Vec::new();
        for (i, block) in blocks.iter().enumerate() {
            let (read, part) = decoded_changes(block);
            prop_assert_eq!(read, Header { part: i as u32, parts: blocks.len() as u32, ..header() });
            prop_assert!(block.len() <= limit || part.len() <= 1);
            let last = i + 1 == blocks.len();
            prop_assert_eq!(&part.facts, if last { &changes.facts } else { &None });
            parts.push(part);
        }
        let read: Vec<(u8, Change<'_>)> = parts.iter().flat_map(Changes::iter).collect::<Result<_>>().expect("undamaged");
        prop_assert_eq!(read, pushed);
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200), kind in 0..4u8) {
        // With a right checksum, so that the reader behind it is reached; and without.
        let mut blocks = vec![frame::begin(&header(), Kind::Partials)];
        blocks[0][3] = kind;
        blocks[0].extend_from_slice(&body);
        frame::close_all(&mut blocks);
        if let Ok((_, Body::Changes(changes))) = decode(&blocks[0], &TYPES) {
            let _ = changes.iter().count();
        }
        prop_assert!(decode(&body, &TYPES).is_err());
    }

    #[test]
    fn a_changed_byte_behind_a_right_checksum_never_panics(at in any::<prop::sample::Index>(), byte: u8, changed: bool) {
        let block = if changed {
            encode_changes(&header(), &changes(), 1 << 20)
        } else {
            encode_partials(&header(), &partials(), 1 << 20)
        };
        let mut blocks = block;
        // Not magic and version, which are checked before the checksum.
        let place = 16 + at.index(blocks[0].len() - 16);
        blocks[0][place] = byte;
        frame::close_all(&mut blocks);
        if let Ok((_, Body::Changes(changes))) = decode(&blocks[0], &TYPES) {
            let _ = changes.iter().count();
        }
    }
}
