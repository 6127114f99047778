//! A partition from its assignment to its end, by answers as a broker gives them.

use super::super::batch::tests::encoder::bat;
use super::*;
use bytes::Bytes;

const NOW: Duration = Duration::from_secs(100);

fn slot(offset: i64) -> Slot {
    Slot::new(TopicPartition::new("in", 3), offset, 1, false)
}

/// An answer with these batches: base offset and values of each; last stable offset and high watermark.
fn answer(batches: &[(i64, &[&str])], stable: i64, high: i64) -> Answer {
    let records: Vec<u8> = batches
        .iter()
        .flat_map(|(base, values)| bat(*base, values).encode())
        .collect();
    Answer {
        code: 0,
        diverged: false,
        high,
        stable,
        bytes: records.len(),
        batches: Batches::new(Bytes::from(records), vec![]),
    }
}

fn error(error: ResponseError) -> Answer {
    Answer {
        code: error.code(),
        ..answer(&[], -1, -1)
    }
}

/// What is handed out, as text, at most so many records at once.
fn taken(slot: &mut Slot, max_records: usize) -> Vec<String> {
    let mut out = vec![];
    slot.take(
        (max_records, 1 << 20),
        &mut Decoder::default(),
        NOW,
        &mut out,
    );
    let show = |polled: &Polled| match polled {
        Polled::Fetch(fetch) => {
            let text = |i| String::from_utf8_lossy(fetch.value(i).unwrap_or(b"null")).into_owned();
            (0..fetch.len()).map(text).collect::<Vec<_>>().join(" ")
        }
        Polled::End { offset, high, .. } => format!("end {offset} {high}"),
        Polled::OutOfRange { .. } => "out of range".to_string(),
        Polled::Failed { message, .. } => format!("failed: {message}"),
    };
    out.iter().map(show).collect()
}

#[test]
fn records_come_in_order_and_the_end_once_after_the_last_of_them() {
    let mut slot = slot(11);
    assert!(taken(&mut slot, 9).is_empty(), "nothing is known yet");
    slot.arrived(
        answer(&[(10, &["a", "b", "c"]), (13, &["d"])], 14, 14),
        NOW,
        1,
    );
    assert_eq!(slot.next().0, 14);
    assert_eq!(taken(&mut slot, 2), ["b c"]);
    assert_eq!(taken(&mut slot, 2), ["d", "end 14 14"]);
    assert!(taken(&mut slot, 2).is_empty(), "told twice");
    slot.arrived(answer(&[], 14, 14), NOW, 2);
    assert!(taken(&mut slot, 2).is_empty(), "told twice");
    slot.arrived(answer(&[(14, &["e"])], 15, 15), NOW, 3);
    assert_eq!(taken(&mut slot, 2), ["e", "end 15 15"]);
}

#[test]
fn the_end_is_the_last_stable_offset_and_not_told_before_it_is_reached() {
    let mut slot = slot(0);
    slot.arrived(answer(&[(0, &["a"])], 2, 9), NOW, 1);
    assert_eq!(taken(&mut slot, 9), ["a"], "more is to come");
    slot.arrived(answer(&[(1, &["b"])], 2, 9), NOW, 2);
    assert_eq!(taken(&mut slot, 9), ["b", "end 2 9"]);
    assert_eq!(slot.high(), Some(9));
}

#[test]
fn two_answers_are_held_at_most_and_both_are_handed_out() {
    let mut slot = slot(0);
    slot.arrived(answer(&[(0, &["a"])], 2, 2), NOW, 1);
    assert!(!slot.full());
    slot.arrived(answer(&[(1, &["b"])], 2, 2), NOW, 2);
    assert!(slot.full() && slot.held().messages == 2);
    assert_eq!(taken(&mut slot, 9), ["a b", "end 2 2"]);
    assert_eq!((slot.full(), slot.held()), (false, Queue::default()));
}

#[test]
fn a_pause_drops_what_was_fetched_and_goes_on_where_it_stood() {
    let mut slot = slot(0);
    slot.arrived(answer(&[(0, &["a", "b"])], 2, 2), NOW, 1);
    assert_eq!(taken(&mut slot, 1), ["a"]);
    slot.pause(true);
    assert!(taken(&mut slot, 9).is_empty() && !slot.wanted(NOW) && !slot.full());
    assert_eq!((slot.next().0, slot.held()), (1, Queue::default()));
    slot.pause(false);
    assert!(
        taken(&mut slot, 9).is_empty(),
        "an end nobody has looked for"
    );
    slot.arrived(answer(&[(0, &["a", "b"])], 2, 2), NOW, 2);
    assert_eq!(taken(&mut slot, 9), ["b", "end 2 2"]);
}

