//! Records to rows, case by case, and what a bad record leaves behind.

use super::{JsonDecoder, schema_of};
use crate::fetch::{Fetch, TopicPartition};
use crate::format::Decoded;
use crate::spec::diagnostic::Span;
use crate::spec::{ColumnSpec, ColumnType, Spanned};
use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};

pub(super) fn column(name: &str, kind: ColumnType) -> ColumnSpec {
    ColumnSpec {
        name: Spanned {
            value: name.to_owned(),
            span: Span::default(),
        },
        kind,
        path: vec![name.to_owned()],
        required: false,
    }
}

pub(super) fn nested(name: &str, path: &[&str], kind: ColumnType) -> ColumnSpec {
    ColumnSpec {
        path: path.iter().map(|field| field.to_string()).collect(),
        ..column(name, kind)
    }
}

/// One column of every type, two of them nested.
pub(super) fn every_type() -> Vec<ColumnSpec> {
    vec![
        column("s", ColumnType::String),
        column("b", ColumnType::Boolean),
        column("i", ColumnType::Int32),
        column("l", ColumnType::Int64),
        column("d", ColumnType::Double),
        column(
            "n",
            ColumnType::Decimal {
                precision: 10,
                scale: 2,
            },
        ),
        column("ms", ColumnType::TimestampMs),
        column("sec", ColumnType::TimestampS),
        column("t", ColumnType::Timestamp { pattern: None }),
        column(
            "p",
            ColumnType::Timestamp {
                pattern: Some("%Y-%m-%d %H:%M:%S".to_owned()),
            },
        ),
        column("date", ColumnType::Date),
        nested("x", &["o", "x"], ColumnType::Int64),
        nested("y", &["o", "q", "y"], ColumnType::String),
    ]
}

pub(super) fn fetch_of<'a>(values: impl IntoIterator<Item = Option<&'a [u8]>>) -> Fetch {
    let mut fetch = Fetch::new(TopicPartition::new("t", 0));
    for (offset, value) in values.into_iter().enumerate() {
        fetch.push(offset as i64, 0, Some(b"key"), value);
    }
    fetch
}

pub(super) fn decode(columns: &[ColumnSpec], coerce: bool, values: &[&[u8]]) -> Decoded {
    let fetch = fetch_of(values.iter().map(|value| Some(*value)));
    JsonDecoder::new(columns, coerce).decode(&fetch, 0..fetch.len())
}

/// The cells of a row that are not NULL, as `name=value`.
pub(super) fn row(rows: &RecordBatch, row: usize) -> String {
    let schema = rows.schema();
    let cell = |(index, field): (usize, &std::sync::Arc<arrow_schema::Field>)| {
        let array = rows.column(index);
        let options = FormatOptions::default();
        let text = ArrayFormatter::try_new(array, &options)
            .unwrap()
            .value(row)
            .to_string();
        array
            .is_valid(row)
            .then(|| format!("{}={text}", field.name()))
    };
    schema
        .fields()
        .iter()
        .enumerate()
        .filter_map(cell)
        .collect::<Vec<_>>()
        .join(" ")
}

pub(super) fn outcome(columns: &[ColumnSpec], coerce: bool, value: &[u8]) -> String {
    let decoded = decode(columns, coerce, &[value]);
    assert_eq!(decoded.columns.num_rows() + decoded.bad.len(), 1);
    match decoded.bad.first() {
        Some(bad) => format!("{}: {}", bad.cause.as_str(), bad.message),
        None => row(&decoded.columns, 0),
    }
}

fn check(coerce: bool, cases: &[(&str, &str)]) {
    for (value, expected) in cases {
        assert_eq!(
            outcome(&every_type(), coerce, value.as_bytes()),
            *expected,
            "{value}"
        );
    }
}

