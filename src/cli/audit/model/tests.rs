//! The model against hand-computed results.

use super::*;
use crate::cli::audit::testing::{CLICK_COUNT, topology};

const NOW: i64 = 1_700_000_000_000;

struct Run {
    shape: Shape,
    book: RejectBook,
    model: Model,
}

impl Run {
    fn new(sql: &str, late: LatePolicy) -> Run {
        let shape = Shape::of(&topology(sql, late), None, None).unwrap();
        Run {
            shape,
            book: RejectBook::default(),
            model: Model::default(),
        }
    }

    fn reject(&mut self, cause: &str, (partition, offset): Place) {
        let node = if cause == "late" { "counts" } else { "clicks" };
        let json = format!(
            r#"{{"cause":"{cause}","node":"{node}","topic":"input","partition":{partition},"offset":{offset}}}"#
        );
        self.book
            .read(&self.shape, (0, offset), Some(json.as_bytes()))
            .unwrap();
    }

    fn raw(&mut self, place: Place, timestamp: i64, value: &str) {
        let record = InputRecord {
            place,
            timestamp,
            value: Some(value.as_bytes()),
        };
        self.model.read(&self.shape, &self.book, &record, NOW);
    }

    fn click(&mut self, place: Place, time: i64, page: &str, amount: &str) {
        let text = format!(r#"{{"timestamp":{time},"page":"{page}","amount":{amount}}}"#);
        self.raw(place, NOW, &text);
    }

    /// `end key: values (closed)`, one line per group.
    fn expected(&self) -> Vec<String> {
        let watermark = self.model.watermark(&self.shape);
        let expected = self.model.expected(&self.shape, &self.book, watermark);
        expected
            .iter()
            .map(|(group, expected)| {
                let row = match &expected.row {
                    ExpectedRow::Values(values) => values.last().unwrap().to_string(),
                    other => format!("{other:?}"),
                };
                let open = if expected.closed { "" } else { " open" };
                let key: Vec<String> = group.key.iter().map(ToString::to_string).collect();
                format!("{} {} {row}{open}", group.end, key.join(","))
            })
            .collect()
    }
}

#[test]
fn rows_are_counted_per_window_and_page_and_the_slowest_partition_decides_what_is_closed() {
    let mut run = Run::new(CLICK_COUNT, LatePolicy::Reject);
    run.click((0, 0), 14_999, "/a", "1");
    run.click((0, 1), 15_000, "/a", "1");
    run.click((0, 2), 40_000, "/a", "1");
    run.click((1, 0), 1_000, "/a", "1");
    run.click((1, 1), 15_200, "/b", "1");
    assert_eq!(run.model.watermark(&run.shape), Some(14_999));
    assert_eq!(
        run.expected(),
        [
            "15000 /a 2",
            "30000 /a 1 open",
            "30000 /b 1 open",
            "45000 /a 1 open"
        ]
    );
}

#[test]
fn a_window_closes_at_its_end_less_a_millisecond_and_not_before() {
    let mut run = Run::new(CLICK_COUNT, LatePolicy::Reject);
    run.click((0, 0), 15_199, "/a", "1");
    run.click((0, 1), 1, "/a", "1");
    assert_eq!(run.model.watermark(&run.shape), Some(14_998));
    assert_eq!(
        run.expected()[0],
        "15000 /a 1 open",
        "a row 15198 ms behind, but its window is not closed: on time"
    );
    assert_eq!(run.model.counts.possibly_late, 0);
    run.click((0, 2), 15_200, "/a", "1");
    run.click((0, 3), 2, "/a", "1");
    assert_eq!(run.model.counts.possibly_late, 1);
}

#[test]
fn late_rows_are_left_out_exactly_when_the_reject_topic_names_them() {
    let mut run = Run::new(CLICK_COUNT, LatePolicy::Reject);
    run.reject("late", (0, 2));
    run.click((0, 0), 1, "/a", "1");
    run.click((0, 1), 20_000, "/a", "1");
    run.click((0, 2), 2, "/a", "1");
    run.click((0, 3), 3, "/a", "1");
    assert_eq!(
        run.expected()[0],
        "15000 /a 2",
        "offset 2 was late, offset 3 was taken"
    );
    assert!(run.model.judge_rejects(&run.book, false).is_empty());
}

#[test]
fn a_window_whose_only_row_was_late_has_no_row() {
    let mut run = Run::new(CLICK_COUNT, LatePolicy::Reject);
    run.reject("late", (0, 1));
    run.click((0, 0), 20_000, "/a", "1");
    run.click((0, 1), 2, "/b", "1");
    assert_eq!(run.expected(), ["30000 /a 1 open"]);
}

#[test]
fn with_dropped_late_rows_the_window_is_undecided() {
    let mut run = Run::new(CLICK_COUNT, LatePolicy::Drop);
    run.click((0, 0), 1, "/a", "1");
    run.click((0, 1), 20_000, "/a", "1");
    run.click((0, 2), 2, "/a", "1");
    run.click((0, 3), 2, "/b", "1");
    assert_eq!(
        run.expected(),
        [
            "15000 /a Undecided",
            "15000 /b Undecided open",
            "30000 /a 1 open"
        ]
    );
}

fn late_range(run: &mut Run, first: i64, last: i64, rows: u64) {
    let json = format!(
        r#"{{"cause":"late","node":"counts","topic":"input","partition":0,"offset":null,
            "rows":{rows},"first_offset":{first},"last_offset":{last}}}"#
    );
    run.book
        .read(&run.shape, (0, first), Some(json.as_bytes()))
        .unwrap();
}

