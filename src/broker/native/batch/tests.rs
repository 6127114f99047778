//! Batches as Kafka writes them and as the test encoder does: what is visible, in what pieces, and where the reader then stands.
//!
//! Invariant: every expectation comes from how the bytes were made, none from reading them.

mod damage;
pub(in crate::broker::native) mod encoder;
mod transactions;

use super::super::codec::compress::{FORMS, Form};
use super::*;
use crate::fetch::TopicPartition;
use encoder::{Bat, LOG_APPEND_TIME, bat, marker, rec};

/// Offset, timestamp, key and value.
type Row = (i64, i64, Option<Vec<u8>>, Option<Vec<u8>>);

fn fetch() -> Fetch {
    Fetch::new(TopicPartition::new("t", 0))
}

fn rows(fetch: &Fetch) -> Vec<Row> {
    let own = |bytes: Option<&[u8]>| bytes.map(<[u8]>::to_vec);
    (0..fetch.len())
        .map(|i| {
            let (key, value) = (own(fetch.key(i)), own(fetch.value(i)));
            (fetch.offset(i), fetch.timestamp(i), key, value)
        })
        .collect()
}

/// What a batch must give where all of it is visible.
fn rows_of(batch: &Bat) -> Vec<Row> {
    let by_log = batch.flags & LOG_APPEND_TIME != 0;
    let time = |delta: i64| match by_log {
        true => batch.max_timestamp,
        false => batch.base_timestamp + delta,
    };
    let records = batch.records.iter();
    records
        .map(|r| {
            let offset = batch.base + r.delta;
            (
                offset,
                time(r.timestamp_delta),
                r.key.clone(),
                r.value.clone(),
            )
        })
        .collect()
}

fn encoded(batches: &[Bat]) -> Bytes {
    batches.iter().flat_map(Bat::encode).collect()
}

/// Reads in steps of so many records, each into a fetch of its own, until nothing is left; also says where it ended.
fn read(
    batches: &mut Batches,
    mut position: i64,
    step: usize,
) -> Result<(Vec<Row>, i64), BatchError> {
    let (mut decoder, mut all) = (Decoder::default(), vec![]);
    while !batches.is_done() {
        let mut fetch = fetch();
        let next = batches.take(position, step, usize::MAX, &mut decoder, &mut fetch)?;
        assert!(next > position, "a call that gets nowhere");
        assert!(fetch.len() <= step);
        assert!(fetch.next_offset().is_none_or(|after| after <= next));
        position = next;
        all.extend(rows(&fetch));
    }
    Ok((all, position))
}

fn read_all(records: Bytes) -> Result<Vec<Row>, BatchError> {
    read(&mut Batches::new(records, vec![]), 0, usize::MAX).map(|(rows, _)| rows)
}

fn bytes_of(hex: &str) -> Bytes {
    let digits: Vec<u32> = hex.chars().filter_map(|c| c.to_digit(16)).collect();
    digits.chunks(2).map(|d| (d[0] * 16 + d[1]) as u8).collect()
}

fn row(offset: i64, timestamp: i64, key: Option<&str>, value: Option<&str>) -> Row {
    (
        offset,
        timestamp,
        key.map(Into::into),
        value.map(Into::into),
    )
}

/// Written by `MemoryRecordsBuilder` of Kafka 4.1.1. Behind 61 bytes of header the first one has, by hand:
/// `3e` 31 bytes; `00` attributes; `00` timestamp +0; `00` offset +0; `04 6b31` key; `2e …` value of 23 bytes; `00` no headers.
const BY_KAFKA: [(Form, &str); 5] = [
    (
        Form::None,
        "00000000000003e8 0000007d 00000005 02 3f27efe0 0000 00000004 0000018bcfe56800 0000018bcfe56805
         000000000000004d 0003 0000000b 00000003
         3e 00 00 00 04 6b31 2e 68656c6c6f2068656c6c6f2068656c6c6f2068656c6c6f 00
         48 00 0a 02 01 2e 68656c6c6f2068656c6c6f2068656c6c6f20616761696e 04 0268 0276 026e 01
         0c 00 13 08 00 01 00",
    ),
    (
        Form::Gzip,
        "00000000000003e8 00000071 00000005 02 01c04c48 0001 00000004 0000018bcfe56800 0000018bcfe56805
         000000000000004d 0003 0000000b 00000003
         1f8b08000000000000ffb363606060c936d4cb48cdc9c957c020193c18b89818b1c826a62766e6b13065309531e5
         31f23008733030320000587558564c000000",
    ),
    (
        Form::Snappy(0),
        "00000000000003e8 00000077 00000005 02 a108cd8e 0002 00000004 0000018bcfe56800 0000018bcfe56805
         000000000000004d 0003 0000000b 00000003
         82534e41505059000000000100000001000000324c343e000000046b312e68656c6c6f20420600140048000a0201
         4a1e004c616761696e0402680276026e010c001308000100",
    ),
    (
        Form::Lz4,
        "00000000000003e8 00000071 00000005 02 0f745b01 0003 00000004 0000018bcfe56800 0000018bcfe56805
         000000000000004d 0003 0000000b 00000003
         04224d1860408231000000ed3e000000046b312e68656c6c6f2006006f0048000a02011e0000f005616761696e04
         02680276026e010c00130800010000000000",
    ),
    (
        Form::ZstdStream,
        "00000000000003e8 0000006f 00000005 02 079c7ade 0004 00000004 0000018bcfe56800 0000018bcfe56805
         000000000000004d 0003 0000000b 00000003
         28b52ffd005894010084023e000000046b312e68656c6c6f200048000a0201616761696e0402680276026e010c00
         13080001000200412545e6a204010000",
    ),
];

