//! The one form of SQL: what it takes, and what it names when it refuses.

use super::*;

const CLICK_COUNT: &str = "SELECT window_start, window_end, page, COUNT(*) AS count
    FROM TUMBLE(clicks, timestamp, INTERVAL '15' SECOND)
    GROUP BY window_start, window_end, page";

#[test]
fn click_count_is_understood() {
    let query = parse(CLICK_COUNT).unwrap();
    assert_eq!(
        (query.source.as_str(), query.time.as_str()),
        ("clicks", "timestamp")
    );
    assert_eq!((query.size_ms, query.offset_ms), (15_000, 0));
    assert_eq!(query.group, ["window_start", "window_end", "page"]);
    let names: Vec<&str> = query.items.iter().map(|item| item.name.as_str()).collect();
    assert_eq!(names, ["window_start", "window_end", "page", "count"]);
    let count = What::Aggregate {
        function: Function::Count,
        argument: None,
        filter: None,
    };
    assert_eq!(query.items[3].what, count);
}

#[test]
fn filters_offsets_aliases_and_comments_are_understood() {
    let query = parse(
        "select w.page p, sum(\"Amount\") filter (where amount >= -1.5) total -- the sum
         from tumble(orders, at, interval '1 hour', interval '5' minute) as w
         where not (kind = 'it''s' or amount < 3 and ok <> true) and gone is not null
         group by w.page, window_end",
    )
    .unwrap();
    assert_eq!((query.size_ms, query.offset_ms), (3_600_000, 300_000));
    assert_eq!(query.group, ["page", "window_end"]);
    let What::Aggregate {
        argument,
        filter: Some(filter),
        ..
    } = &query.items[1].what
    else {
        panic!()
    };
    assert_eq!(argument.as_deref(), Some("Amount"));
    assert!(matches!(
        filter,
        Condition::Compare(_, Comparison::GreaterEqual, Operand::Literal(_))
    ));
    // AND binds tighter than OR, NOT tighter than AND.
    let Some(Condition::And(left, right)) = query.filter else {
        panic!()
    };
    assert!(matches!(*right, Condition::Not(ref inner) if matches!(**inner, Condition::IsNull(_))));
    let Condition::Not(inner) = *left else {
        panic!()
    };
    assert!(matches!(*inner, Condition::Or(_, ref right) if matches!(**right, Condition::And(..))));
}

#[test]
fn what_is_not_understood_is_named() {
    let cases = [
        (CLICK_COUNT.replace("TUMBLE(", "HOP("), "`HOP`"),
        (format!("{CLICK_COUNT} HAVING COUNT(*) > 1"), "`HAVING`"),
        (
            CLICK_COUNT.replace("COUNT(*)", "COUNT(DISTINCT page)"),
            "DISTINCT",
        ),
        (
            CLICK_COUNT.replace("COUNT(*) AS count", "COUNT(*)"),
            "without a name",
        ),
        (CLICK_COUNT.replace("COUNT(*)", "median(x)"), "`median`"),
        (CLICK_COUNT.replace("COUNT(*)", "COUNT(*) + 1"), "`+`"),
        (CLICK_COUNT.replace("SECOND", "MONTH"), "`month`"),
        (
            "SELECT page FROM clicks WHERE page LIKE '/a%'".to_owned(),
            "`CLICKS`",
        ),
    ];
    for (sql, named) in cases {
        let error = parse(&sql).unwrap_err();
        assert!(
            error.to_lowercase().contains(&named.to_lowercase()),
            "{sql}: {error}"
        );
    }
}
