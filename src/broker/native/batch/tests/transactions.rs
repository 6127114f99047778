//! Transactions of several producers, interleaved at random, against a model that knows how each one ended.
//!
//! Invariant: the model never looks at the list of aborted transactions: it marks the batches while it makes up the log.

use super::super::super::codec::compress::FORMS;
use super::encoder::{Bat, bat, marker};
use super::*;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;

struct Log {
    batches: Vec<Bat>,
    /// Whether the transaction of this batch was aborted.
    hidden: Vec<bool>,
    /// Producer, first offset, and the offset of the abort marker.
    aborted: Vec<(i64, i64, i64)>,
}

/// One step in the life of a log, at the offset `base`.
fn batch_at(random: &mut StdRng, base: i64) -> Bat {
    let values: Vec<String> = (0..random.random_range(0..5))
        .map(|i| format!("value {base} {i}"))
        .collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    let mut batch = bat(base, &values).form(FORMS[random.random_range(0..FORMS.len())]);
    // Compaction leaves gaps, and batches without records.
    let gap = random.random_range(0..4);
    batch.last_delta += gap;
    if random.random_bool(0.3) {
        batch
            .records
            .iter_mut()
            .for_each(|r| r.delta += i64::from(gap));
    }
    batch
}

fn log(random: &mut StdRng) -> Log {
    let mut log = Log {
        batches: vec![],
        hidden: vec![],
        aborted: vec![],
    };
    // Where the open transaction of each producer begins, and its batches.
    let mut open: BTreeMap<i64, (i64, Vec<usize>)> = BTreeMap::new();
    let mut next = random.random_range(0..100);
    for _ in 0..random.random_range(1..40) {
        next += random.random_range(0..3) * random.random_range(0..5);
        let producer = random.random_range(0..4);
        let batch = match (random.random_range(0..10), open.contains_key(&producer)) {
            (0..3, true) => {
                let (first, batches) = open.remove(&producer).unwrap();
                let kind = random.random_range(0..2);
                if kind == 0 {
                    log.aborted.push((producer, first, next));
                    batches.iter().for_each(|batch| log.hidden[*batch] = true);
                }
                marker(next, producer, kind)
            }
            // A marker without a transaction, of a type from the future, or emptied by compaction.
            (3, _) => marker(next, producer, 9),
            (4, _) => Bat {
                records: vec![],
                ..marker(next, producer, 1)
            },
            // The same producer id outside of transactions: idempotent only.
            (5, _) => Bat {
                producer,
                ..batch_at(random, next)
            },
            (6, _) => batch_at(random, next),
            _ => {
                let own = open.entry(producer).or_insert((next, vec![]));
                own.1.push(log.batches.len());
                batch_at(random, next).of(producer)
            }
        };
        next = batch.base + i64::from(batch.last_delta.max(0)) + 1;
        log.batches.push(Bat {
            last_delta: batch.last_delta.max(0),
            ..batch
        });
        log.hidden.push(false);
    }
    log
}

fn visible(log: &Log, position: i64) -> Vec<Row> {
    let batches = log.batches.iter().zip(&log.hidden);
    batches
        .filter(|(batch, hidden)| !**hidden && batch.flags & encoder::CONTROL == 0)
        .flat_map(|(batch, _)| rows_of(batch))
        .filter(|row| row.0 >= position)
        .collect()
}

#[test]
fn readers_see_what_was_committed_and_nothing_else() {
    let mut random = StdRng::seed_from_u64(1);
    for round in 0..1500 {
        let log = log(&mut random);
        // A response begins with the batch in which the position lies.
        let first = random.random_range(0..log.batches.len());
        let batch = &log.batches[first];
        let position = batch.base + random.random_range(0..=i64::from(batch.last_delta));
        let overlapping = log
            .aborted
            .iter()
            .filter(|(_, _, marker)| *marker >= position);
        let mut aborted: Vec<_> = overlapping.map(|(id, from, _)| (*id, *from)).collect();
        aborted.shuffle(&mut random);
        let mut batches = Batches::new(encoded(&log.batches[first..]), aborted);
        let end = batches.next_offset().unwrap();
        let expected = visible(&log, position);
        let (rows, at) = pieces(&mut batches, position, &expected, &mut random);
        assert_eq!(rows, expected, "round {round}");
        assert_eq!(at, end, "round {round}");
    }
}

