//! Single behaviours that scripts do not show: what is written and read, HAVING, results that fail, memory.

use super::harness::{Chaos, Event, Harness};

use crate::expr::fixtures::{greater, hundred_over};
use crate::operator::fixtures::{call, window_plan};
use crate::operator::window::WindowOperator;
use crate::plan::graph::{AggregateFunction, WindowPlan};
use crate::state::Change;
use crate::state::block::Changes;
use crate::state::window_key::window_prefix;
use arrow_schema::DataType;

fn rows(rows: &[(i64, &str, i64)]) -> Event {
    Event::Rows(
        rows.iter()
            .map(|(t, page, n)| (*t, (*page).to_owned(), *n))
            .collect(),
        vec![],
    )
}

fn play(harness: &mut Harness, events: &[Event]) {
    events.iter().for_each(|event| harness.event(event));
}

fn sealed(harness: &mut Harness) -> Vec<String> {
    let mut changes = Changes::default();
    harness.op.seal(3, &mut changes);
    let shown = changes.iter().map(|change| match change.unwrap() {
        (3, Change::Put { key: [0], .. }) => "bookkeeping".to_owned(),
        (3, Change::Put { key: [1, ..], .. }) => "row".to_owned(),
        (
            3,
            Change::Clear {
                prefix: [1, end @ ..],
            },
        ) if end == window_prefix(10) => "clear".to_owned(),
        other => format!("{other:?}"),
    });
    shown.collect()
}

#[test]
fn a_transaction_seals_rows_touched_and_clears_instead_of_rows_of_a_window_it_fired() {
    let mut harness = Harness::new(&window_plan());
    play(
        &mut harness,
        &[rows(&[(1, "a", 1), (2, "b", 1), (1, "a", 1)])],
    );
    assert_eq!(sealed(&mut harness), ["row", "row"]);
    play(&mut harness, &[Event::Commit]);
    assert!(sealed(&mut harness).is_empty());
    play(
        &mut harness,
        &[
            rows(&[(3, "a", 1), (13, "a", 1)]),
            Event::Watermark(9),
            Event::Fire(10, 10),
        ],
    );
    assert_eq!(sealed(&mut harness), ["clear", "row", "bookkeeping"]);
    play(&mut harness, &[Event::Commit]);
    play(
        &mut harness,
        &[
            rows(&[(21, "z", 1)]),
            Event::Watermark(29),
            Event::Fire(10, 10),
            Event::Commit,
        ],
    );
    assert_eq!(harness.op.rows(), 0);
}

#[test]
fn missing_rows_are_read_once_per_block_and_only_where_the_store_has_more_than_memory() {
    let mut harness = Harness::new(&window_plan());
    play(
        &mut harness,
        &[rows(&[(1, "a", 1), (1, "b", 1)]), Event::Commit],
    );
    harness.chaos(Chaos::Save);
    play(&mut harness, &[rows(&[(1, "c", 1)]), Event::Commit]);
    assert_eq!(harness.store.reads.get(), 0, "memory has the whole window");
    harness.chaos(Chaos::SaveEvict);
    play(
        &mut harness,
        &[rows(&[
            (1, "a", 1),
            (1, "b", 1),
            (1, "new", 1),
            (11, "a", 1),
        ])],
    );
    assert_eq!(
        harness.store.reads.get(),
        1,
        "one read for the block; the other window is new"
    );
    play(&mut harness, &[rows(&[(1, "a", 1), (1, "new", 1)])]);
    assert_eq!(harness.store.reads.get(), 1, "all are in memory by now");
}

