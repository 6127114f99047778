//! What folding hands out, and what it rejects.

use super::VERDICT_DRAINS;
use super::{CARRIED_PART, Fold, time::window_end};
use crate::batch::{Batch, Cause, Origin, SourceRows};

use crate::expr::fixtures::{greater, hundred_over};
use crate::fetch::{Fetch, TopicPartition};
use crate::operator::fixtures::{N, batch, batch_with, call, derived, window_plan};
use crate::operator::{NodeCounts, Reject, RejectOrigin};
use crate::plan::graph::{AggregateFunction, Window, WindowPlan};
use crate::spec::LatePolicy;
use crate::state::block::{Header, Partials, encode_partials};
use crate::state::keys::KeyEncoder;
use crate::state::partition::partition_of;
use crate::state::values::{Column, StateColumn};
use arrow_array::cast::AsArray;

use arrow_schema::DataType;
use std::sync::Arc;

fn process(fold: &mut Fold, batch: &Batch) -> (NodeCounts, Vec<Reject>) {
    let (mut counts, mut rejects) = (NodeCounts::default(), Vec::new());
    fold.process(batch, &mut counts, &mut rejects);
    assert_eq!(
        counts.received,
        counts.filtered + counts.used + counts.rejected
    );
    assert_eq!(rejects.len() as u64, counts.rejected);
    (counts, rejects)
}

/// Entries as text: `end key rows first..last count sum`.
fn shown(partials: &Partials) -> Vec<String> {
    let encoder = KeyEncoder::new(&[DataType::Utf8]).unwrap();
    let keys = encoder
        .decode(
            (0..partials.keys.len()).map(|i| partials.keys.get(i)),
            partials.keys.len(),
        )
        .unwrap();
    let (StateColumn::I64(counts), StateColumn::I128(sums)) =
        (&partials.states[0], &partials.states[1])
    else {
        panic!("other states");
    };
    let line = |i: usize| {
        let (end, rows) = (partials.window_ends[i], partials.rows[i]);
        let (first, last) = (partials.first_offsets[i], partials.last_offsets[i]);
        let sum = sums.get(i).map_or("NULL".to_owned(), |s| s.to_string());
        format!(
            "{end} {} {rows} {first}..{last} {} {sum}",
            keys[0].as_string::<i32>().value(i),
            counts.get(i).unwrap_or(0)
        )
    };
    (0..partials.rows.len()).map(line).collect()
}

fn drain(fold: &mut Fold) -> Vec<String> {
    fold.drain()
        .iter()
        .flat_map(|(_, partials)| shown(partials))
        .collect()
}

#[test]
fn rows_become_one_entry_per_key_and_window_in_first_seen_order() {
    let mut fold = Fold::new(&window_plan(), 1);
    for _ in 0..2 {
        // The second round goes through memory that the first one has used.
        let rows = [
            (Some(12), Some("b"), Some(1)),
            (Some(3), Some("b"), Some(2)),
            (Some(15), Some("a"), None),
            (Some(19), Some("b"), Some(4)),
        ];
        process(&mut fold, &batch(100, &rows));
        let (counts, _) = process(&mut fold, &batch(104, &[(Some(0), Some("b"), Some(8))]));
        assert_eq!((counts.received, counts.used), (1, 1));
        assert_eq!(
            drain(&mut fold),
            [
                "20 b 2 100..103 2 5",
                "10 b 2 101..104 2 10",
                "20 a 1 102..102 1 NULL"
            ]
        );
        assert!(fold.drain().is_empty());
    }
}

#[test]
fn a_key_goes_to_the_shard_of_its_bytes() {
    let mut fold = Fold::new(&window_plan(), 5);
    let pages: Vec<String> = (0..50).map(|i| format!("page-{i}")).collect();
    let rows: Vec<_> = pages
        .iter()
        .map(|page| (Some(1), Some(page.as_str()), Some(1)))
        .collect();
    process(&mut fold, &batch(0, &rows));
    let shards = fold.drain();
    assert!(shards.is_sorted_by_key(|(shard, _)| *shard));
    assert_eq!(shards.iter().map(|(_, p)| p.rows.len()).sum::<usize>(), 50);
    for (shard, partials) in shards {
        assert!((0..partials.keys.len()).all(|i| partition_of(partials.keys.get(i), 5) == shard));
        assert!(partials.first_offsets.is_sorted());
    }
}

