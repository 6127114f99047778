//! The contract of consumers and producers: visibility, positions, ends, block offsets, fencing.
//!
//! Invariant: as in `contract.rs`. Group offsets and memberships are in `membership.rs`.

use super::*;

pub(super) fn committed_records_are_visible_and_aborted_ones_are_not(cluster: &dyn Cluster) {
    let topic = make_topic(cluster, 1);
    let mut writer = producer(cluster, &unique("tx"));
    commit_values(&mut *writer, &topic, &["a", "b"]);
    writer.begin().unwrap();
    writer.send(record(&topic, 0, b"aborted")).unwrap();
    writer.flush(PATIENCE).unwrap();
    writer.abort(PATIENCE).unwrap();
    commit_values(&mut *writer, &topic, &["c"]);
    // Two values, marker, aborted value, marker, one value, marker.
    eventually("all markers are written", || {
        let range = cluster.admin().log_ranges(&[at(&topic, 0)]).unwrap()[0];
        range
            == LogRange {
                start: 0,
                stable: 7,
                high: 7,
            }
    });
    let mut reader = consumer(cluster, &[(at(&topic, 0), 0)]);
    let (read, end) = read_to_end(&mut *reader);
    let seen: Vec<_> = read.iter().map(|r| (r.offset, r.text())).collect();
    assert_eq!(seen, [(0, "a".into()), (1, "b".into()), (5, "c".into())]);
    assert_eq!(end, 7);
}

pub(super) fn keys_values_and_timestamps_come_back_as_sent(cluster: &dyn Cluster) {
    let topic = make_topic(cluster, 2);
    let now = SystemClock::new().wall_ms();
    let mut writer = producer(cluster, &unique("tx"));
    writer.begin().unwrap();
    type Sent<'a> = (Option<&'a [u8]>, Option<&'a [u8]>, i64);
    let sent: [Sent<'_>; 4] = [
        (Some(b"k"), Some(b"v"), now - 5),
        (None, Some(b"no key"), now - 4),
        (Some(b"deleted"), None, now - 3),
        (Some(b""), Some(b""), now - 2),
    ];
    for (key, value, timestamp) in sent {
        let row = Outgoing {
            topic: &topic,
            partition: 1,
            key,
            value,
            timestamp: Some(timestamp),
        };
        writer.send(row).unwrap();
    }
    writer.flush(PATIENCE).unwrap();
    assert_eq!(writer.commit(PATIENCE).unwrap(), Outcome::Committed);
    let mut reader = consumer(cluster, &[(at(&topic, 1), 0)]);
    let (read, _) = read_to_end(&mut *reader);
    assert_eq!(read.len(), sent.len());
    for (row, (key, value, timestamp)) in read.iter().zip(sent) {
        assert_eq!(
            (row.key.as_deref(), row.value.as_deref(), row.timestamp),
            (key, value, timestamp)
        );
        assert_eq!(row.partition, 1);
    }
}

pub(super) fn flush_reports_the_last_block_of_each_partition(cluster: &dyn Cluster) {
    let topic = make_topic(cluster, 2);
    let mut writer = producer(cluster, &unique("tx"));
    for round in 0..2 {
        writer.begin().unwrap();
        for value in [b"row".as_slice(), b"row"] {
            writer.send(record(&topic, 0, value)).unwrap();
        }
        writer.send_block(record(&topic, 0, b"block 1")).unwrap();
        writer.send_block(record(&topic, 0, b"block 2")).unwrap();
        writer.send(record(&topic, 0, b"row")).unwrap();
        writer.send(record(&topic, 1, b"row")).unwrap();
        let blocks = writer.flush(PATIENCE).unwrap();
        // Five records and a marker per round.
        assert_eq!(
            blocks,
            BTreeMap::from([(at(&topic, 0), round * 6 + 3)]),
            "round {round}"
        );
        assert_eq!(writer.commit(PATIENCE).unwrap(), Outcome::Committed);
    }
}

pub(super) fn a_second_producer_of_the_id_fences_the_first(cluster: &dyn Cluster) {
    let topic = make_topic(cluster, 1);
    let id = unique("tx");
    let mut first = producer(cluster, &id);
    first.begin().unwrap();
    first.send(record(&topic, 0, b"of the first")).unwrap();
    first.flush(PATIENCE).unwrap();
    let mut second = producer(cluster, &id);
    let outcome = first.commit(PATIENCE);
    let known = !matches!(outcome, Ok(Outcome::Committed));
    assert!(known, "a fenced producer committed: {outcome:?}");
    assert!(matches!(
        first.begin(),
        Err(Error::Fenced { .. } | Error::Fatal { .. })
    ));
    commit_values(&mut *second, &topic, &["of the second"]);
    let (read, _) = read_to_end(&mut *consumer(cluster, &[(at(&topic, 0), 0)]));
    assert_eq!(
        read.iter().map(Row::text).collect::<Vec<_>>(),
        ["of the second"]
    );
}