#[test]
fn unsaved_names_changed_and_cleared_rows_until_the_next_save() {
    let mut harness = Harness::new(&window_plan());
    play(
        &mut harness,
        &[rows(&[(1, "a", 1), (1, "b", 1)]), Event::Commit],
    );
    harness.chaos(Chaos::Save);
    let keys: Vec<Vec<u8>> = harness.store.rows.keys().cloned().collect();
    let unsaved = |harness: &Harness| {
        keys.iter()
            .map(|key| harness.op.unsaved(key))
            .collect::<Vec<_>>()
    };
    assert_eq!(unsaved(&harness), [false, false]);
    play(&mut harness, &[rows(&[(1, "a", 1)]), Event::Commit]);
    assert_eq!(unsaved(&harness), [true, false]);
    play(
        &mut harness,
        &[Event::Watermark(9), Event::Fire(10, 10), Event::Commit],
    );
    assert_eq!(unsaved(&harness), [true, true]);
    assert!(harness.op.unsaved(&[0]));
    harness.chaos(Chaos::Save);
    assert_eq!(unsaved(&harness), [false, false]);
    assert_eq!(
        harness.store.rows.keys().collect::<Vec<_>>(),
        [&[0]],
        "only the bookkeeping is left"
    );
}

#[test]
fn having_drops_rows_and_a_chunk_may_be_empty() {
    let plan = WindowPlan {
        having: Some(greater(5, 2)),
        ..window_plan()
    };
    let mut harness = Harness::new(&plan);
    play(
        &mut harness,
        &[
            rows(&[(1, "a", 1), (1, "b", 3), (1, "c", 2)]),
            Event::Watermark(9),
        ],
    );
    play(&mut harness, &[Event::Fire(1, 9), Event::Commit]);
    assert_eq!(harness.out, ["10 b 1 3 b", "watermark 9"]);
    let fired = harness.counts.1;
    assert_eq!((fired.received, fired.filtered, fired.used), (3, 2, 1));
}

#[test]
fn results_that_fail_are_rejected_with_their_window_and_key() {
    let mut plan = window_plan();
    plan.projection[4] = hundred_over(5);
    let mut harness = Harness::new(&plan);
    let input = rows(&[(1, "a", 5), (1, "b", 0), (1, "c", i64::MAX), (2, "c", 1)]);
    play(
        &mut harness,
        &[
            input,
            Event::Watermark(9),
            Event::Fire(10, 9),
            Event::Commit,
        ],
    );
    assert_eq!(harness.out.len(), 4, "{:?}", harness.out);
    let key = |page: &str| {
        format!(
            "window_start=1970-01-01T00:00:00, window_end=1970-01-01T00:00:00.010, window_time=1970-01-01T00:00:00.009, page={page}"
        )
    };
    assert!(harness.out[0].starts_with(&format!("rejected: SUM does not fit Int64: {}", key("c"))));
    assert!(
        harness.out[1].starts_with("rejected: 100 / 5: division by zero")
            && harness.out[1].contains(&key("b"))
    );
    assert_eq!(harness.out[2], "10 a 20 5 a");
    let fired = harness.counts.1;
    assert_eq!((fired.received, fired.rejected, fired.used), (3, 2, 1));
}

#[test]
fn groups_without_keys_and_aggregates_without_state_work() {
    let mut plan = window_plan();
    (plan.keys, plan.key_types) = (vec![], vec![]);
    plan.aggregates.insert(
        0,
        call(
            AggregateFunction::Max,
            Some((1, DataType::Utf8)),
            DataType::Utf8,
        ),
    );
    let mut harness = Harness::new(&plan);
    play(
        &mut harness,
        &[rows(&[(1, "a", 1), (2, "b", 2)]), Event::Commit],
    );
    harness.chaos(Chaos::SaveEvict);
    play(&mut harness, &[rows(&[(3, "c", 4)]), Event::Commit]);
    harness.chaos(Chaos::CrashStore);
    play(
        &mut harness,
        &[Event::Watermark(9), Event::Fire(10, 9), Event::Commit],
    );
    assert_eq!(harness.out[2], "10 c 3 7 a");
}

#[test]
fn adjacent_windows_without_keys_are_all_found_in_the_store() {
    let mut plan = window_plan();
    (plan.keys, plan.key_types) = (vec![], vec![]);
    plan.aggregates.insert(
        0,
        call(
            AggregateFunction::Max,
            Some((1, DataType::Utf8)),
            DataType::Utf8,
        ),
    );
    let mut harness = Harness::new(&plan);
    let input = rows(&[(1, "a", 1), (11, "b", 2), (21, "c", 4), (51, "d", 8)]);
    play(&mut harness, &[input, Event::Commit]);
    harness.chaos(Chaos::SaveEvict);
    harness.op = WindowOperator::open(&plan, &harness.store, "counts").unwrap();
    let rest = [Event::Watermark(99), Event::Fire(10, 9), Event::Commit];
    play(&mut harness, &rest);
    let expected = ["10 a 1 1 a", "20 b 1 2 b", "30 c 1 4 c", "60 d 1 8 d"];
    assert_eq!(harness.out[1..5], expected);
}

