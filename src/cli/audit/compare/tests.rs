//! Each planted error of an output is caught, under its own name, and nothing else is reported.

use super::*;

const COLUMNS: [&str; 2] = ["window_end", "count"];

fn group(end: i64, page: &str) -> GroupKey {
    GroupKey {
        end,
        key: vec![Value::Text(page.to_owned())],
    }
}

fn values(end: i64, count: i128) -> Vec<Value> {
    vec![Value::time_ms(end), Value::integer(count)]
}

/// Three closed windows of two pages, 1000 clicks each, and one window that is still open.
fn expected() -> BTreeMap<GroupKey, Expected> {
    let mut expected = BTreeMap::new();
    for (end, closed) in [(15, true), (30, true), (45, true), (60, false)] {
        for page in ["/a", "/b"] {
            let row = ExpectedRow::Values(values(end, 1000));
            expected.insert(group(end, page), Expected { row, closed });
        }
    }
    expected
}

/// The right output: each page on a partition of its own.
fn right() -> Vec<OutputRow> {
    let mut rows = vec![];
    for (partition, page) in [(0, "/a"), (1, "/b")] {
        for (offset, end) in [15, 30, 45].into_iter().enumerate() {
            let content = OutputContent {
                group: group(end, page),
                values: values(end, 1000),
                wrong_key: None,
            };
            rows.push(OutputRow {
                partition,
                offset: offset as i64,
                content: Ok(content),
            });
        }
    }
    rows
}

fn run(rows: &[OutputRow]) -> Comparison {
    compare(&expected(), rows, &COLUMNS.map(str::to_owned), true)
}

fn kinds(rows: &[OutputRow]) -> Vec<AnomalyKind> {
    let comparison = run(rows);
    assert_eq!(comparison.ok(false), comparison.anomalies.is_empty());
    comparison
        .anomalies
        .iter()
        .map(|anomaly| anomaly.kind)
        .collect()
}

fn content(row: &mut OutputRow) -> &mut OutputContent {
    row.content.as_mut().unwrap()
}

#[test]
fn the_right_output_passes_and_is_counted() {
    let comparison = run(&right());
    assert_eq!(
        comparison,
        Comparison {
            windows: 3,
            rows: 6,
            open: 2,
            ..Comparison::default()
        }
    );
    assert!(comparison.ok(true));
}

#[test]
fn a_lost_row_is_caught() {
    for lost in 0..6 {
        let mut rows = right();
        rows.remove(lost);
        assert_eq!(kinds(&rows), [AnomalyKind::Lost], "row {lost}");
    }
}

#[test]
fn a_repeated_row_is_caught_even_when_it_is_equal_and_the_right_one_comes_last() {
    let mut rows = right();
    rows.insert(1, rows[0].clone());
    assert_eq!(kinds(&rows), [AnomalyKind::Duplicate]);
    content(&mut rows[0]).values = values(15, 1);
    assert_eq!(
        kinds(&rows),
        [AnomalyKind::WrongValue, AnomalyKind::Duplicate],
        "the last value does not win"
    );
}

#[test]
fn an_extra_row_is_caught() {
    let mut rows = right();
    let mut extra = rows[5].clone();
    content(&mut extra).group = group(75, "/b");
    rows.push(extra);
    assert_eq!(kinds(&rows), [AnomalyKind::Extra]);
}

#[test]
fn a_wrong_value_is_caught_and_says_what_it_must_be() {
    let mut rows = right();
    content(&mut rows[4]).values = values(30, 999);
    let comparison = run(&rows);
    assert_eq!(comparison.anomalies.len(), 1);
    let anomaly = &comparison.anomalies[0];
    assert_eq!(
        (anomaly.kind, anomaly.window_end, anomaly.place),
        (AnomalyKind::WrongValue, Some(30), Some((1, 1)))
    );
    assert_eq!(
        (anomaly.key.as_str(), anomaly.detail.as_str()),
        ("/b", "count is 999, must be 1000")
    );
}

#[test]
fn a_swapped_order_is_caught() {
    let mut rows = right();
    rows.swap(3, 4);
    assert_eq!(kinds(&rows), [AnomalyKind::OutOfOrder]);
}