pub(super) fn the_end_stands_before_an_open_transaction(cluster: &dyn Cluster) {
    let topic = make_topic(cluster, 1);
    let mut writer = producer(cluster, &unique("tx"));
    commit_values(&mut *writer, &topic, &["a"]);
    writer.begin().unwrap();
    writer.send(record(&topic, 0, b"open")).unwrap();
    writer.flush(PATIENCE).unwrap();
    let mut reader = consumer(cluster, &[(at(&topic, 0), 0)]);
    let (read, end, high) = read_until_end(&mut *reader, |offset, high| offset < high && high == 3);
    assert_eq!(read.len(), 1);
    assert_eq!(
        (end, high),
        (2, 3),
        "the last stable offset and the end of the log"
    );
    let range = cluster.admin().log_ranges(&[at(&topic, 0)]).unwrap()[0];
    assert_eq!(
        range,
        LogRange {
            start: 0,
            stable: 2,
            high: 3
        }
    );
    assert_eq!(writer.commit(PATIENCE).unwrap(), Outcome::Committed);
    let seen = poll_until(&mut *reader, 1000, |polled| {
        matches!(polled, Polled::End { offset: 4, .. })
    });
    let read: Vec<_> = seen
        .iter()
        .filter_map(|p| {
            if let Polled::Fetch(f) = p {
                Some(rows(f))
            } else {
                None
            }
        })
        .collect();
    assert_eq!(
        read.concat().iter().map(Row::text).collect::<Vec<_>>(),
        ["open"]
    );
}

pub(super) fn assigning_again_moves_the_position_and_old_records_are_gone(cluster: &dyn Cluster) {
    let topic = make_topic(cluster, 1);
    let mut writer = producer(cluster, &unique("tx"));
    let values: Vec<String> = (0..500).map(|i| format!("value {i}")).collect();
    commit_values(
        &mut *writer,
        &topic,
        &values.iter().map(String::as_str).collect::<Vec<_>>(),
    );
    let mut reader = consumer(cluster, &[(at(&topic, 0), 0)]);
    read_to_end(&mut *reader);
    // Back and forth, with records of the earlier position still queued, and from the end.
    for (round, target) in [0, 400, 3, 499, 0, 250, 1, 500, 7]
        .into_iter()
        .cycle()
        .take(36)
        .enumerate()
    {
        reader.assign(&[(at(&topic, 0), target)]).unwrap();
        if round % 3 == 2 {
            let (read, end) = read_to_end(&mut *reader);
            let offsets: Vec<_> = read.iter().map(|r| r.offset).collect();
            assert_eq!(offsets, (target..500).collect::<Vec<_>>(), "round {round}");
            assert_eq!(end, 501);
        } else if target < 500 {
            let seen = poll_until(&mut *reader, 5, |polled| matches!(polled, Polled::Fetch(_)));
            let Some(Polled::Fetch(fetch)) = seen.last() else {
                panic!("no records")
            };
            assert_eq!(fetch.offset(0), target, "round {round}");
            assert_eq!(seen.len(), 1, "an end came before the records");
        }
    }
}

