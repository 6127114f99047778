//! The grammar of numbers and the exactness of their conversions.

use super::Number;
use crate::format::json::reader::{Fault, Reader};
use proptest::prelude::*;

fn with<T>(text: &str, f: impl Fn(&Number<'_>) -> T) -> Result<T, Fault> {
    let mut input = Reader::new(text.as_bytes());
    let number = input.number()?;
    assert!(input.at_end(), "{text} was read up to {}", input.pos);
    Ok(f(&number))
}

fn integer(text: &str) -> Option<i64> {
    with(text, |number| number.to_i64()).expect(text)
}

fn double(text: &str) -> Option<f64> {
    with(text, |number| number.to_f64()).expect(text)
}

fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    with(text, |number| number.to_decimal(precision, scale)).expect(text)
}

#[test]
fn what_rfc_8259_does_not_call_a_number_is_refused() {
    let bad = [
        ("-", Fault::Truncated),
        ("--1", Fault::Digit),
        ("+1", Fault::Digit),
        (".5", Fault::Digit),
        ("1.", Fault::Truncated),
        ("1.e5", Fault::Digit),
        ("1e", Fault::Truncated),
        ("1e+", Fault::Truncated),
        ("1e+-1", Fault::Digit),
        ("004", Fault::LeadingZero),
        ("-01", Fault::LeadingZero),
        ("00", Fault::LeadingZero),
        ("00000000000000000001", Fault::LeadingZero),
        ("01.5", Fault::LeadingZero),
    ];
    for (text, fault) in bad {
        assert_eq!(with(text, |_| ()), Err(fault), "{text}");
    }
}

#[test]
fn integers_keep_all_their_digits_and_stop_at_64_bits() {
    assert_eq!(integer("9223372036854775807"), Some(i64::MAX));
    assert_eq!(integer("-9223372036854775808"), Some(i64::MIN));
    assert_eq!(integer("9007199254740993"), Some(9007199254740993));
    assert_eq!(integer("-0"), Some(0));
    for refused in [
        "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551616",
        "100000000000000000000",
        "3.7",
        "3.0",
        "1e3",
        "0e0",
    ] {
        assert_eq!(integer(refused), None, "{refused}");
    }
}

#[test]
fn doubles_are_rounded_to_the_nearest_and_never_infinite() {
    assert_eq!(double("1e308"), Some(1e308));
    assert_eq!(double("1.7976931348623159e308"), None);
    assert_eq!(double("-1e309"), None);
    assert_eq!(double("1e99999999999999999999"), None);
    assert_eq!(double("1e-99999999999999999999"), Some(0.0));
    assert_eq!(double("0e99999999999999999999"), Some(0.0));
    assert_eq!(double("-0.0").map(f64::to_bits), Some((-0.0f64).to_bits()));
    assert_eq!(double("9007199254740993"), Some(9007199254740992.0));
    assert_eq!(double("0.1000000000000000055511151231257827"), Some(0.1));
    assert_eq!(
        double("2.2250738585072011e-308"),
        "2.2250738585072011e-308".parse().ok()
    );
}

#[test]
fn decimals_are_exact_or_refused() {
    let cases: &[(&str, u8, i8, Option<i128>)] = &[
        ("12.34", 10, 2, Some(1234)),
        ("-12.3", 10, 2, Some(-1230)),
        ("12.340000000000000000000000", 10, 2, Some(1234)),
        ("12.345", 10, 2, None),
        (
            "12.34000000000000000000000000000000000000000001",
            10,
            2,
            None,
        ),
        ("99999999.99", 10, 2, Some(9999999999)),
        ("100000000", 10, 2, None),
        ("1.5e3", 10, 2, Some(150000)),
        ("1e-2", 10, 2, Some(1)),
        ("1e-3", 10, 2, None),
        ("0.000e-999999999999999999999", 10, 2, Some(0)),
        ("0e999999999999999999999", 10, 2, Some(0)),
        ("1e999999999999999999999", 10, 2, None),
        ("1e-999999999999999999999", 10, 2, None),
        ("-0", 10, 2, Some(0)),
        (
            "99999999999999999999999999999999999999",
            38,
            0,
            Some(10i128.pow(38) - 1),
        ),
        (
            "-99999999999999999999999999999999999999",
            38,
            0,
            Some(1 - 10i128.pow(38)),
        ),
        ("100000000000000000000000000000000000000", 38, 0, None),
        ("999999999999999999999999999999999999990", 38, 0, None),
        ("0.00000000000000000000000000000000000001", 38, 38, Some(1)),
        (
            "0.000000000000000000000000000000000000000000000001e10",
            38,
            38,
            Some(1),
        ),
        ("123000", 4, -3, Some(123)),
        ("123400", 4, -3, None),
        ("10000000000000000000000000e-25", 2, 1, Some(10)),
    ];
    for (text, precision, scale, unscaled) in cases {
        assert_eq!(
            decimal(text, *precision, *scale),
            *unscaled,
            "{text} as ({precision},{scale})"
        );
    }
}

proptest! {
    #[test]
    fn integers_read_like_the_standard_library_reads_them(value in any::<i64>(), shift in 0u32..64) {
        let value = value >> shift;
        prop_assert_eq!(integer(&value.to_string()), Some(value));
    }

    #[test]
    fn doubles_read_like_the_standard_library_reads_them(text in "-?(0|[1-9][0-9]{0,24})(\\.[0-9]{1,24})?([eE][+-]?[0-9]{1,3})?") {
        let expected = text.parse::<f64>().ok().filter(|value| value.is_finite());
        prop_assert_eq!(double(&text).map(f64::to_bits), expected.map(f64::to_bits));
    }

    #[test]
    fn a_decimal_is_found_again_however_it_is_written(value in -(10i128.pow(30))..10i128.pow(30), exponent in 0usize..20, zeros in 0usize..5) {
        // value × 10^-10, written with another exponent and zeros at the end.
        let text = format!("{value}{}e-{}", "0".repeat(exponent + zeros), 10 + exponent + zeros);
        prop_assert_eq!(decimal(&text, 38, 10), Some(value), "{}", text);
    }
}
