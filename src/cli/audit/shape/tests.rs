//! Which topologies are audited, and how the others are refused.

use super::*;
use crate::cli::audit::testing::{CLICK_COUNT, topology};

fn refusal(sql: &str) -> String {
    Shape::of(&topology(sql, LatePolicy::Drop), None, None)
        .err()
        .expect("it is refused")
}

#[test]
fn click_count_is_a_shape_that_can_be_audited() {
    let shape = Shape::of(&topology(CLICK_COUNT, LatePolicy::Reject), None, None).unwrap();
    assert_eq!(shape.node, "counts");
    assert_eq!(shape.keys, [1]);
    assert_eq!(shape.window_end(14_999), Some(15_000));
    assert_eq!(shape.window_end(15_000), Some(30_000));
    assert_eq!(shape.window_end(-1), Some(0));
    assert_eq!(shape.record_key, [2]);
}

#[test]
fn what_is_outside_the_shape_is_refused_by_name() {
    let cases = [
        (CLICK_COUNT.replace("(clicks,", "(other,"), "`other`"),
        (CLICK_COUNT.replace("page, COUNT", "COUNT"), "`page`"),
        (
            CLICK_COUNT.replace("SELECT window_start, window_end,", "SELECT"),
            "do not name their window",
        ),
        (CLICK_COUNT.replace("COUNT(*)", "SUM(page)"), "no number"),
        (
            CLICK_COUNT.replace("GROUP", "WHERE page = 3 GROUP"),
            "different types",
        ),
        (
            CLICK_COUNT.replace("clicks, timestamp", "clicks, amount"),
            "`amount`",
        ),
    ];
    for (sql, named) in cases {
        let error = refusal(&sql);
        assert!(
            error.contains(named) && error.contains("`counts`"),
            "{sql}: {error}"
        );
    }
}

#[test]
fn unknown_is_not_true_and_not_false() {
    let sql = CLICK_COUNT.replace("GROUP", "WHERE NOT (amount > 3 AND page = '/a') GROUP");
    let shape = Shape::of(&topology(&sql, LatePolicy::Drop), None, None).unwrap();
    let test = shape.filter.unwrap();
    let row = |page: Option<&str>, amount: Option<i128>| {
        let page = page.map_or(Value::Null, |page| Value::Text(page.to_owned()));
        test(&[
            Value::time_ms(0),
            page,
            amount.map_or(Value::Null, Value::integer),
        ])
    };
    assert_eq!(row(Some("/a"), Some(4)), Some(false));
    assert_eq!(row(Some("/a"), None), None);
    assert_eq!(
        row(Some("/b"), None),
        Some(true),
        "false AND unknown is false"
    );
}
