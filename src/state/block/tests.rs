//! Tests of blocks: golden bytes, round trips, cutting by the limit, damage.

use super::*;
use crate::state::values::{Column, Texts};
use crate::state::{Change, hex};
use expect_test::expect_file;

pub(super) const TYPES: [StateType; 4] = [
    StateType::I64,
    StateType::I128,
    StateType::F64,
    StateType::Bytes,
];

pub(super) fn header() -> Header {
    Header {
        fingerprint: 0x0123_4567_89ab_cdef,
        sub_topology: "clicks".into(),
        partition: 3,
        producers: 16,
        epoch: 300,
        nonce: 0xfedc_ba98_7654_3210,
        watermark: 1_767_225_600_000,
        idle: false,
        part: 0,
        parts: 1,
    }
}

pub(super) fn partials() -> Partials {
    let mut keys = ByteColumn::default();
    [&b"\x01a\x00"[..], b"", b"\x01longer\x00"]
        .iter()
        .for_each(|k| keys.push(k));
    Partials {
        window_ends: vec![15_000, 30_000, 15_000],
        keys,
        rows: vec![1, 200, u64::MAX],
        first_offsets: vec![-1, 1_000_000, 999_999],
        last_offsets: vec![-1, 1_000_300, i64::MAX],
        states: vec![
            StateColumn::I64(Column::from_iter([Some(1), Some(-200), Some(i64::MIN)])),
            StateColumn::I128(Column::from_iter([Some(i128::MAX), None, Some(0)])),
            StateColumn::F64(Column::from_iter([None, None, Some(-0.5)])),
            StateColumn::Bytes(Texts::from_iter([
                Some(Box::from(&b"x"[..])),
                Some(Box::from(&b""[..])),
                None,
            ])),
        ],
        carried: vec![
            Carried {
                entry: 0,
                timestamp: -1,
                key: None,
                value: Some(b"{}".to_vec()),
            },
            Carried {
                entry: 2,
                timestamp: 14_999,
                key: Some(vec![]),
                value: None,
            },
        ],
    }
}

pub(super) fn changes() -> Changes {
    let mut changes = Changes::default();
    changes.push(0, Change::Clear { prefix: b"w1" });
    changes.push(
        0,
        Change::Put {
            key: b"w2k",
            value: b"\x00\x02",
        },
    );
    changes.push(
        1,
        Change::Put {
            key: b"",
            value: b"",
        },
    );
    changes.push(255, Change::Delete { key: b"w2j" });
    changes
}

fn one(blocks: Vec<Vec<u8>>) -> Vec<u8> {
    assert_eq!(blocks.len(), 1);
    blocks.into_iter().next().expect("a block")
}

pub(super) fn decoded_partials(block: &[u8], types: &[StateType]) -> (Header, Partials) {
    match decode(block, types).expect("decode") {
        (header, Body::Partials(partials)) => (header, partials),
        other => panic!("{other:?}"),
    }
}

pub(super) fn decoded_changes(block: &[u8]) -> (Header, Changes) {
    match decode(block, &[]).expect("decode") {
        (header, Body::Changes(changes)) => (header, changes),
        other => panic!("{other:?}"),
    }
}

#[test]
fn golden_bytes_stay_what_they_are() {
    let empty = Partials {
        states: vec![StateColumn::new(StateType::I64)],
        ..Partials::default()
    };
    let idle = Header {
        idle: true,
        watermark: i64::MIN,
        partition: -1,
        ..header()
    };
    let with_facts = Changes {
        facts: Some(b"facts".to_vec()),
        ..changes()
    };
    let blocks = [
        (
            "partials",
            one(encode_partials(&header(), &partials(), 1 << 20)),
        ),
        (
            "no partials, idle, no watermark",
            one(encode_partials(&idle, &empty, 1 << 20)),
        ),
        (
            "changes",
            one(encode_changes(&header(), &changes(), 1 << 20)),
        ),
        (
            "changes with facts",
            one(encode_changes(&header(), &with_facts, 1 << 20)),
        ),
    ];
    let text: String = blocks
        .iter()
        .map(|(name, block)| hex::line(name, block))
        .collect();
    let golden = expect_file!["../golden/blocks.v1.txt"];
    golden.assert_eq(&text);
    // And the committed bytes are read as what they were written from.
    let committed = golden.data();
    assert_eq!(
        decoded_partials(&hex::parse(&committed, "partials"), &TYPES),
        (header(), partials())
    );
    assert_eq!(
        decoded_changes(&hex::parse(&committed, "changes with facts")),
        (header(), with_facts)
    );
}

#[test]
fn nothing_gives_one_block() {
    let empty = Partials {
        states: vec![StateColumn::new(StateType::F64)],
        ..Partials::default()
    };
    let block = one(encode_partials(&header(), &empty, 10));
    assert_eq!(
        decoded_partials(&block, &[StateType::F64]),
        (header(), empty)
    );
    let block = one(encode_changes(&header(), &Changes::default(), 10));
    assert_eq!(decoded_changes(&block), (header(), Changes::default()));
    let facts = Changes {
        facts: Some(vec![]),
        ..Changes::default()
    };
    let block = one(encode_changes(&header(), &facts, 10));
    assert_eq!(decoded_changes(&block), (header(), facts));
}

#[test]
fn a_count_with_a_key_of_eight_bytes_takes_about_fifteen() {
    let block = one(encode_partials(&header(), &counts(1000), 1 << 20));
    assert!(block.len() < 1000 * 15, "{} bytes", block.len());
}