pub(super) fn a_pause_stops_and_a_resume_goes_on_where_it_stopped(cluster: &dyn Cluster) {
    let topic = make_topic(cluster, 2);
    let mut writer = producer(cluster, &unique("tx"));
    commit_values(&mut *writer, &topic, &["a", "b", "c", "d"]);
    let zero = [at(&topic, 0)];
    let mut reader = consumer(cluster, &[(at(&topic, 0), 0)]);
    poll_until(
        &mut *reader,
        2,
        |polled| matches!(polled, Polled::Fetch(f) if f.len() == 2),
    );
    reader.pause(&zero, true).unwrap();
    reader.pause(&zero, true).unwrap();
    assert!(
        reader
            .poll(Duration::from_millis(300), 10)
            .unwrap()
            .is_empty(),
        "paused"
    );
    reader.pause(&zero, false).unwrap();
    let (read, end) = read_to_end(&mut *reader);
    assert_eq!(read.iter().map(Row::text).collect::<Vec<_>>(), ["c", "d"]);
    // Paused at the end: what is written meanwhile must not be skipped.
    reader.pause(&zero, true).unwrap();
    commit_values(&mut *writer, &topic, &["e"]);
    reader.pause(&zero, false).unwrap();
    let seen = poll_until(&mut *reader, 10, |polled| {
        matches!(polled, Polled::Fetch(_))
    });
    let Some(Polled::Fetch(fetch)) = seen.last() else {
        panic!("no records")
    };
    assert_eq!(
        (fetch.offset(0), fetch.value(0)),
        (end, Some(b"e".as_slice()))
    );
    // Moved while paused: stays paused, goes on from there.
    reader.pause(&zero, true).unwrap();
    reader
        .assign(&[(at(&topic, 0), 1), (at(&topic, 1), 0)])
        .unwrap();
    let seen = poll_until(&mut *reader, 10, |polled| {
        matches!(polled, Polled::End { .. })
    });
    assert!(
        matches!(&seen[..], [Polled::End { at, .. }] if at.partition == 1),
        "only the other partition"
    );
    reader.unassign(&[at(&topic, 1)]).unwrap();
    reader.pause(&zero, false).unwrap();
    let (read, _) = read_to_end(&mut *reader);
    assert_eq!(
        read.iter().map(Row::text).collect::<Vec<_>>(),
        ["b", "c", "d", "e"]
    );
}

pub(super) fn deleted_records_are_out_of_range(cluster: &dyn Cluster) {
    let topic = make_topic(cluster, 2);
    let mut writer = producer(cluster, &unique("tx"));
    commit_values(&mut *writer, &topic, &["a", "b", "c", "d"]);
    let admin = cluster.admin();
    admin.delete_records(&[(at(&topic, 0), 2)]).unwrap();
    admin.delete_records(&[(at(&topic, 0), 2)]).unwrap();
    // The commit's marker may still be on its way when the commit returns.
    let expected = [
        LogRange {
            start: 0,
            stable: 0,
            high: 0,
        },
        LogRange {
            start: 2,
            stable: 5,
            high: 5,
        },
    ];
    let both = [at(&topic, 1), at(&topic, 0)];
    eventually("start, stable and end", || {
        admin.log_ranges(&both).unwrap() == expected
    });
    let refused = admin.delete_records(&[(at(&topic, 0), 99)]);
    assert!(matches!(refused, Err(Error::Refused { .. })), "{refused:?}");
    for outside in [1, 77] {
        let mut reader = consumer(cluster, &[(at(&topic, 0), outside)]);
        let seen = poll_until(&mut *reader, 10, |_| true);
        assert!(
            matches!(&seen[..], [Polled::OutOfRange { at }] if at.partition == 0),
            "{outside}"
        );
        reader.assign(&[(at(&topic, 0), 2)]).unwrap();
        let (read, _) = read_to_end(&mut *reader);
        assert_eq!(read.iter().map(Row::text).collect::<Vec<_>>(), ["c", "d"]);
    }
}

pub(super) fn what_the_broker_refuses_is_refused_by_name_and_the_producer_stays_usable(
    cluster: &dyn Cluster,
) {
    let topic = make_topic_with(cluster, 1, "message.timestamp.after.max.ms", "3600000");
    let mut writer = producer(cluster, &unique("tx"));
    writer.begin().unwrap();
    // The topic's limit counts what is left after compression.
    let large = noise(3 << 20);
    let too_large = writer
        .send(record(&topic, 0, &large))
        .and_then(|()| writer.flush(PATIENCE).map(drop));
    assert!(
        matches!(&too_large, Err(Error::Refused { message, .. }) if message.contains(&topic)),
        "{too_large:?}"
    );
    writer.abort(PATIENCE).unwrap();
    writer.begin().unwrap();
    // More than an hour ahead of the broker's clock.
    let ahead = Some(SystemClock::new().wall_ms() + 10 * 3_600_000);
    let row = Outgoing {
        timestamp: ahead,
        ..record(&topic, 0, b"ahead")
    };
    let invalid = writer
        .send(row)
        .and_then(|()| writer.flush(PATIENCE).map(drop));
    assert!(
        matches!(&invalid, Err(Error::Refused { message, .. }) if message.contains(&topic)),
        "{invalid:?}"
    );
    assert!(
        writer.commit(PATIENCE).is_err(),
        "a transaction with a refused record cannot commit"
    );
    writer.abort(PATIENCE).unwrap();
    // The refused record leaves a gap in the sequence numbers: the next transaction may have to be aborted for it.
    let mut attempts = 0;
    loop {
        attempts += 1;
        writer.begin().unwrap();
        writer.send(record(&topic, 0, b"fine")).unwrap();
        match writer.flush(PATIENCE) {
            Err(Error::Abortable { .. }) if attempts < 3 => writer.abort(PATIENCE).unwrap(),
            flushed => {
                flushed.unwrap();
                break;
            }
        }
    }
    assert_eq!(writer.commit(PATIENCE).unwrap(), Outcome::Committed);
    let (read, _) = read_to_end(&mut *consumer(cluster, &[(at(&topic, 0), 0)]));
    assert_eq!(read.iter().map(Row::text).collect::<Vec<_>>(), ["fine"]);
    assert!(!writer.disturbed());
}

