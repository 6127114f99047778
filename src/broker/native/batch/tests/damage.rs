//! Batches that are cut, altered or made up: an error that says what is wrong, or the truth, and nothing in between.
//!
//! Invariant: after an error the fetch holds what it held before the bad batch, whole.

use super::encoder::{body, correct_checksum, varint};
use super::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

fn what(result: Result<Vec<Row>, BatchError>) -> String {
    match result {
        Err(BatchError::Damaged { what, .. }) => what,
        other => panic!("{other:?}"),
    }
}

/// What is done to a good batch.
type Change = fn(&mut Bat);

#[test]
fn headers_that_cannot_be_are_named() {
    let cases: [(&str, Change); 8] = [
        ("a negative offset", |b| b.base = -1),
        ("a negative offset", |b| b.last_delta = -1),
        ("an offset beyond all numbers", |b| b.base = i64::MAX - 1),
        ("a negative number of records", |b| b.count = Some(-1)),
        ("an offset out of order", |b| b.last_delta = 0),
        ("more records counted than it has room for", |b| {
            b.count = Some(i32::MAX)
        }),
        ("more bytes than its records take", |b| b.count = Some(1)),
        ("a record that ends too early", |b| b.count = Some(3)),
    ];
    for (expected, change) in cases {
        let mut batch = bat(7, &["first value", "second value"]);
        change(&mut batch);
        assert_eq!(what(read_all(encoded(&[batch]))), expected);
    }
}

#[test]
fn bytes_that_cannot_be_are_named() {
    // Where, what is put there, and whether the checksum is made right again.
    let cases: [(&str, usize, &[u8], bool); 9] = [
        ("a negative length", 8, &[0xFF], false),
        ("shorter than a batch can be", 8, &[0, 0, 0, 4], false),
        ("shorter than its header", 8, &[0, 0, 0, 48], false),
        ("its checksum is wrong", 8, &[0, 0, 0, 49], false),
        ("its checksum is wrong", 17, &[1, 2, 3, 4], false),
        ("its checksum is wrong", 64, &[99], false),
        ("magic number 3", 16, &[3], false),
        ("magic number -1", 16, &[0xFF], false),
        ("an unknown compression", 22, &[5], true),
    ];
    for (expected, at, bytes, correct) in cases {
        let mut batch = bat(7, &["value"]).encode();
        batch[at..at + bytes.len()].copy_from_slice(bytes);
        if correct {
            correct_checksum(&mut batch);
        }
        assert_eq!(what(read_all(batch.into())), expected);
    }
}

#[test]
fn records_that_cannot_be_are_named() {
    // The body of the second of two records, without its length.
    let cases: [(&str, &[u8]); 16] = [
        ("an offset out of order", b"\0\0\0\x01\x01\0"),
        ("an offset out of order", b"\0\0\x01\x01\x01\0"),
        ("an offset out of order", b"\0\0\x06\x01\x01\0"),
        ("a negative length", b"\0\0\x02\x03\x01\0"),
        ("a negative length", b"\0\0\x02\x01\x09\0"),
        ("a record that ends too early", b"\0\0\x02\x08ab\0"),
        ("a record that ends too early", b"\0\0\x02\x01\x01"),
        ("a record that ends too early", b"\0\x80"),
        ("a record longer than its parts", b"\0\0\x02\x01\x01\0\0"),
        ("a negative number of headers", b"\0\0\x02\x01\x01\x01"),
        ("a header without a name", b"\0\0\x02\x01\x01\x02\x01\x01"),
        (
            "a record that ends too early",
            b"\0\0\x02\x01\x01\xfe\xff\xff\xff\x0f\0",
        ),
        (
            "a number of too many bytes",
            b"\0\0\x80\x80\x80\x80\x10\x01\x01\0",
        ),
        (
            "a number of too many bytes",
            b"\0\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02\x02\x01\x01\0",
        ),
        (
            "a number of too many bytes",
            b"\0\0\x80\x80\x80\x80\x80\0\x01\x01\0",
        ),
        (
            "a number of too many bytes",
            b"\0\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\0\x02\x01\x01\0",
        ),
    ];
    for (expected, second) in cases {
        let batch = Bat {
            last_delta: 2,
            ..bat(7, &["first", "second"])
        };
        let mut records = vec![];
        for body in [&body(&batch.records[0])[..], second] {
            varint(&mut records, body.len() as i64);
            records.extend(body);
        }
        assert_eq!(
            what(read_all(batch.around(&records).into())),
            expected,
            "{second:?}"
        );
    }
    for (expected, length) in [
        ("a record of negative length", &b"\x01"[..]),
        ("a record that ends too early", b"\xfe\xff\xff\xff\x0f"),
    ] {
        let batch = bat(7, &["only"]);
        let records = [length, b"\0\0\0\x01\x01\0"].concat();
        assert_eq!(what(read_all(batch.around(&records).into())), expected);
    }
}

#[test]
fn the_widest_numbers_are_read() {
    let mut batch = bat(5, &["a", "b"]);
    batch.base_timestamp = 0;
    batch.records[0].timestamp_delta = i64::MIN;
    batch.records[1].timestamp_delta = i64::MAX;
    batch.records[1].delta = i64::from(i32::MAX);
    batch.last_delta = i32::MAX;
    let rows = read_all(encoded(&[batch.clone()])).unwrap();
    assert_eq!(rows, rows_of(&batch));
}

