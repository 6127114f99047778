//! What stands in a reject record, and what is left of a large one.

use super::{Range, Reject, VALUE_LIMIT};
use crate::batch::Cause;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

const PLAIN: Reject<'static> = Reject {
    cause: Cause::WrongType,
    node: "clicks",
    topic: Some("input"),
    partition: Some(3),
    offset: Some(42),
    timestamp: Some(1700000000000),
    message: "column `page`: expected text, found number 1",
    key: None,
    value: Some(b"{\"page\":1}\xff"),
    range: None,
    derived: None,
};

fn encode(reject: &Reject<'_>, limit: usize) -> String {
    let mut out = vec![];
    reject.encode(limit, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn a_record_is_kept_with_cause_and_origin() {
    let expected = concat!(
        r#"{"cause":"wrong_type","node":"clicks","topic":"input","partition":3,"offset":42,"timestamp":1700000000000,"#,
        r#""message":"column `page`: expected text, found number 1","key_base64":null,"value_base64":"eyJwYWdlIjoxff8=","#,
        r#""truncated":false}"#,
    );
    assert_eq!(encode(&PLAIN, VALUE_LIMIT), expected);
}

#[test]
fn ranges_and_derived_rows_say_what_is_known() {
    let range = Range {
        rows: 7,
        first_offset: 10,
        last_offset: 20,
    };
    let late = Reject {
        cause: Cause::Late,
        offset: None,
        timestamp: None,
        value: None,
        range: Some(range),
        ..PLAIN
    };
    let text = encode(&late, VALUE_LIMIT);
    assert!(
        text.contains(r#""offset":null,"timestamp":null,"#),
        "{text}"
    );
    assert!(
        text.ends_with(
            r#""value_base64":null,"rows":7,"first_offset":10,"last_offset":20,"truncated":false}"#
        ),
        "{text}"
    );
    let derived = Reject {
        topic: None,
        partition: None,
        derived: Some("window \"x\""),
        ..PLAIN
    };
    let text = encode(&derived, VALUE_LIMIT);
    assert!(text.contains(r#""topic":null,"partition":null,"#), "{text}");
    assert!(
        text.ends_with(r#""derived":"window \"x\"","truncated":false}"#),
        "{text}"
    );
}

#[test]
fn what_is_too_long_is_cut_and_its_origin_kept() {
    let long = vec![0xff; 1_000_000];
    let message = "é".repeat(100_000);
    for (key, value, truncated) in [
        (None, Some(&long[..]), true),
        (Some(&long[..]), None, true),
        (
            Some(&long[..VALUE_LIMIT]),
            Some(&long[..VALUE_LIMIT]),
            false,
        ),
    ] {
        let text = encode(
            &Reject {
                key,
                value,
                message: &message,
                ..PLAIN
            },
            VALUE_LIMIT,
        );
        assert!(text.len() < 4 * VALUE_LIMIT, "{}", text.len());
        let record: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            (record["topic"].as_str(), record["offset"].as_i64()),
            (Some("input"), Some(42))
        );
        assert_eq!(record["truncated"], truncated);
        assert_eq!(record["message"].as_str().map(str::len), Some(VALUE_LIMIT));
        for (field, bytes) in [("key_base64", key), ("value_base64", value)] {
            let kept = record[field]
                .as_str()
                .map(|text| STANDARD.decode(text).unwrap());
            assert_eq!(
                kept.as_deref(),
                bytes.map(|bytes| &bytes[..bytes.len().min(VALUE_LIMIT)])
            );
        }
    }
    // A limit within a character.
    let record: serde_json::Value = serde_json::from_str(&encode(
        &Reject {
            message: "éé",
            ..PLAIN
        },
        3,
    ))
    .unwrap();
    assert_eq!(record["message"], "é");
}
