//! Exactness of numbers, and the formats of output values.

use super::*;

#[test]
fn numbers_keep_all_their_digits() {
    let cases = [
        ("9007199254740993", "9007199254740993"),
        ("1.10", "1.1"),
        ("-0.05", "-0.05"),
        ("1.5e3", "1500"),
        ("12e-4", "0.0012"),
        ("-0", "0"),
    ];
    for (text, shown) in cases {
        assert_eq!(Exact::parse(text).unwrap().to_string(), shown, "{text}");
    }
    assert_eq!(Exact::parse("1e40"), None);
    assert_ne!(
        Exact::parse("9007199254740993"),
        Exact::parse("9007199254740992")
    );
}

#[test]
fn only_doubles_have_a_tolerance() {
    let double = |value| Value::Double(Double::new(value));
    assert!(double(0.1 + 0.2).matches(&double(0.3)));
    assert!(!double(1000.0).matches(&double(999.9)));
    assert!(double(f64::NAN).matches(&Value::Null) && !double(1.0).matches(&Value::Null));
    assert!(!Value::integer(1_000_000_000_000).matches(&Value::integer(1_000_000_000_001)));
    assert!(!Value::integer(1).matches(&Value::Null));
}

#[test]
fn times_are_read_in_the_sinks_format_only() {
    let iso = OutputFormat::default();
    let ms = OutputFormat {
        epoch_ms: true,
        ..iso
    };
    let text = serde_json::json!("2023-11-14T22:13:15Z");
    assert_eq!(
        read_output(ValueKind::Time, iso, &text),
        Ok(Value::time_ms(1_699_999_995_000))
    );
    assert!(read_output(ValueKind::Time, ms, &text).is_err());
    let number = serde_json::json!(1_699_999_995_000i64);
    assert_eq!(
        read_output(ValueKind::Time, ms, &number),
        Ok(Value::time_ms(1_699_999_995_000))
    );
    assert!(read_output(ValueKind::Exact, iso, &serde_json::json!("1")).is_err());
}