#[test]
fn a_range_of_late_rows_leaves_out_exactly_the_rows_of_its_group() {
    let mut run = Run::new(CLICK_COUNT, LatePolicy::Reject);
    late_range(&mut run, 0, 3, 2);
    run.reject("late", (0, 2));
    run.click((0, 0), 1_000, "/a", "1");
    run.click((0, 1), 1_100, "/b", "1");
    // Behind the watermark of its partition: named alone.
    run.click((0, 2), 1, "/a", "1");
    run.click((0, 3), 1_100, "/a", "1");
    run.click((0, 4), 1_200, "/a", "1");
    assert_eq!(run.expected(), ["15000 /a 1 open", "15000 /b 1 open"]);
    assert!(run.model.judge_rejects(&run.book, true).is_empty());
    let kinds: Vec<_> = run.model.judge_rejects(&run.book, false);
    assert!(kinds.iter().all(|a| a.kind == AnomalyKind::LateOnTime));
    assert_eq!(kinds.len(), 2);
}

#[test]
fn a_range_that_the_input_does_not_bear_out_decides_nothing_and_is_an_anomaly() {
    for (first, last, rows) in [(0, 2, 3), (0, 1, 1), (1, 2, 2), (0, 2, 1)] {
        let mut run = Run::new(CLICK_COUNT, LatePolicy::Reject);
        late_range(&mut run, first, last, rows);
        run.click((0, 0), 1_000, "/a", "1");
        run.click((0, 1), 1_100, "/b", "1");
        run.click((0, 2), 1_200, "/a", "1");
        let found = run.model.judge_rejects(&run.book, true);
        let kinds: Vec<_> = found.iter().map(|a| a.kind).collect();
        assert_eq!(
            kinds,
            [AnomalyKind::WronglyRejected],
            "{first}..{last} {rows}"
        );
        assert!(
            run.expected().iter().any(|row| row.contains("Undecided")),
            "{first}..{last} {rows}"
        );
    }
}

#[test]
fn a_row_on_time_may_not_be_called_late_unless_partitions_were_idle() {
    let mut run = Run::new(CLICK_COUNT, LatePolicy::Reject);
    run.reject("late", (0, 1));
    run.click((0, 0), 1, "/a", "1");
    run.click((0, 1), 2, "/a", "1");
    let found = run.model.judge_rejects(&run.book, false);
    assert_eq!(
        found.iter().map(|a| a.kind).collect::<Vec<_>>(),
        [AnomalyKind::LateOnTime]
    );
    assert!(run.model.judge_rejects(&run.book, true).is_empty());
    assert_eq!(run.expected(), ["15000 /a 1 open"]);
}