#[test]
fn an_offset_that_is_not_in_the_log_is_told_once_and_ends_the_asking() {
    let cut = Answer {
        diverged: true,
        ..answer(&[], 5, 5)
    };
    for refused in [error(ResponseError::OffsetOutOfRange), cut] {
        let mut slot = slot(7);
        assert_eq!(slot.arrived(refused, NOW, 1), Advice::GoOn);
        assert_eq!(taken(&mut slot, 9), ["out of range"]);
        assert!(taken(&mut slot, 9).is_empty());
        assert!(!slot.wanted(NOW + LATER * 100));
    }
}

#[test]
fn errors_advise_wait_and_are_told_once_as_long_as_they_last() {
    use Advice::{FindLeader, GoOn};
    let table = [
        (ResponseError::NotLeaderOrFollower, FindLeader, SOON, ""),
        (ResponseError::FencedLeaderEpoch, FindLeader, SOON, ""),
        (
            ResponseError::UnknownTopicOrPartition,
            FindLeader,
            SOON,
            "UnknownTopicOrPartition",
        ),
        (ResponseError::OffsetNotAvailable, GoOn, SOON, ""),
        (
            ResponseError::TopicAuthorizationFailed,
            GoOn,
            LATER,
            "TopicAuthorizationFailed",
        ),
        (ResponseError::CorruptMessage, GoOn, LATER, "CorruptMessage"),
    ];
    for (code, advice, wait, told) in table {
        let mut slot = slot(7);
        assert_eq!(slot.arrived(error(code), NOW, 1), advice, "{code}");
        assert!(!slot.wanted(NOW) && slot.wanted(NOW + wait), "{code}");
        let first = taken(&mut slot, 9);
        assert_eq!(first.len(), usize::from(!told.is_empty()), "{first:?}");
        assert!(first.iter().all(|line| line.contains(told)), "{first:?}");
        slot.arrived(error(code), NOW, 2);
        assert!(taken(&mut slot, 9).is_empty(), "{code}: told twice");
        slot.arrived(answer(&[(7, &["a"])], 8, 8), NOW, 3);
        assert_eq!(taken(&mut slot, 9), ["a", "end 8 8"], "{code}");
        slot.arrived(error(code), NOW, 4);
        assert_eq!(taken(&mut slot, 9), first, "{code}: it is news again");
    }
}

/// An answer with these bytes in place of whole batches.
fn bytes(records: &[u8]) -> Answer {
    Answer {
        bytes: records.len(),
        batches: Batches::new(Bytes::copy_from_slice(records), vec![]),
        ..answer(&[], 2, 2)
    }
}

#[test]
fn what_cannot_be_read_is_told_once_and_asked_for_again() {
    let mut damaged = bat(1, &["b"]).encode();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let mut old = bat(1, &["b"]).encode();
    old[16] = 1;
    let cut = &bat(1, &["b"]).encode()[..30];
    for (records, told) in [
        (&damaged[..], "offset 1 is damaged"),
        (&old, "before 0.11"),
        (cut, "30 bytes without a whole record batch"),
    ] {
        let mut slot = slot(1);
        for round in 0..2 {
            slot.arrived(bytes(records), NOW, 1);
            let seen = taken(&mut slot, 9);
            assert_eq!(seen.len(), 1 - round, "{told}: {seen:?}");
            assert!(seen.iter().all(|line| line.contains(told)), "{seen:?}");
            assert_eq!(slot.next().0, 1);
            assert!(!slot.wanted(NOW) && slot.wanted(NOW + LATER), "{told}");
        }
        slot.arrived(answer(&[(1, &["b"])], 2, 2), NOW, 2);
        assert_eq!(taken(&mut slot, 9), ["b", "end 2 2"], "{told}");
    }
    // What stands before it is handed out first.
    let mut slot = slot(0);
    slot.arrived(bytes(&[bat(0, &["a"]).encode(), damaged].concat()), NOW, 1);
    let seen = taken(&mut slot, 9);
    assert_eq!((seen.len(), seen[0].as_str()), (2, "a"), "{seen:?}");
    assert!(seen[1].contains("offset 1 is damaged"), "{seen:?}");
}