#[test]
fn every_type_is_read() {
    check(
        false,
        &[
            ("{}", ""),
            (" \t\r\n{ \n } ", ""),
            (r#"{"s":"a"}"#, "s=a"),
            (r#"{"s":"\u00e9\n"}"#, "s=é\n"),
            (r#"{"\u0073":"a"}"#, "s=a"),
            (r#"{"b":true}"#, "b=true"),
            (r#"{"b":false,"s":""}"#, "s= b=false"),
            (
                r#"{"i":-2147483648,"l":9007199254740993}"#,
                "i=-2147483648 l=9007199254740993",
            ),
            (r#"{"d":3}"#, "d=3.0"),
            (r#"{"d":0.1e1}"#, "d=1.0"),
            (r#"{"n":12.3}"#, "n=12.30"),
            (r#"{"n":1.5e3}"#, "n=1500.00"),
            (r#"{"ms":1700000000001}"#, "ms=2023-11-14T22:13:20.001"),
            (r#"{"sec":-1}"#, "sec=1969-12-31T23:59:59"),
            (
                r#"{"t":"1969-12-31T23:59:59.9999Z"}"#,
                "t=1969-12-31T23:59:59.999",
            ),
            (
                r#"{"t":"2024\u002d01-01T00:00:00+01:00"}"#,
                "t=2023-12-31T23:00:00",
            ),
            (r#"{"p":"2024-01-01 00:00:15"}"#, "p=2024-01-01T00:00:15"),
            (r#"{"date":"2024-02-29"}"#, "date=2024-02-29"),
            (r#"{"o":{"x":1,"q":{"y":"z"}}}"#, "x=1 y=z"),
            (r#"{"o":{"q":null},"l":null}"#, ""),
            (r#"{"o":null,"s":"a"}"#, "s=a"),
            (
                r#"{"unknown":[1,{"a":{"a":[]}},"x\n",-0.5e-7,true,null,{}],"s":"a"}"#,
                "s=a",
            ),
            (r#"{"x":1,"y":"top","q":{}}"#, ""),
        ],
    );
}

const WRONG_TYPES: &[(&str, &str)] = &[
    (
        r#"{"s":1}"#,
        "wrong_type: column `s`: expected text, found number 1",
    ),
    (
        r#"{"s":["a"]}"#,
        "wrong_type: column `s`: expected text, found an array",
    ),
    (
        r#"{"b":"true"}"#,
        "wrong_type: column `b`: expected true or false, found text \"true\"",
    ),
    (
        r#"{"b":0}"#,
        "wrong_type: column `b`: expected true or false, found number 0",
    ),
    (
        r#"{"i":2147483648}"#,
        "wrong_type: column `i`: expected an integer of 32 bits, found number 2147483648",
    ),
    (
        r#"{"l":"42"}"#,
        "wrong_type: column `l`: expected an integer of 64 bits, found text \"42\"",
    ),
    (
        r#"{"l":3.0}"#,
        "wrong_type: column `l`: expected an integer of 64 bits, found number 3.0",
    ),
    (
        r#"{"l":1e3}"#,
        "wrong_type: column `l`: expected an integer of 64 bits, found number 1e3",
    ),
    (
        r#"{"l":true}"#,
        "wrong_type: column `l`: expected an integer of 64 bits, found boolean true",
    ),
    (
        r#"{"d":1e999}"#,
        "wrong_type: column `d`: expected a double, found number 1e999",
    ),
    (
        r#"{"d":"NaN"}"#,
        "wrong_type: column `d`: expected a double, found text \"NaN\"",
    ),
    (
        r#"{"n":1.234}"#,
        "wrong_type: column `n`: expected a decimal(10,2), found number 1.234",
    ),
    (
        r#"{"sec":9223372036854776}"#,
        "wrong_type: column `sec`: expected an integer (seconds since 1970), found number 9223372036854776",
    ),
    (
        r#"{"t":1700000000000}"#,
        "wrong_type: column `t`: expected an RFC 3339 time, found number 1700000000000",
    ),
    (
        r#"{"t":"2024-01-01"}"#,
        "wrong_type: column `t`: expected an RFC 3339 time, found text \"2024-01-01\"",
    ),
    (
        r#"{"p":"2024"}"#,
        "wrong_type: column `p`: expected a time of the strftime pattern `%Y-%m-%d %H:%M:%S`, found text \"2024\"",
    ),
    (
        r#"{"date":"2023-02-29"}"#,
        "wrong_type: column `date`: expected a date YYYY-MM-DD, found text \"2023-02-29\"",
    ),
    (
        r#"{"o":1}"#,
        "wrong_type: column `x`: expected an object at `o`, found number 1",
    ),
    (
        r#"{"o":{"q":"a"}}"#,
        "wrong_type: column `y`: expected an object at `o.q`, found text \"a\"",
    ),
    (
        r#"{"i":"a","l":"b"}"#,
        "wrong_type: column `i`: expected an integer of 32 bits, found text \"a\"",
    ),
    (
        r#"{"l":"éééééééééééééééééééééééééééééééééééééééééééééééééééééé"}"#,
        "wrong_type: column `l`: expected an integer of 64 bits, found text \"ééééééééééééééééééééééééééééééééééééééééééééééé…",
    ),
];

#[test]
fn wrong_types_name_column_expected_and_found() {
    check(false, WRONG_TYPES);
}

const MALFORMED: &[(&str, &str)] = &[
    ("", "malformed: the record is empty, at byte 0"),
    ("  ", "malformed: the record is empty, at byte 2"),
    (
        "null",
        "malformed: the document is not an object, at byte 0",
    ),
    (
        "[{}]",
        "malformed: the document is not an object, at byte 0",
    ),
    (
        "\u{feff}{}",
        "malformed: the document is not an object, at byte 0",
    ),
    (
        "{}{}",
        "malformed: more bytes follow the document, at byte 2",
    ),
    (
        "{} x",
        "malformed: more bytes follow the document, at byte 3",
    ),
    (
        "{}\0",
        "malformed: more bytes follow the document, at byte 2",
    ),
    (
        "{",
        "malformed: the record ends before the document, at byte 1",
    ),
    (
        r#"{"s":"a""#,
        "malformed: the record ends before the document, at byte 8",
    ),
    (
        r#"{"s":"a"#,
        "malformed: the record ends before the document, at byte 7",
    ),
    (
        r#"{"s""#,
        "malformed: the record ends before the document, at byte 4",
    ),
    (r#"{"s" 1}"#, "malformed: `:` was expected, at byte 5"),
    (r#"{"s":}"#, "malformed: a value was expected, at byte 5"),
    (r#"{"s":tru}"#, "malformed: a value was expected, at byte 8"),
    (r#"{"s":nul}"#, "malformed: a value was expected, at byte 8"),
    (
        r#"{"b":fals"#,
        "malformed: the record ends before the document, at byte 9",
    ),
    (
        r#"{"s":"a","#,
        "malformed: the record ends before the document, at byte 9",
    ),
    (
        r#"{"s":"a",}"#,
        "malformed: a key in double quotes was expected, at byte 9",
    ),
    (
        r#"{,"s":"a"}"#,
        "malformed: a key in double quotes was expected, at byte 1",
    ),
    (
        r#"{s:1}"#,
        "malformed: a key in double quotes was expected, at byte 1",
    ),
    (
        r#"{"s":"a" "b":true}"#,
        "malformed: `,` or the end of the object was expected, at byte 9",
    ),
    (
        r#"{"u":[1 2]}"#,
        "malformed: `,` or the end of the array was expected, at byte 8",
    ),
    (
        r#"{"u":[1,]}"#,
        "malformed: a value was expected, at byte 8",
    ),
    (
        r#"{"l":004}"#,
        "malformed: a number must not begin with 0, at byte 5",
    ),
    (r#"{"l":1.}"#, "malformed: a digit was expected, at byte 7"),
    (r#"{"l":+1}"#, "malformed: a value was expected, at byte 5"),
    (
        r#"{"u":01}"#,
        "malformed: a number must not begin with 0, at byte 5",
    ),
    (r#"{"l":NaN}"#, "malformed: a value was expected, at byte 5"),
    (
        r#"{"s":"\ud800"}"#,
        "malformed: half of a surrogate pair, at byte 12",
    ),
    (
        r#"{"u":"\ud800"}"#,
        "malformed: half of a surrogate pair, at byte 12",
    ),
    (
        r#"{"u":"\x"}"#,
        "malformed: not an escape sequence of JSON, at byte 7",
    ),
    (
        "{\"s\":\"a\nb\"}",
        "malformed: a control character stands unescaped in a string, at byte 7",
    ),
    (
        r#"{"l":"text","s":"a"} x"#,
        "malformed: more bytes follow the document, at byte 21",
    ),
    (
        r#"{'s':1}"#,
        "malformed: a key in double quotes was expected, at byte 1",
    ),
    (
        "{/**/}",
        "malformed: a key in double quotes was expected, at byte 1",
    ),
];

#[test]
fn what_is_not_one_document_is_malformed_whatever_else_is_wrong() {
    check(false, MALFORMED);
    for bad in [
        &b"{\"s\":\"\xff\"}"[..],
        b"{\"u\":\"\xc3\"}",
        b"{\"\xed\xa0\x80\":1}",
        b"{\"u\":{\"\xfe\":1}}",
    ] {
        let outcome = outcome(&every_type(), false, bad);
        assert!(outcome.starts_with("malformed: not UTF-8"), "{outcome}");
    }
}

#[test]
fn coerce_takes_numbers_as_text_and_text_as_numbers_and_booleans() {
    check(
        true,
        &[
            (r#"{"s":1.50e1}"#, "s=1.50e1"),
            (
                r#"{"s":true}"#,
                "wrong_type: column `s`: expected text, found boolean true",
            ),
            (r#"{"b":"TRUE"}"#, "b=true"),
            (r#"{"b":"false"}"#, "b=false"),
            (
                r#"{"b":"yes"}"#,
                "wrong_type: column `b`: expected true or false, found text \"yes\"",
            ),
            (
                r#"{"b":1}"#,
                "wrong_type: column `b`: expected true or false, found number 1",
            ),
            (r#"{"i":"42","l":"-\u0031"}"#, "i=42 l=-1"),
            (
                r#"{"d":"1.5","n":"1.50","ms":"0","sec":"1"}"#,
                "d=1.5 n=1.50 ms=1970-01-01T00:00:00 sec=1970-01-01T00:00:01",
            ),
            (
                r#"{"l":"3.7"}"#,
                "wrong_type: column `l`: expected an integer of 64 bits, found text \"3.7\"",
            ),
            (
                r#"{"l":3.7}"#,
                "wrong_type: column `l`: expected an integer of 64 bits, found number 3.7",
            ),
            (
                r#"{"l":" 42"}"#,
                "wrong_type: column `l`: expected an integer of 64 bits, found text \" 42\"",
            ),
            (
                r#"{"l":"042"}"#,
                "wrong_type: column `l`: expected an integer of 64 bits, found text \"042\"",
            ),
            (
                r#"{"l":""}"#,
                "wrong_type: column `l`: expected an integer of 64 bits, found text \"\"",
            ),
            (
                r#"{"l":42x}"#,
                "malformed: `,` or the end of the object was expected, at byte 7",
            ),
        ],
    );
}

#[test]
fn a_required_column_must_be_there() {
    let columns = [ColumnSpec {
        required: true,
        ..nested("c", &["o", "c"], ColumnType::Int64)
    }];
    let missing = "missing_column: column `c`: it is required, and missing or null";
    for (value, expected) in [
        (r#"{"o":{"c":1}}"#, "c=1"),
        (r#"{"o":{"c":null}}"#, missing),
        (r#"{"o":{}}"#, missing),
        (r#"{"o":null}"#, missing),
        (r#"{"c":1}"#, missing),
        (
            r#"{"o":[]}"#,
            "wrong_type: column `c`: expected an object at `o`, found an array",
        ),
    ] {
        assert_eq!(
            outcome(&columns, false, value.as_bytes()),
            expected,
            "{value}"
        );
    }
}

#[test]
fn the_schema_is_of_the_declared_types_and_an_empty_one_still_has_rows() {
    let decoded = decode(&every_type(), false, &[]);
    assert_eq!(decoded.columns.schema(), schema_of(&every_type()));
    assert_eq!(decoded.columns.num_rows(), 0);
    let decoded = decode(&[], false, &[b"{\"a\":1}", b"{", b"{}"]);
    assert_eq!(
        (decoded.columns.num_rows(), decoded.records),
        (2, vec![0, 2])
    );
}