#[test]
fn batches_that_kafka_wrote_are_read() {
    let expected = [
        row(
            1000,
            1_700_000_000_000,
            Some("k1"),
            Some("hello hello hello hello"),
        ),
        row(
            1001,
            1_700_000_000_005,
            None,
            Some("hello hello hello again"),
        ),
        row(1004, 1_699_999_999_990, Some(""), None),
    ];
    for (form, hex) in BY_KAFKA {
        let mut batches = Batches::new(bytes_of(hex), vec![]);
        assert_eq!(
            (batches.next_offset(), batches.leader_epoch()),
            (Some(1005), Some(5))
        );
        let (rows, end) = read(&mut batches, 0, 10).unwrap();
        assert_eq!((&rows[..], end), (&expected[..], 1005), "{form:?}");
    }
    let by_log_time =
        "0000000000000007 00000039 ffffffff 02 93095e96 0008 00000000 0000018bcfe56800
         0000018bcfe5687b ffffffffffffffff ffff ffffffff 00000001 0e 00 00 00 01 02 78 00";
    let expected = [row(7, 1_700_000_000_123, None, Some("x"))];
    assert_eq!(read_all(bytes_of(by_log_time)).unwrap(), expected);
}

#[test]
fn the_test_encoder_writes_what_kafka_writes() {
    let mut batch = bat(
        1000,
        &["hello hello hello hello", "hello hello hello again"],
    );
    batch.base_timestamp = 1_700_000_000_000;
    batch.max_timestamp = 1_700_000_000_005;
    batch.records[0].key = Some(b"k1".to_vec());
    batch.records[1].timestamp_delta = 5;
    batch.records[1].headers = vec![(b"h".to_vec(), Some(b"v".to_vec())), (b"n".to_vec(), None)];
    batch.records.push(rec(4, Some(""), None));
    batch.records[2].timestamp_delta = -10;
    let batch = Bat {
        last_delta: 4,
        leader_epoch: 5,
        producer: 77,
        ..batch
    };
    let mut expected = bytes_of(BY_KAFKA[0].1).to_vec();
    // The producer's epoch and sequence are other ones, and nobody reads them.
    expected[51..57].copy_from_slice(&[0, 7, 0, 0, 0, 40]);
    encoder::correct_checksum(&mut expected);
    assert_eq!(batch.encode(), expected);
}

#[test]
fn the_format_before_0_11_is_refused_by_name() {
    let old = [
        "0000000000000007 0000000f 35b492f2 00 00 ffffffff 00000001 78",
        "0000000000000007 00000017 26df07c2 01 00 0000018bcfe56800 ffffffff 00000001 78",
    ];
    for (magic, hex) in old.into_iter().enumerate() {
        let good = encoded(&[bat(3, &["a"])]);
        let mut batches = Batches::new([&good[..], &bytes_of(hex)].concat().into(), vec![]);
        assert_eq!(batches.next_offset(), Some(4));
        let mut fetch = fetch();
        let mut take = |from| batches.take(from, 10, 1000, &mut Decoder::default(), &mut fetch);
        assert_eq!(take(0), Ok(4));
        let error = take(4).unwrap_err();
        assert_eq!(error, BatchError::OldFormat { magic: magic as i8 });
        assert!(error.to_string().contains("kafka.fetch: librdkafka"));
    }
}