#[test]
fn windows_are_floored_also_before_1970_and_with_an_offset() {
    let cases = [
        (0, 0, Some(10)),
        (9, 0, Some(10)),
        (10, 0, Some(20)),
        (-1, 0, Some(0)),
        (-10, 0, Some(0)),
        (-11, 0, Some(-10)),
        (2, 3, Some(3)),
        (3, 3, Some(13)),
        (-8, 3, Some(-7)),
        (i64::MAX, 0, None),
        (i64::MIN, 0, None),
        (i64::MIN, 3, None),
    ];
    for (time, offset_ms, end) in cases {
        assert_eq!(
            window_end(
                Window::Tumbling {
                    size_ms: 10,
                    offset_ms
                },
                time
            ),
            end,
            "{time} with {offset_ms}"
        );
    }
}

#[test]
fn rows_without_a_time_or_a_window_are_bad_timestamps() {
    let mut fold = Fold::new(&window_plan(), 1);
    let rows = [
        (None, Some("a"), Some(1)),
        (Some(i64::MAX), Some("a"), Some(1)),
        (Some(5), Some("a"), Some(1)),
    ];
    let (counts, rejects) = process(&mut fold, &batch(0, &rows));
    assert_eq!(counts.rejected, 2);
    assert!(rejects.iter().all(|r| r.cause == Cause::BadTimestamp));
    assert_eq!(drain(&mut fold), ["10 a 1 2..2 1 1"]);
}

#[test]
fn a_failing_argument_rejects_its_row_but_not_behind_a_filter() {
    let mut plan = window_plan();
    plan.aggregates[1].argument = Some(hundred_over(N));
    let rows = [
        (Some(5), Some("a"), Some(50)),
        (Some(6), Some("a"), Some(0)),
    ];
    let mut fold = Fold::new(&plan, 1);
    let (counts, rejects) = process(&mut fold, &batch(0, &rows));
    assert_eq!((counts.rejected, rejects[0].cause), (1, Cause::Expression));
    assert_eq!(drain(&mut fold), ["10 a 1 0..0 1 2"]);
    plan.aggregates[1].filter = Some(greater(N, 0));
    let mut fold = Fold::new(&plan, 1);
    assert_eq!(process(&mut fold, &batch(0, &rows)).0.rejected, 0);
    assert_eq!(drain(&mut fold), ["10 a 2 0..1 2 2"]);
}

#[test]
fn rows_that_where_drops_are_filtered_before_anything_can_fail() {
    let plan = WindowPlan {
        filter: Some(greater(N, 1)),
        ..window_plan()
    };
    let mut fold = Fold::new(&plan, 1);
    let (counts, _) = process(
        &mut fold,
        &batch(
            7,
            &[(None, Some("a"), Some(0)), (Some(1), Some("a"), Some(2))],
        ),
    );
    assert_eq!((counts.filtered, counts.used, counts.rejected), (1, 1, 0));
    assert_eq!(drain(&mut fold), ["10 a 1 8..8 1 2"]);
}

#[test]
fn rows_behind_the_watermark_stay_entries_of_their_own() {
    for late in [LatePolicy::Reject, LatePolicy::Drop] {
        let mut fold = Fold::new(
            &WindowPlan {
                late,
                ..window_plan()
            },
            1,
        );
        let rows = [
            (Some(5), Some("a"), Some(1)),
            (Some(6), Some("a"), Some(2)),
            (Some(7), Some("a"), Some(4)),
        ];
        process(&mut fold, &batch_with(20, &rows, &[1]));
        let drained = fold.drain();
        let partials = &drained[0].1;
        assert_eq!(shown(partials), ["10 a 2 20..22 2 5", "10 a 1 21..21 1 2"]);
        let [carried] = &partials.carried[..] else {
            panic!("one record is carried")
        };
        assert_eq!(
            (carried.entry, carried.timestamp, carried.key.as_deref()),
            (1, 1001, Some(&b"k"[..]))
        );
        let value = (late == LatePolicy::Reject).then_some(&b"v21"[..]);
        assert_eq!(carried.value.as_deref(), value);
    }
}

#[test]
fn a_carried_record_is_cut() {
    let mut fetch = Fetch::new(TopicPartition::new("input", 0));
    let long = vec![b'x'; CARRIED_PART + 1];
    fetch.push(0, 1, Some(&long), Some(&long));
    let Batch { columns, .. } = batch(0, &[(Some(5), Some("a"), Some(1))]);
    let rows = Arc::new(SourceRows {
        fetch,
        behind: vec![true],
    });
    let mut fold = Fold::new(&window_plan(), 1);
    process(
        &mut fold,
        &Batch {
            columns,
            origin: Origin::Source {
                rows,
                records: [0].into(),
            },
        },
    );
    let carried = fold.drain().remove(0).1.carried.remove(0);
    assert_eq!(carried.value.unwrap().len(), CARRIED_PART);
    assert_eq!(carried.key.unwrap().len(), CARRIED_PART);
}