/// Reads in pieces of random size, and holds each position against what is to come.
fn pieces(
    batches: &mut Batches,
    mut position: i64,
    expected: &[Row],
    random: &mut StdRng,
) -> (Vec<Row>, i64) {
    let (mut decoder, mut into, mut all) = (Decoder::default(), fetch(), vec![]);
    while !batches.is_done() {
        let most = into.len() + random.random_range(0..5);
        let bytes = into.bytes() + random.random_range(1..100);
        let next = batches
            .take(position, most, bytes, &mut decoder, &mut into)
            .unwrap();
        assert!(next >= position);
        let taken = all.len() + into.len();
        let (before, after) = (
            taken.checked_sub(1).map(|i| expected[i].0),
            expected.get(taken),
        );
        assert!(before.is_none_or(|last| last < next) && after.is_none_or(|row| next <= row.0));
        position = next;
        if random.random_bool(0.4) {
            all.extend(rows(&std::mem::replace(&mut into, fetch())));
        }
    }
    all.extend(rows(&into));
    (all, position)
}

#[test]
fn a_producer_that_aborts_twice_is_visible_in_between() {
    let log = [
        bat(0, &["a"]).of(1),
        bat(1, &["b"]).of(2),
        marker(2, 1, 0),
        bat(3, &["c"]).of(1),
        marker(4, 1, 1),
        bat(5, &["d"]).of(1),
        bat(6, &["e"]),
        marker(7, 1, 0),
        bat(8, &["f"]).of(1),
    ];
    let mut batches = Batches::new(encoded(&log), vec![(1, 5), (1, 0)]);
    let (rows, _) = read(&mut batches, 0, 100).unwrap();
    let offsets: Vec<i64> = rows.iter().map(|row| row.0).collect();
    assert_eq!(offsets, [1, 3, 6, 8]);
}

#[test]
fn a_transaction_counts_from_the_batch_in_which_it_begins() {
    let log = [bat(5, &["a", "b", "c"]).of(1), marker(8, 1, 0)];
    for first in [4, 5, 7, 8] {
        let mut batches = Batches::new(encoded(&log), vec![(1, first)]);
        let (rows, _) = read(&mut batches, 0, 100).unwrap();
        assert_eq!(rows.is_empty(), first < 8, "{first}");
    }
}

#[test]
fn only_an_abort_marker_ends_an_aborted_transaction() {
    for (key, seen) in [
        ([0, 0, 0, 0], 1),
        ([0, 9, 0, 0], 1),
        ([0, 0, 1, 0], 0),
        ([0, 0, 0, 2], 0),
    ] {
        let mut other = marker(1, 1, 0);
        other.records[0].key = Some(key.to_vec());
        let log = [bat(0, &["a"]).of(1), other, bat(2, &["b"]).of(1)];
        let mut batches = Batches::new(encoded(&log), vec![(1, 0)]);
        let (rows, _) = read(&mut batches, 0, 100).unwrap();
        assert_eq!(rows.len(), seen, "{key:?}");
    }
}

#[test]
fn the_markers_that_kafka_writes_are_understood() {
    let abort = "0000000000000032 00000042 00000009 02 75288886 0030 00000000 0000018bcfe56800 0000018bcfe56800
        000000000000004d 0003 ffffffff 00000001 20 00 00 00 08 00000000 0c 000000000004 00";
    let commit = "0000000000000033 00000042 00000009 02 81165ece 0030 00000000 0000018bcfe56800 0000018bcfe56800
        000000000000004d 0003 ffffffff 00000001 20 00 00 00 08 00000001 0c 000000000004 00";
    for (hex, offset, seen) in [(abort, 50, &[60][..]), (commit, 51, &[][..])] {
        let before = bat(offset - 10, &["a"]).of(77).encode();
        let after = bat(60, &["b"]).of(77).encode();
        let log = [&before[..], &bytes_of(hex), &after].concat();
        // With a commit marker in its place, the transaction listed as aborted stays open.
        let mut batches = Batches::new(log.into(), vec![(77, offset - 10)]);
        let (rows, end) = read(&mut batches, 0, 100).unwrap();
        assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), seen);
        assert_eq!(end, 61);
    }
}