#[test]
fn memory_is_counted_and_given_back() {
    let mut harness = Harness::new(&window_plan());
    let pages: Vec<String> = (0..2000)
        .map(|i| format!("a page with a longer name {i}"))
        .collect();
    let input: Vec<_> = pages.iter().map(|page| (1, page.as_str(), 1)).collect();
    play(&mut harness, &[rows(&input)]);
    assert!(harness.op.changed_bytes() > 2000 * 30);
    play(&mut harness, &[Event::Commit]);
    let (held, unsaved) = harness.op.bytes();
    assert!(held > 2000 * 60 && unsaved == held, "{held} {unsaved}");
    harness.chaos(Chaos::SaveEvict);
    assert!(harness.op.bytes().0 < 1000);
    assert_eq!(harness.op.changed_bytes(), 0);
}

#[test]
fn foreign_changes_are_damage() {
    let mut harness = Harness::new(&window_plan());
    let key = [&[1][..], &window_prefix(10), b"\x01a\x00"].concat();
    for change in [
        Change::Put {
            key: &[2],
            value: &[],
        },
        Change::Put {
            key: &key,
            value: &[1, 2, 3],
        },
        Change::Put {
            key: &[0],
            value: &[],
        },
        Change::Delete { key: &key },
        Change::Clear { prefix: &[1, 2] },
    ] {
        assert!(harness.op.restore(change).is_err(), "{change:?}");
    }
}

#[test]
fn a_large_window_is_the_same_after_aborts_saves_and_restarts() {
    let many = |pages: std::ops::Range<i64>| {
        let page = |i: i64| (1, format!("page {:05}", i * 7919 % 15_000), i);
        Event::Rows(pages.map(page).collect(), vec![])
    };
    let run = |chaos: &[Chaos]| {
        let mut harness = Harness::new(&window_plan());
        play(&mut harness, &[many(0..10_000), Event::Commit]);
        for chaos in chaos {
            play(&mut harness, &[many(5_000..15_000)]);
            harness.chaos(*chaos);
            play(&mut harness, &[Event::Commit]);
            harness.chaos(*chaos);
        }
        let rest = [Event::Watermark(9), Event::Fire(4_000, 10), Event::Commit];
        play(&mut harness, &rest);
        harness.out
    };
    let undisturbed = run(&[Chaos::Save; 3]);
    assert_eq!(undisturbed.len(), 15_000 + 5);
    let disturbed = run(&[Chaos::Abort, Chaos::SaveEvict, Chaos::CrashStore]);
    assert!(disturbed == undisturbed, "rows differ");
}

/// By the rows that were added the changelog's owner knows how much of the log is alive. Bites: rows of an aborted transaction or
/// rows that come back from the store counted again, rows of windows that are gone.
#[test]
fn added_rows_are_counted_once_and_go_with_their_window() {
    let mut harness = Harness::new(&window_plan());
    let one = |time: i64, page: &str| rows(&[(time, page, 1)]);
    let mut step = |events: &[Event], chaos: Option<Chaos>, expected: u64| {
        events.iter().for_each(|event| harness.event(event));
        chaos.into_iter().for_each(|chaos| harness.chaos(chaos));
        assert_eq!(harness.op.added_rows(), expected, "{events:?}");
    };
    step(&[one(1, "a"), one(2, "b")], None, 0);
    step(&[Event::Commit], None, 2);
    step(&[one(3, "a"), one(12, "a")], Some(Chaos::Abort), 2);
    step(&[Event::Commit], Some(Chaos::SaveEvict), 3);
    step(&[one(4, "a"), one(4, "c"), Event::Commit], None, 4);
    step(
        &[Event::Watermark(9), Event::Fire(10, 10), Event::Commit],
        None,
        1,
    );
}