#[test]
fn a_row_that_no_block_takes_is_rejected_with_its_record_and_the_largest_other_fits() {
    let mut fold = Fold::new(&window_plan(), 1);
    // The page is the key and the argument of MIN: each may take half of an entry.
    let (most, more) = ("x".repeat(349_998), "x".repeat(349_999));
    let rows = [
        (Some(5), Some(more.as_str()), Some(1)),
        (Some(5), Some(most.as_str()), Some(2)),
    ];
    let (counts, rejects) = process(&mut fold, &batch_with(40, &rows, &[0, 1]));
    assert_eq!((counts.used, counts.rejected), (1, 1));
    assert_eq!(rejects[0].cause, Cause::Unwritable);
    let RejectOrigin::Record { record, .. } = &rejects[0].origin else {
        panic!("another origin");
    };
    assert_eq!(*record, 0);
    let mut partials = fold.drain().remove(0).1;
    partials.carried[0].key = Some(vec![0; CARRIED_PART]);
    partials.carried[0].value = Some(vec![0; CARRIED_PART]);
    let header = Header::sample(&"clicks".repeat(10));
    let blocks = encode_partials(&header, &partials, 900_000);
    assert!(blocks[0].len() < 900_000, "{} bytes", blocks[0].len());
}

#[test]
fn expressions_can_read_the_window() {
    let mut plan = WindowPlan {
        reads_window: true,
        ..window_plan()
    };
    plan.aggregates[1] = call(
        AggregateFunction::Max,
        Some((5, plan.grouped.field(0).data_type().clone())),
        plan.grouped.field(0).data_type().clone(),
    );
    let mut fold = Fold::new(&plan, 1);
    process(
        &mut fold,
        &batch(
            0,
            &[
                (Some(5), Some("a"), Some(1)),
                (Some(25), Some("a"), Some(1)),
            ],
        ),
    );
    let drained = fold.drain();
    // Column 5 is window_time: the window's end - 1 ms.
    assert_eq!(
        drained[0].1.states[1],
        StateColumn::I64(Column::from_iter([Some(9), Some(29)]))
    );
}

#[test]
fn grouping_by_the_window_alone_needs_one_shard_and_derived_rows_have_no_offsets() {
    let plan = WindowPlan {
        keys: vec![],
        key_types: vec![],
        ..window_plan()
    };
    let mut fold = Fold::new(&plan, 7);
    process(
        &mut fold,
        &derived(&[(Some(5), Some("a"), Some(1)), (Some(6), Some("b"), Some(2))]),
    );
    let drained = fold.drain();
    assert_eq!(drained.len(), 1);
    let partials = &drained[0].1;
    assert_eq!(
        (&partials.rows[..], partials.keys.get(0)),
        (&[2][..], &[][..])
    );
    assert_eq!(
        (partials.first_offsets[0], partials.last_offsets[0]),
        (-1, -1)
    );
}

#[test]
fn folding_gives_up_where_every_row_is_a_new_group_and_tries_again_after_some_drains() {
    let mut fold = Fold::new(&window_plan(), 1);
    let unique: Vec<String> = (0..100_000).map(|i| i.to_string()).collect();
    let page = |i: usize| (Some(5), Some(unique[i].as_str()), Some(1));
    process(
        &mut fold,
        &batch(0, &(0..100_000).map(page).collect::<Vec<_>>()),
    );
    process(&mut fold, &batch(100_000, &[page(7), page(7)]));
    let drained = fold.drain();
    assert_eq!(
        drained[0].1.rows.len(),
        100_002,
        "two rows are passed through"
    );
    assert_eq!(drained[0].1.rows.iter().sum::<u64>(), 100_002);
    for _ in 1..VERDICT_DRAINS {
        process(&mut fold, &batch(100_002, &[page(7), page(7)]));
        assert_eq!(drain(&mut fold).len(), 2, "the verdict still holds");
    }
    process(&mut fold, &batch(100_002, &[page(7), page(7)]));
    assert_eq!(drain(&mut fold), ["10 7 2 100002..100003 2 2"]);
}

#[test]
fn discarded_rows_are_gone_and_memory_is_counted() {
    let mut fold = Fold::new(&window_plan(), 1);
    let empty = fold.bytes();
    process(&mut fold, &batch(0, &[(Some(5), Some("a"), Some(1))]));
    assert!(fold.bytes() > empty);
    fold.discard();
    assert!(fold.drain().is_empty());
}

#[test]
fn a_null_key_is_one_group() {
    let mut fold = Fold::new(&window_plan(), 1);
    process(
        &mut fold,
        &batch(
            0,
            &[
                (Some(5), None, Some(1)),
                (Some(6), None, Some(2)),
                (Some(7), Some(""), Some(4)),
            ],
        ),
    );
    assert_eq!(fold.drain()[0].1.rows, [2, 1]);
}