#[test]
fn a_reject_that_is_read_after_its_row_was_counted_asks_for_a_new_reading() {
    let mut run = Run::new(CLICK_COUNT, LatePolicy::Reject);
    run.click((0, 0), 20_000, "/a", "1");
    run.click((0, 1), 2, "/a", "1");
    run.raw((0, 2), NOW, "{");
    assert!(run.model.contradicted_by((0, 0, 0), 3));
    assert!(
        !run.model.contradicted_by((0, 1, 1), 3),
        "a row that is kept apart"
    );
    assert!(
        !run.model.contradicted_by((0, 2, 2), 3),
        "a record that is no row"
    );
    assert!(!run.model.contradicted_by((0, 3, 3), 3), "not read yet");
}

#[test]
fn bad_records_must_stand_in_the_reject_topic_and_good_ones_must_not() {
    let mut run = Run::new(CLICK_COUNT, LatePolicy::Drop);
    run.reject("malformed", (0, 0));
    run.reject("wrong_type", (0, 2));
    run.raw((0, 0), NOW, "{");
    run.raw((0, 1), NOW, "{}");
    run.click((0, 2), 1, "/a", "1");
    run.click((0, 3), -1, "/a", "1");
    run.click((0, 4), NOW + 86_400_001, "/a", "1");
    let kinds: Vec<_> = run
        .model
        .judge_rejects(&run.book, false)
        .iter()
        .map(|a| (a.kind, a.key.clone()))
        .collect();
    let not_rejected = |offset| (AnomalyKind::NotRejected, format!("input 0/{offset}"));
    let wrongly = (AnomalyKind::WronglyRejected, "input 0/2".to_owned());
    assert_eq!(
        kinds,
        [not_rejected(1), not_rejected(3), not_rejected(4), wrongly]
    );
    assert_eq!(
        run.model.watermark(&run.shape),
        Some(-200),
        "bad times move no watermark"
    );
}

#[test]
fn a_time_that_was_ahead_only_when_it_was_read_is_decided_by_the_reject_topic() {
    let ahead = r#"{"timestamp":86401000,"page":"/a"}"#;
    for rejected in [false, true] {
        let mut run = Run::new(CLICK_COUNT, LatePolicy::Drop);
        if rejected {
            run.reject("bad_timestamp", (0, 0));
        }
        run.raw((0, 0), 0, ahead);
        assert_eq!(run.expected().is_empty(), rejected);
        assert!(run.model.judge_rejects(&run.book, false).is_empty());
    }
}

#[test]
fn aggregates_ignore_null_and_follow_their_filters() {
    let cases = [
        ("COUNT(amount)", "3"),
        ("COUNT(*)", "4"),
        ("SUM(amount)", "9"),
        ("MIN(amount)", "2"),
        ("MAX(amount)", "4"),
        ("AVG(amount)", "3"),
        ("MAX(page)", "/a"),
        ("SUM(amount) FILTER (WHERE amount > 5)", "NULL"),
        ("COUNT(*) FILTER (WHERE amount >= 3)", "2"),
    ];
    for (aggregate, shown) in cases {
        let mut run = Run::new(
            &CLICK_COUNT.replace("COUNT(*)", aggregate),
            LatePolicy::Drop,
        );
        for (offset, amount) in ["4", "null", "2", "3"].into_iter().enumerate() {
            run.click((0, offset as i64), 1, "/a", amount);
        }
        assert_eq!(
            run.expected(),
            [format!("15000 /a {shown} open")],
            "{aggregate}"
        );
    }
}

#[test]
fn a_sum_beyond_64_bits_is_a_reject_and_filtered_rows_make_no_group() {
    let sql = CLICK_COUNT
        .replace("COUNT(*)", "SUM(amount)")
        .replace("GROUP", "WHERE page <> '/b' GROUP");
    let mut run = Run::new(&sql, LatePolicy::Drop);
    let max = i64::MAX.to_string();
    run.click((0, 0), 1, "/a", &max);
    run.click((0, 1), 1, "/a", "1");
    run.click((0, 2), 1, "/b", "1");
    assert_eq!(run.expected(), ["15000 /a Rejected open"]);
    run.click((0, 3), 1, "/a", "-1");
    assert_eq!(
        run.expected(),
        [format!("15000 /a {max} open")],
        "the sum is taken in 128 bits"
    );
}
