//! What surrounds the values: keys, nesting, order, white space, and the records before and after a bad one.

use super::JsonDecoder;
use super::tests::{decode, every_type, fetch_of, nested, outcome, row};
use crate::batch::Cause;
use crate::spec::ColumnType;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

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