#[test]
fn a_key_that_changes_its_partition_is_caught_where_the_key_forbids_it() {
    let mut rows = right();
    rows[2].partition = 1;
    assert_eq!(kinds(&rows), [AnomalyKind::Moved]);
    assert!(compare(&expected(), &rows, &COLUMNS.map(str::to_owned), false).ok(true));
}

/// The partitions of a topic are read beside each other: a moved row may come first or last. Bites: the rows that stayed are
/// called moved, or out of order.
#[test]
fn a_moved_row_is_the_one_anomaly_whichever_partition_is_read_first() {
    for moved in 0..3 {
        for first in [0, 1] {
            let mut rows = right();
            rows[moved].partition = 1;
            rows.sort_by_key(|row| (row.partition != first, row.partition));
            assert_eq!(
                kinds(&rows),
                [AnomalyKind::Moved],
                "row {moved}, partition {first} first"
            );
        }
    }
}

#[test]
fn unreadable_rows_and_wrong_keys_are_caught() {
    let mut rows = right();
    content(&mut rows[0]).wrong_key = Some("is /b".to_owned());
    rows[5].content = Err("no JSON".to_owned());
    assert_eq!(
        kinds(&rows),
        [
            AnomalyKind::WrongKey,
            AnomalyKind::Unreadable,
            AnomalyKind::Lost
        ]
    );
}

#[test]
fn nothing_compared_is_a_failure() {
    let nothing = compare(&BTreeMap::new(), &[], &[], true);
    assert!(nothing.anomalies.is_empty() && !nothing.ok(false));
    let open: BTreeMap<_, _> = expected()
        .into_iter()
        .filter(|(_, expected)| !expected.closed)
        .collect();
    assert!(
        !compare(&open, &[], &[], true).ok(false),
        "open windows alone prove nothing"
    );
}

#[test]
fn an_open_window_may_be_there_but_then_it_must_be_right() {
    let mut rows = right();
    let mut early = rows[2].clone();
    *content(&mut early) = OutputContent {
        group: group(60, "/a"),
        values: values(60, 1000),
        wrong_key: None,
    };
    rows.insert(3, early);
    assert_eq!(kinds(&rows), []);
    content(&mut rows[3]).values = values(60, 3);
    assert_eq!(kinds(&rows), [AnomalyKind::WrongValue]);
}

#[test]
fn undecided_groups_are_counted_apart_and_fail_only_when_strict() {
    let mut expected = expected();
    expected.insert(
        group(15, "/a"),
        Expected {
            row: ExpectedRow::Undecided,
            closed: true,
        },
    );
    let columns = COLUMNS.map(str::to_owned);
    let mut rows = right();
    content(&mut rows[0]).values = values(15, 7);
    let comparison = compare(&expected, &rows, &columns, true);
    assert_eq!(
        (comparison.undecided, comparison.rows, comparison.windows),
        (1, 5, 3)
    );
    assert!(comparison.ok(false) && !comparison.ok(true));
    rows.remove(0);
    let comparison = compare(&expected, &rows, &columns, true);
    assert_eq!(
        comparison.anomalies[0].kind,
        AnomalyKind::Lost,
        "its row must be there all the same"
    );
}

#[test]
fn a_result_that_does_not_fit_must_not_be_there() {
    let mut expected = expected();
    expected.insert(
        group(15, "/a"),
        Expected {
            row: ExpectedRow::Rejected,
            closed: true,
        },
    );
    let columns = COLUMNS.map(str::to_owned);
    assert_eq!(
        compare(&expected, &right(), &columns, true).anomalies[0].kind,
        AnomalyKind::Extra
    );
    assert!(compare(&expected, &right()[1..], &columns, true).ok(true));
}

#[test]
fn results_that_must_be_rejects_have_one_each() {
    let mut expected = expected();
    expected.insert(
        group(15, "/a"),
        Expected {
            row: ExpectedRow::Rejected,
            closed: true,
        },
    );
    let columns = COLUMNS.map(str::to_owned);
    let mut comparison = compare(&expected, &right()[1..], &columns, true);
    comparison.check_derived(1);
    assert_eq!(comparison.anomalies, []);
    comparison.check_derived(0);
    assert_eq!(comparison.anomalies[0].kind, AnomalyKind::NotRejected);
}