#[test]
fn what_swells_beyond_all_bounds_is_refused_and_so_is_damage_below_the_codec() {
    let zeros = "\0".repeat(BATCH_BYTES + 1);
    for form in [
        Form::None,
        Form::Zstd,
        Form::Lz4,
        Form::Gzip,
        Form::Snappy(1 << 20),
    ] {
        let batch = bat(7, &[&zeros]).form(form);
        let limit = BATCH_BYTES;
        assert_eq!(
            read_all(encoded(&[batch])),
            Err(BatchError::TooLarge { offset: 7, limit })
        );
    }
    let batch = bat(7, &["a"])
        .form(Form::Lz4)
        .around(b"nothing that lz4 knows");
    assert_eq!(what(read_all(batch.into())), "lz4 data: not an lz4 frame");
}

#[test]
fn control_records_without_a_type_are_refused() {
    for key in [None, Some(vec![]), Some(vec![0, 0, 0])] {
        let mut batch = marker(7, 1, 0);
        batch.records[0].key = key;
        assert_eq!(
            what(read_all(encoded(&[batch]))),
            "a control record without a type"
        );
    }
}

#[test]
fn what_stands_before_a_bad_batch_is_handed_out_first_and_nothing_of_the_bad_one_ever() {
    let good = [bat(0, &["a", "b", "c"]), marker(3, 1, 1)];
    let bad = Bat {
        count: Some(3),
        ..bat(4, &["d", "e", "f", "g"])
    };
    for step in [1, 2, 3, 4, 100] {
        let mut batches = Batches::new(
            encoded(&[&good[..], &[bad.clone(), bat(9, &["h"])]].concat()),
            vec![],
        );
        let (mut decoder, mut into) = (Decoder::default(), fetch());
        let mut position = 0;
        let error = loop {
            let most = into.len() + step;
            match batches.take(position, most, usize::MAX, &mut decoder, &mut into) {
                Ok(next) => position = next,
                Err(error) => break error,
            }
        };
        assert_eq!(rows(&into), rows_of(&good[0]), "{step}");
        assert_eq!((position, batches.is_done()), (4, false));
        assert!(
            matches!(error, BatchError::Damaged { offset: 4, .. }),
            "{error}"
        );
        let again = batches.take(position, 100, usize::MAX, &mut decoder, &mut into);
        assert_eq!((again, into.len()), (Err(error), 3));
    }
}

#[test]
fn a_cut_anywhere_costs_the_cut_batch_and_no_other() {
    for form in [Form::None, Form::Lz4] {
        let log = [bat(3, &["a", "b"]), bat(5, &["c"]), bat(9, &["d", "e"])].map(|b| b.form(form));
        let bytes = encoded(&log);
        let ends: Vec<usize> = (1..=3).map(|n| encoded(&log[..n]).len()).collect();
        for cut in 0..=bytes.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count();
            let mut batches = Batches::new(bytes.slice(..cut), vec![]);
            assert_eq!(
                batches.next_offset(),
                [None, Some(5), Some(6), Some(11)][whole]
            );
            let (rows, _) = read(&mut batches, 0, 2).unwrap();
            let expected: Vec<Row> = log[..whole].iter().flat_map(rows_of).collect();
            assert_eq!(rows, expected, "{form:?} {cut}");
        }
    }
}

/// The checksum does not cover the first offset and the leader epoch: there a change shows in the offsets, or not at all.
#[test]
fn one_altered_byte_is_an_error_or_changes_nothing() {
    for form in FORMS {
        let mut batch = bat(1000, &["the first", "the second", "the third"]).form(form);
        batch.records[1].headers = vec![(b"h".to_vec(), None)];
        let (good, expected) = (batch.encode(), rows_of(&batch));
        for at in 8..good.len() {
            for flip in [0x01, 0x10, 0x80, 0xFF] {
                let mut bytes = good.clone();
                bytes[at] ^= flip;
                match read_all(bytes.into()) {
                    Ok(rows) if (8..12).contains(&at) => assert_eq!(rows, [], "cut: too long"),
                    Ok(rows) => {
                        assert!((12..16).contains(&at), "{form:?} {at}");
                        assert_eq!(rows, expected);
                    }
                    Err(BatchError::OldFormat { .. }) => assert_eq!(at, 16),
                    Err(BatchError::Damaged { .. }) => {}
                    Err(error) => panic!("{form:?} {at} {error}"),
                }
            }
        }
    }
}

#[test]
fn altered_bytes_under_a_right_checksum_never_panic_and_offsets_still_rise() {
    let mut random = StdRng::seed_from_u64(2);
    for form in FORMS {
        let good: Vec<_> = mixed(form).iter().take(3).map(Bat::encode).collect();
        for _ in 0..700 {
            let mut batch = good[random.random_range(0..good.len())].clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..batch.len().min(400));
                batch[at] = random.random();
            }
            correct_checksum(&mut batch);
            let step = random.random_range(1..5);
            if let Ok((rows, _)) = read(&mut Batches::new(batch.into(), vec![]), 0, step) {
                assert!(rows.is_sorted_by(|a, b| a.0 < b.0));
            }
        }
    }
}

#[test]
fn noise_never_panics() {
    let mut random = StdRng::seed_from_u64(4);
    for _ in 0..5_000 {
        let mut bytes: Vec<u8> = (0..random.random_range(0..150))
            .map(|_| random.random())
            .collect();
        // As long as it is, and of the format that is read on.
        if bytes.len() > 61 && random.random_bool(0.8) {
            let length = bytes.len() as i32 - 12;
            bytes[0] = 0;
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            bytes[16] = 2;
            bytes[21..26].copy_from_slice(&[0, random.random_range(0..64), 0, 0, 0]);
            bytes[57..61].copy_from_slice(&[0, 0, 0, random.random_range(0..4)]);
            correct_checksum(&mut bytes);
        }
        let mut batches = Batches::new(bytes.into(), vec![(random.random(), 0)]);
        let _ = read(&mut batches, 0, 3);
    }
}