/// Batches of all kinds of records, one after another, with gaps between and inside.
fn mixed(form: Form) -> Vec<Bat> {
    let long = "0123456789".repeat(700);
    let mut first = bat(10, &["a", "", "c"]);
    first.records[0].key = Some(b"key".to_vec());
    first.records[1].key = Some(vec![]);
    first.records[2].value = None;
    first.records[2].headers = vec![(vec![], None), (b"name".to_vec(), Some(vec![7; 300]))];
    let mut gaps = bat(20, &[]);
    gaps.records = vec![
        rec(2, Some("k"), Some(&long)),
        rec(70, None, None),
        rec(9_000, Some(&long), None),
    ];
    gaps.records[0].timestamp_delta = -1_000_000;
    gaps.records[1].timestamp_delta = i64::from(i32::MAX) * 50;
    gaps.last_delta = 9_005;
    let mut logged = bat(10_000, &["x", "y"]);
    logged.flags = LOG_APPEND_TIME;
    let mut untimed = bat(10_002, &["z"]);
    untimed.base_timestamp = -1;
    let many: Vec<String> = (0..300).map(|i| format!("value {i}")).collect();
    let many = bat(10_003, &many.iter().map(String::as_str).collect::<Vec<_>>());
    [first, gaps, logged, untimed, many]
        .map(|batch| batch.form(form))
        .to_vec()
}

#[test]
fn all_kinds_of_records_come_back_in_every_form_and_in_pieces_of_every_size() {
    for form in FORMS {
        let batches = mixed(form);
        let expected: Vec<Row> = batches.iter().flat_map(rows_of).collect();
        for step in [1, 2, 3, 4, 7, 100, 299, 300, 305, usize::MAX] {
            let mut batches = Batches::new(encoded(&batches), vec![]);
            assert_eq!(batches.next_offset(), Some(10_303));
            let (rows, end) = read(&mut batches, 0, step).unwrap();
            assert!(rows == expected, "{form:?} {step}");
            assert_eq!((end, batches.bytes()), (10_303, 0));
        }
    }
}

#[test]
fn records_below_the_position_are_not_handed_out() {
    let batches = mixed(Form::Lz4);
    let all: Vec<Row> = batches.iter().flat_map(rows_of).collect();
    for position in [
        0, 10, 11, 12, 13, 22, 23, 90, 9_020, 9_021, 10_001, 10_100, 10_302,
    ] {
        for step in [1, 5, 1000] {
            let mut batches = Batches::new(encoded(&batches), vec![]);
            let (rows, end) = read(&mut batches, position, step).unwrap();
            let expected = all.iter().filter(|row| row.0 >= position);
            assert!(rows.iter().eq(expected), "{position} {step}");
            assert_eq!(end, 10_303);
        }
    }
    let mut beyond = Batches::new(encoded(&batches), vec![]);
    // Even a call that has no room gets past them.
    let taken = beyond.take(20_000, 0, 10, &mut Decoder::default(), &mut fetch());
    assert_eq!((taken, beyond.is_done()), (Ok(20_000), true));
}

#[test]
fn a_position_that_moves_on_between_calls_skips_what_is_already_open() {
    let mut batches = Batches::new(encoded(&[bat(0, &["a", "b", "c", "d", "e"])]), vec![]);
    let (mut decoder, mut into) = (Decoder::default(), fetch());
    let mut take = |from, most, fetch: &mut Fetch| {
        let next = batches.take(from, most, 1000, &mut decoder, fetch);
        (next, batches.is_done())
    };
    assert_eq!(take(0, 1, &mut into), (Ok(1), false));
    // One that goes back brings nothing again.
    assert_eq!(take(0, 1, &mut fetch()), (Ok(2), false));
    assert_eq!(take(3, 2, &mut into), (Ok(4), false));
    assert_eq!(take(9, 5, &mut into), (Ok(9), true));
    let offsets: Vec<i64> = rows(&into).iter().map(|row| row.0).collect();
    assert_eq!(offsets, [0, 3]);
}

#[test]
fn a_fetch_takes_from_several_batches_until_it_is_full_in_records_or_bytes() {
    let three = [
        bat(0, &["aaaa", "bbbb"]),
        bat(2, &["cccc", "dddd"]),
        bat(4, &["eeee"]),
    ];
    // Bytes at which it is full, and the records it then holds: a batch that is begun for its bytes is taken whole.
    for (bytes, held) in [(0, 0), (1, 2), (9, 2), (30, 4), (1000, 5)] {
        let mut batches = Batches::new(encoded(&three), vec![]);
        let mut fetch = fetch();
        let next = batches.take(0, 100, bytes, &mut Decoder::default(), &mut fetch);
        assert_eq!((fetch.len(), next), (held, Ok(held as i64)), "{bytes}");
        assert!(held == 5 || fetch.bytes() >= bytes);
    }
}

#[test]
fn an_open_batch_stops_at_the_first_record_that_fills_the_bytes() {
    let mut batches = Batches::new(
        encoded(&[bat(0, &["aaaa", "bbbb", "cccc", "dddd"])]),
        vec![],
    );
    let (mut decoder, mut first, mut second) = (Decoder::default(), fetch(), fetch());
    assert_eq!(batches.take(0, 1, 1000, &mut decoder, &mut first), Ok(1));
    assert_eq!(batches.take(1, 100, 5, &mut decoder, &mut second), Ok(3));
    let expected = [
        row(1, 1_000_010, None, Some("bbbb")),
        row(2, 1_000_020, None, Some("cccc")),
    ];
    assert_eq!(rows(&second), expected);
}

