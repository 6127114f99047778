//! Keys and their index against plain collections, at the borders of chunks and tables; what they hold in memory.

use super::keys::{LONG, SHARED};
use super::{Index, Keys, tag};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::collections::HashMap;

fn random_key(random: &mut StdRng) -> Vec<u8> {
    let len = match random.random_range(0..100) {
        0 => 0,
        1 => random.random_range(LONG - 1..LONG + 2),
        2 => random.random_range(LONG..3 * SHARED),
        3 => SHARED - 1 + random.random_range(0..3),
        4..8 => random.random_range(0..LONG),
        _ => random.random_range(1..40),
    };
    let mut key = vec![0; len];
    random.fill(&mut key[..]);
    key
}

fn assert_same(keys: &Keys<u8>, model: &[(Vec<u8>, u8)]) {
    assert_eq!(keys.len(), model.len());
    for (group, (key, extra)) in (0..).zip(model) {
        assert_eq!(keys.key(group), key);
        assert_eq!(keys.extra(group), extra);
    }
}

#[test]
fn keys_are_what_was_pushed_and_not_truncated() {
    let mut random = StdRng::seed_from_u64(3);
    let (mut keys, mut model) = (Keys::default(), Vec::new());
    for step in 0..300u32 {
        match random.random_range(0..10) {
            0 if step % 9 == 0 => {
                keys.clear();
                model.clear();
            }
            1..4 => {
                let len = random.random_range(0..=model.len());
                keys.truncate(len);
                model.truncate(len);
            }
            _ => {
                for _ in 0..random.random_range(1..80) {
                    let (key, extra) = (random_key(&mut random), random.random());
                    assert_eq!(keys.push(&key, extra) as usize, model.len());
                    model.push((key, extra));
                }
            }
        }
        assert_same(&keys, &model);
        let used: usize = model.iter().map(|(key, _)| key.len()).sum();
        assert_eq!(keys.used_bytes(), used + model.len() * 12);
        assert!(keys.bytes() >= keys.used_bytes());
    }
}

#[test]
fn keys_fill_their_chunks_to_the_last_byte_and_empty_ones_need_no_room() {
    let mut keys = Keys::default();
    for _ in 0..SHARED / 8 {
        keys.push(b"8 bytes.", ());
    }
    let one_chunk = keys.bytes();
    assert!(one_chunk < SHARED + SHARED / 8 * 8 + 500, "{one_chunk}");
    let empty = keys.push(b"", ());
    let next = keys.push(b"x", ());
    assert_eq!((keys.key(empty), keys.key(next)), (&b""[..], &b"x"[..]));
    keys.truncate(empty as usize + 1);
    assert_eq!(keys.key(empty), b"");
    keys.truncate(empty as usize);
    assert_eq!(keys.key(empty - 1), b"8 bytes.");
}

#[test]
fn long_keys_between_short_ones_take_about_their_own_size() {
    let mut keys = Keys::default();
    let long = vec![7; LONG + 1];
    for _ in 0..100 {
        keys.push(&long, ());
        keys.push(b"short", ());
    }
    let used = keys.used_bytes();
    assert!(keys.bytes() < used + used / 8 + SHARED, "{}", keys.bytes());
    keys.clear();
    assert!(keys.bytes() < 2 * SHARED, "{}", keys.bytes());
}

#[test]
fn a_few_keys_take_little_and_many_take_what_they_need() {
    let mut keys = Keys::default();
    assert_eq!(keys.bytes(), 0);
    (0..6u64).for_each(|i| assert_eq!(keys.push(&i.to_be_bytes(), 0u8), i as u32));
    assert!(keys.bytes() < 400, "{}", keys.bytes());
    (6..1_000_000u64).for_each(|i| assert_eq!(keys.push(&i.to_be_bytes(), 0u8), i as u32));
    let per_key = keys.bytes() as f64 / 1e6;
    assert!(per_key < 20.2, "{per_key}");
    let before = keys.bytes();
    keys.clear();
    assert_eq!(keys.bytes(), before, "as much as was used is kept");
    keys.push(b"x", 0);
    keys.clear();
    assert!(keys.bytes() < SHARED + 4096 * 12 + 10_000);
}

fn filled(keys: u32) -> Index {
    let mut index = Index::default();
    (0..keys).for_each(|group| index.insert(tag(&group.to_be_bytes()), group));
    index
}

fn find(index: &Index, key: u32) -> Option<u32> {
    index.find(tag(&key.to_be_bytes()), |group| group == key)
}

#[test]
fn an_index_finds_what_is_in_it_before_and_after_it_is_split() {
    for keys in [0, 6, 57_344, 57_345, 300_000] {
        let mut index = filled(keys);
        assert_eq!(index.is_split(), keys > 57_344);
        assert!((0..keys).all(|key| find(&index, key) == Some(key)));
        assert!((keys..keys + 1000).all(|key| find(&index, key).is_none()));
        let removed = |key: u32| key.is_multiple_of(3);
        for key in (0..keys).filter(|key| removed(*key)) {
            index.remove(tag(&key.to_be_bytes()), key);
        }
        assert!((0..keys).all(|key| find(&index, key).is_none() == removed(key)));
        index.clear();
        assert!((0..keys).all(|key| find(&index, key).is_none()));
    }
}

#[test]
fn equal_tags_are_told_apart() {
    let mut by_tag: HashMap<u32, u32> = HashMap::new();
    let found = (0..1_000_000u32).find_map(|key| {
        let tag = tag(&key.to_be_bytes());
        by_tag.insert(tag, key).map(|other| (tag, other, key))
    });
    let (tag, a, b) = found.expect("two of a million keys share 32 bits");
    let mut index = filled(0);
    index.insert(tag, a);
    index.insert(tag, b);
    assert_eq!(index.find(tag, |group| group == a), Some(a));
    assert_eq!(index.find(tag, |group| group == b), Some(b));
    index.remove(tag, a);
    assert_eq!(index.find(tag, |group| group == a), None);
    assert_eq!(index.find(tag, |group| group == b), Some(b));
}

#[test]
fn a_large_index_grows_in_small_steps() {
    let mut index = filled(0);
    let mut before = 0;
    for group in 0..1_000_000u32 {
        index.insert(tag(&group.to_be_bytes()), group);
        let bytes = index.bytes();
        let grown = bytes - before;
        assert!(group < 100_000 || grown < bytes / 8, "{grown} of {bytes}");
        before = bytes;
    }
    let per_entry = before as f64 / 1e6;
    assert!(per_entry < 18.0, "{per_entry}");
}

#[test]
fn an_index_gives_back_what_the_last_use_did_not_need() {
    let mut index = filled(300_000);
    let before = index.bytes();
    index.clear();
    assert_eq!(index.bytes(), before, "as much as was used is kept");
    index.insert(1, 1);
    index.clear();
    assert!(index.bytes() < 1000, "{}", index.bytes());
}