fn counts(rows: usize) -> Partials {
    let mut keys = ByteColumn::default();
    (0..rows).for_each(|i| keys.push(&(i as u64).to_be_bytes()));
    Partials {
        window_ends: vec![1_767_225_615_000; rows],
        keys,
        rows: (0..rows as u64).map(|i| i % 50 + 1).collect(),
        first_offsets: (0..rows as i64).map(|i| 9_000_000 + i * 3).collect(),
        last_offsets: (0..rows as i64).map(|i| 9_000_100 + i * 3).collect(),
        states: vec![StateColumn::I64(
            (0..rows as i64).map(|i| Some(i % 50 + 1)).collect(),
        )],
        carried: Vec::new(),
    }
}

#[test]
fn many_rows_are_cut_into_well_filled_blocks() {
    let limit = 20_000;
    let blocks = encode_partials(&header(), &counts(10_000), limit);
    let bytes: usize = blocks.iter().map(Vec::len).sum();
    assert!(blocks.iter().all(|b| b.len() <= limit));
    assert!(
        blocks.len() <= bytes / limit * 3 / 2 + 1,
        "{} blocks for {bytes} bytes",
        blocks.len()
    );
}

#[test]
fn a_row_over_the_limit_goes_alone() {
    let mut partials = counts(100);
    partials.carried = vec![Carried {
        entry: 50,
        timestamp: 0,
        key: None,
        value: Some(vec![7; 5000]),
    }];
    let blocks = encode_partials(&header(), &partials, 1000);
    let over: Vec<&Vec<u8>> = blocks.iter().filter(|b| b.len() > 1000).collect();
    assert_eq!(over.len(), 1);
    let (_, alone) = decoded_partials(over[0], &[StateType::I64]);
    assert_eq!(
        (alone.keys.get(0), alone.keys.len()),
        (partials.keys.get(50), 1)
    );
    assert_eq!(
        alone.carried[0].entry, 0,
        "it points at its entry of this block"
    );

    let mut changes = Changes::default();
    for value in [&[1; 10][..], &[2; 500], &[3; 10], &[4; 10]] {
        changes.push(0, Change::Put { key: b"k", value });
    }
    let blocks = encode_changes(&header(), &changes, 200);
    let rows: Vec<usize> = blocks.iter().map(|b| decoded_changes(b).1.len()).collect();
    assert_eq!(rows, [1, 1, 2]);
}

#[test]
fn facts_that_do_not_fit_get_a_block_of_their_own() {
    let mut changes = Changes::default();
    changes.push(
        0,
        Change::Put {
            key: b"k",
            value: &[1; 100],
        },
    );
    changes.facts = Some(vec![9; 120]);
    let blocks = encode_changes(&header(), &changes, 240);
    let parts: Vec<(Header, Changes)> = blocks.iter().map(|b| decoded_changes(b)).collect();
    assert_eq!(parts.len(), 2);
    assert!(blocks.iter().all(|b| b.len() <= 240));
    assert_eq!((parts[0].1.len(), parts[0].1.facts.is_some()), (1, false));
    assert_eq!((parts[1].1.len(), &parts[1].1.facts), (0, &changes.facts));
    assert_eq!((parts[1].0.part, parts[1].0.parts), (1, 2));
}

#[test]
fn every_flipped_byte_and_every_cut_is_noticed() {
    for block in [
        one(encode_partials(&header(), &partials(), 1 << 20)),
        one(encode_changes(
            &header(),
            &Changes {
                facts: Some(vec![1]),
                ..changes()
            },
            1 << 20,
        )),
    ] {
        for i in 0..block.len() {
            let mut flipped = block.clone();
            flipped[i] ^= 1 << (i % 8);
            assert!(decode(&flipped, &TYPES).is_err(), "byte {i}");
            assert!(
                matches!(decode(&block[..i], &TYPES), Err(Error::Damaged { .. })),
                "cut to {i}"
            );
        }
        let longer = [&block[..], &[0]].concat();
        assert!(matches!(
            decode(&longer, &TYPES),
            Err(Error::Damaged { .. })
        ));
    }
}

#[test]
fn a_newer_version_is_too_new_whatever_follows() {
    let mut block = one(encode_changes(&header(), &changes(), 1 << 20));
    block[2] = 2;
    assert!(matches!(
        decode(&block, &[]),
        Err(Error::TooNew {
            found: 2,
            known: 1,
            ..
        })
    ));
    assert!(matches!(
        decode(&block[..3], &[]),
        Err(Error::TooNew { found: 2, .. })
    ));
}

#[test]
fn states_of_other_types_are_refused() {
    let block = one(encode_partials(&header(), &counts(3), 1 << 20));
    for types in [
        &[][..],
        &[StateType::I128],
        &[StateType::I64, StateType::I64],
    ] {
        assert!(
            matches!(decode(&block, types), Err(Error::Damaged { .. })),
            "{types:?}"
        );
    }
}

#[test]
fn changes_that_are_not_what_was_pushed_end_in_an_error() {
    let good = changes();
    for damaged in [
        Changes {
            count: 5,
            ..good.clone()
        },
        Changes {
            count: 3,
            ..good.clone()
        },
        Changes {
            bytes: good.bytes[..good.bytes.len() - 1].to_vec(),
            ..good.clone()
        },
        Changes {
            bytes: [&[9][..], &good.bytes[1..]].concat(),
            ..good.clone()
        },
    ] {
        let read: Vec<_> = damaged.iter().collect();
        assert!(read.len() <= 5);
        assert_eq!(read.iter().filter(|c| c.is_err()).count(), 1);
        assert!(read.last().is_some_and(Result::is_err));
    }
    assert!(good.iter().all(|c| c.is_ok()));
}