#[test]
fn a_batch_is_decompressed_once_however_small_the_pieces() {
    let value = "v".repeat(1000);
    let values = vec![value.as_str(); 100];
    let mut batches = Batches::new(encoded(&[bat(0, &values).form(Form::Zstd)]), vec![]);
    let mut decoder = Decoder::default();
    assert!(batches.bytes() < 1000);
    let mut held = vec![];
    for piece in 0..9 {
        assert_eq!(
            batches.take(piece * 10, 10, 1 << 20, &mut decoder, &mut fetch()),
            Ok(piece * 10 + 10)
        );
        held.push(batches.bytes());
    }
    // The response is used up by the first piece; what is over stays as it is until the last.
    assert!(
        held.iter()
            .all(|bytes| *bytes == held[0] && *bytes > 100_000),
        "{held:?}"
    );
    assert_eq!(
        batches.take(90, 10, 1 << 20, &mut decoder, &mut fetch()),
        Ok(100)
    );
    assert_eq!((batches.bytes(), batches.is_done()), (0, true));
}

#[test]
fn what_is_invisible_is_passed_by_at_once_even_by_a_full_fetch() {
    let emptied = Bat {
        last_delta: 9,
        ..bat(30, &[])
    };
    let log = [
        bat(5, &["a"]),
        marker(6, 1, 1),
        emptied,
        marker(40, 1, 7),
        bat(50, &["b"]),
        marker(51, 1, 0),
    ];
    let mut batches = Batches::new(encoded(&log), vec![]);
    let (mut decoder, mut fetch) = (Decoder::default(), fetch());
    let mut take = |from, most| {
        let next = batches.take(from, most, 1000, &mut decoder, &mut fetch);
        (next, batches.is_done())
    };
    assert_eq!(take(0, 0), (Ok(5), false));
    assert_eq!(take(5, 1), (Ok(50), false));
    assert_eq!(take(50, 1), (Ok(50), false));
    assert_eq!(take(50, 2), (Ok(52), true));
    assert_eq!(take(52, 2), (Ok(52), true));
}

#[test]
fn a_response_without_a_complete_batch_holds_nothing() {
    for records in [Bytes::new(), encoded(&[bat(0, &["a"])]).slice(..60)] {
        let mut batches = Batches::new(records, vec![]);
        assert!(batches.is_done());
        assert_eq!(
            (
                batches.next_offset(),
                batches.leader_epoch(),
                batches.bytes()
            ),
            (None, None, 0)
        );
        assert_eq!(
            batches.take(9, 1, 1, &mut Decoder::default(), &mut fetch()),
            Ok(9)
        );
    }
}

#[test]
fn a_fetch_whose_records_are_beyond_the_position_still_rises() {
    let mut batches = Batches::new(encoded(&[bat(0, &["a", "b", "c"])]), vec![]);
    let mut fetch = fetch();
    fetch.push(1, 0, None, None);
    assert_eq!(
        batches.take(0, 10, 100, &mut Decoder::default(), &mut fetch),
        Ok(3)
    );
    assert_eq!(
        rows(&fetch).iter().map(|row| row.0).collect::<Vec<_>>(),
        [1, 2]
    );
}

#[test]
fn batches_that_overlap_give_no_offset_twice() {
    let mut wide = bat(0, &["a", "b", "c"]);
    wide.last_delta = 9;
    let mut batches = Batches::new(encoded(&[wide, bat(1, &["x", "y", "z"])]), vec![]);
    assert_eq!(batches.next_offset(), Some(10));
    let (rows, end) = read(&mut batches, 0, 2).unwrap();
    let offsets: Vec<i64> = rows.iter().map(|row| row.0).collect();
    assert_eq!((&offsets[..], end), (&[0, 1, 2][..], 10));
}

#[test]
fn a_gap_inside_an_open_batch_is_passed_by_at_once() {
    let gaps = mixed(Form::None).swap_remove(1);
    let mut batches = Batches::new(encoded(&[gaps]), vec![]);
    let mut take = |from| batches.take(from, 1, 1 << 20, &mut Decoder::default(), &mut fetch());
    assert_eq!(
        (take(0), take(90), take(9_020)),
        (Ok(90), Ok(9_020), Ok(9_026))
    );
}

#[test]
fn a_response_that_is_used_up_is_let_go() {
    let response = encoded(&mixed(Form::None));
    let mut batches = Batches::new(response.clone(), vec![]);
    read(&mut batches, 0, 7).unwrap();
    assert!(response.is_unique());
}
