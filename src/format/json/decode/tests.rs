//! Records to rows, case by case, and what a bad record leaves behind.

use super::{JsonDecoder, schema_of};
use crate::batch::Cause;
use crate::fetch::{Fetch, TopicPartition};
use crate::format::Decoded;
use crate::spec::diagnostic::Span;
use crate::spec::{ColumnSpec, ColumnType, Spanned};
use arrow_array::RecordBatch;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

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

fn decode(columns: &[ColumnSpec], coerce: bool, values: &[&[u8]]) -> Decoded {
    let fetch = fetch_of(values.iter().map(|value| Some(*value)));
    JsonDecoder::new(columns, coerce).decode(&fetch, 0..fetch.len())
}

/// The cells of a row that are not NULL, as `name=value`.
fn row(rows: &RecordBatch, row: usize) -> String {
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

fn outcome(columns: &[ColumnSpec], coerce: bool, value: &[u8]) -> String {
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

#[test]
fn wrong_types_name_column_expected_and_found() {
    check(
        false,
        &[
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
        ],
    );
}

#[test]
fn what_is_not_one_document_is_malformed_whatever_else_is_wrong() {
    check(
        false,
        &[
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
        ],
    );
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
fn duplicate_keys_are_found_at_every_level_and_in_every_spelling() {
    let many: String = (0..400).map(|key| format!("\"k{key}\":0,")).collect();
    let nested = |keys: &str| format!("{{\"u\":{{{keys}}}}}");
    let bad = [
        r#"{"s":"a","s":"a"}"#.to_owned(),
        r#"{"s":"a","\u0073":"a"}"#.to_owned(),
        r#"{"s":null,"s":null}"#.to_owned(),
        r#"{"u":1,"u":2}"#.to_owned(),
        r#"{"u":1,"v":1,"\u0075":2}"#.to_owned(),
        r#"{"o":{"x":1,"x":1}}"#.to_owned(),
        r#"{"o":{"x":1},"o":{"q":null}}"#.to_owned(),
        r#"{"o":{"z":1,"z":1}}"#.to_owned(),
        r#"{"u":{"a":1,"a":1}}"#.to_owned(),
        r#"{"u":[{"a":1,"b":{},"\u0061":1}]}"#.to_owned(),
        format!("{{{many}\"k399\":1}}"),
        format!("{{{many}\"k3\":1}}"),
        format!("{{{many}\"k\\u0033\":1}}"),
        nested(&format!("{many}\"k77\":1")),
        format!("{{\"{0}\":1,\"{0}\":1}}", "k".repeat(1000)),
        format!(
            "{{\"{}\":1,\"{}\":1}}",
            "\\u006b".repeat(200),
            "k".repeat(200)
        ),
    ];
    for value in &bad {
        let outcome = outcome(&every_type(), false, value.as_bytes());
        assert!(
            outcome.starts_with("malformed: a key stands twice in one object"),
            "{value}: {outcome}"
        );
    }
    let good = [
        r#"{"u":{"u":{"u":1}},"v":[{"a":1},{"a":1}]}"#.to_owned(),
        r#"{"o":{"s":"x","o":1},"s":"a"}"#.to_owned(),
        format!("{{{many}\"s\":\"a\"}}"),
        nested(&format!("{many}\"a\":{{\"k1\":1}}")),
    ];
    let decoded = decode(
        &every_type(),
        false,
        &good.iter().map(|text| text.as_bytes()).collect::<Vec<_>>(),
    );
    assert_eq!(decoded.bad, []);
    // The same records again and again: what one of them taught must not disturb another.
    let all: Vec<&[u8]> = (0..10)
        .flat_map(|_| bad.iter().chain(&good))
        .map(|text| text.as_bytes())
        .collect();
    let decoded = decode(&every_type(), false, &all);
    assert_eq!(
        (decoded.bad.len(), decoded.records.len()),
        (10 * bad.len(), 10 * good.len())
    );
}

#[test]
fn keys_that_are_too_many_to_be_remembered_are_still_told_apart() {
    let many: Vec<String> = (0..400).map(|key| format!("\"k{key}\":0")).collect();
    let many = format!("{{{}}}", many.join(","));
    let records = [
        &many,
        r#"{"k399":1}"#,
        r#"{"k399":1,"k399":1}"#,
        r#"{"k399":1,"k398":1}"#,
    ];
    let decoded = decode(
        &every_type(),
        false,
        &records.map(|record| record.as_bytes()),
    );
    assert_eq!(decoded.records, [0, 1, 3]);
}

#[test]
fn nesting_is_taken_to_128_levels() {
    let arrays = |depth: usize| format!("{{\"u\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{}1{}", "{\"u\":".repeat(depth), "}".repeat(depth));
    for good in [arrays(127), objects(128)] {
        assert_eq!(outcome(&every_type(), false, good.as_bytes()), "");
    }
    for bad in [
        arrays(128),
        objects(129),
        "{\"u\":[".repeat(1_000_000),
        "{\"o\":".repeat(100_000),
    ] {
        let outcome = outcome(&every_type(), false, bad.as_bytes());
        assert!(
            outcome.starts_with("malformed: nested deeper than 128 levels"),
            "{outcome}"
        );
    }
    // Levels on the way to a column count like others.
    let names: Vec<String> = (0..129).map(|level| format!("l{level}")).collect();
    let path = |depth: usize| {
        names[..depth]
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()
    };
    let document = |depth: usize| {
        format!(
            "{}1{}",
            names[..depth]
                .iter()
                .map(|name| format!("{{\"{name}\":"))
                .collect::<String>(),
            "}".repeat(depth)
        )
    };
    assert_eq!(
        outcome(
            &[nested("c", &path(128), ColumnType::Int64)],
            false,
            document(128).as_bytes()
        ),
        "c=1"
    );
    let deeper = outcome(
        &[nested("c", &path(129), ColumnType::Int64)],
        false,
        document(129).as_bytes(),
    );
    assert!(deeper.starts_with("malformed: nested deeper"), "{deeper}");
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
fn columns_may_share_a_path_or_lie_below_each_other() {
    let columns = [
        nested("a", &["p"], ColumnType::String),
        nested("b", &["p"], ColumnType::Date),
        nested("c", &["q", "r"], ColumnType::Int64),
        nested("d", &["q"], ColumnType::Int64),
        nested("e", &["q", "s"], ColumnType::Int64),
    ];
    let cases = [
        (r#"{"p":"2024-01-01"}"#, "a=2024-01-01 b=2024-01-01"),
        (
            r#"{"p":"x"}"#,
            "wrong_type: column `b`: expected a date YYYY-MM-DD, found text \"x\"",
        ),
        (
            r#"{"q":{"r":1,"s":2}}"#,
            "wrong_type: column `d`: expected an integer of 64 bits, found an object",
        ),
        (
            r#"{"q":1}"#,
            "wrong_type: column `c`: expected an object at `q`, found number 1",
        ),
        (r#"{"q":null}"#, ""),
    ];
    for (value, expected) in cases {
        assert_eq!(
            outcome(&columns, false, value.as_bytes()),
            expected,
            "{value}"
        );
    }
}

#[test]
fn a_bad_record_leaves_its_neighbours_alone() {
    let good = |n: usize| {
        format!(
            r#"{{"s":"row {n}\t","b":true,"i":{n},"l":{n},"d":{n},"n":{n},"ms":{n},"t":"1970-01-01T00:00:00Z","date":"1970-01-01","o":{{"x":{n},"q":{{"y":"y"}}}}}}"#
        )
    };
    let whole = good(1);
    let mut texts = vec![];
    let mut values: Vec<Option<Vec<u8>>> = vec![None];
    // Every prefix of a record between two whole ones, and the whole one with each byte broken.
    for cut in 0..whole.len() {
        let mut broken = whole.clone().into_bytes();
        broken[cut] = 0xff;
        for bad in [whole.as_bytes()[..cut].to_vec(), broken] {
            let text = good(values.len());
            values.push(Some(text.clone().into_bytes()));
            values.push(Some(bad));
            texts.push(text);
        }
    }
    let fetch = fetch_of(values.iter().map(|value| value.as_deref()));
    let mut decoder = JsonDecoder::new(&every_type(), false);
    // In two calls, so that the second begins within the fetch.
    for range in [0..101, 101..fetch.len()] {
        let decoded = decoder.decode(&fetch, range.clone());
        let odd: Vec<u32> = range
            .clone()
            .filter(|record| record % 2 == 1)
            .map(|record| record as u32)
            .collect();
        assert_eq!(decoded.records, odd);
        assert_eq!(decoded.bad.len(), range.len() - odd.len());
        assert!(decoded.bad.iter().all(|bad| bad.record % 2 == 0));
        for (index, record) in decoded.records.iter().enumerate() {
            let alone = outcome(&every_type(), false, texts[*record as usize / 2].as_bytes());
            assert_eq!(row(&decoded.columns, index), alone);
        }
        if range.start == 0 {
            assert_eq!(
                (decoded.bad[0].record, decoded.bad[0].cause),
                (0, Cause::NullValue)
            );
        }
    }
}

#[test]
fn order_and_white_space_change_nothing() {
    let mut random = StdRng::seed_from_u64(7);
    let mut values = vec![];
    for n in 0..2000 {
        let mut fields: Vec<String> = (0..6)
            .map(|_| format!("\"u{}\"", random.random_range(0..400)))
            .collect();
        fields.sort();
        fields.dedup();
        fields.iter_mut().for_each(|field| field.push_str(":[1]"));
        fields.push(format!("\"s\":\"{n}\""));
        fields.push(format!("\"l\" : {n}"));
        fields.push(format!("\"o\":{{\"q\":{{\"y\":\"{n}\"}},\"x\":{n}}}"));
        let count = fields.len();
        for index in 0..count {
            fields.swap(index, random.random_range(0..count));
        }
        let space = [" ", "", "\n", "\r\n\t "][random.random_range(0..4)];
        values.push(format!(
            "{space}{{{space}{}{space}}}{space}",
            fields.join(&format!("{space},{space}"))
        ));
    }
    let decoded = decode(
        &every_type(),
        false,
        &values
            .iter()
            .map(|value| value.as_bytes())
            .collect::<Vec<_>>(),
    );
    assert_eq!(decoded.bad, []);
    for n in 0..values.len() {
        assert_eq!(row(&decoded.columns, n), format!("s={n} l={n} x={n} y={n}"));
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