/// Three producers write to one partition, a record each in turn, and end as it comes.
pub(super) fn interleaved_transactions_show_what_was_committed(cluster: &dyn Cluster) {
    let topic = make_topic(cluster, 1);
    let mut writers: Vec<_> = (0..3).map(|_| producer(cluster, &unique("tx"))).collect();
    let mut open: [Option<Vec<String>>; 3] = Default::default();
    let mut committed = vec![];
    // A linear congruential generator (Knuth's MMIX constants): the same order in every run.
    let mut seed = 7_u64;
    let mut random = |below: u64| {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    for step in 0..240 {
        let chosen = random(3) as usize;
        let writer = &mut writers[chosen];
        let values = open[chosen].get_or_insert_with(|| {
            writer.begin().unwrap();
            vec![]
        });
        if values.is_empty() || (step < 200 && random(4) > 0) {
            let value = format!("{step:04}");
            writer.send(record(&topic, 0, value.as_bytes())).unwrap();
            writer.flush(PATIENCE).unwrap();
            values.push(value);
        } else if random(2) == 0 {
            assert_eq!(writer.commit(PATIENCE).unwrap(), Outcome::Committed);
            committed.extend(open[chosen].take().unwrap_or_default());
        } else {
            writer.abort(PATIENCE).unwrap();
            open[chosen] = None;
        }
    }
    for (writer, open) in writers.iter_mut().zip(&open) {
        if open.is_some() {
            writer.abort(PATIENCE).unwrap();
        }
    }
    committed.sort();
    let (read, _) = read_to_end(&mut *consumer(cluster, &[(at(&topic, 0), 0)]));
    assert_eq!(read.iter().map(Row::text).collect::<Vec<_>>(), committed);
    // From the middle of what was aborted, and of what was committed.
    for from in [read[3].offset + 1, read[9].offset] {
        let (rest, _) = read_to_end(&mut *consumer(cluster, &[(at(&topic, 0), from)]));
        let expected: Vec<_> = read.iter().filter(|r| r.offset >= from).cloned().collect();
        assert_eq!(rest, expected, "from {from}");
    }
}

/// Bytes that no codec makes smaller: the Weyl sequence of the golden ratio, its middle bits squared.
fn noise(len: u64) -> Vec<u8> {
    let byte = |i: u64| {
        let x = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (x ^ (x >> 32)).wrapping_mul(x | 1).to_be_bytes()[2]
    };
    (0..len).map(byte).collect()
}

/// Small records, some alike, and one that is larger than what a request asks for.
pub(super) fn what_the_broker_has_compressed_comes_back_as_sent(cluster: &dyn Cluster) {
    for codec in ["uncompressed", "gzip", "snappy", "lz4", "zstd"] {
        let topic = make_topic_with(cluster, 1, "compression.type", codec);
        let mut values: Vec<Vec<u8>> = (0..2000_u32)
            .map(|i| format!("{{\"number\":{i},\"same\":\"{codec}\"}}").into_bytes())
            .collect();
        values.insert(1000, noise(900_000));
        let mut writer = producer(cluster, &unique("tx"));
        writer.begin().unwrap();
        for value in &values {
            writer.send(record(&topic, 0, value)).unwrap();
        }
        writer.flush(PATIENCE).unwrap();
        assert_eq!(writer.commit(PATIENCE).unwrap(), Outcome::Committed);
        let (read, _) = read_to_end(&mut *consumer(cluster, &[(at(&topic, 0), 0)]));
        assert_eq!(read.len(), values.len(), "{codec}");
        for (row, value) in read.iter().zip(&values) {
            assert!(row.value.as_ref() == Some(value), "{codec}: {}", row.offset);
        }
    }
}
