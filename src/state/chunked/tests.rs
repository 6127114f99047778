//! Lists in chunks against vectors: what they hold, and what they give back.

use super::{CHUNK, Chunked};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Lengths on both sides of the borders.
fn length(random: &mut StdRng) -> usize {
    let border = random.random_range(0..4) * CHUNK;
    (border + random.random_range(0..5)).saturating_sub(2)
}

#[test]
fn a_list_holds_what_a_vector_holds() {
    let mut random = StdRng::seed_from_u64(7);
    let (mut list, mut model) = (Chunked::new(), Vec::new());
    for step in 0..2000u32 {
        match random.random_range(0..6) {
            0 => {
                let len = length(&mut random);
                list.resize(len, step);
                model.resize(len, step);
            }
            1 => {
                let len = length(&mut random);
                list.truncate(len);
                model.truncate(len);
            }
            2 if step % 10 == 0 => {
                list.clear();
                model.clear();
            }
            3 if !model.is_empty() => {
                let (a, b) = (step as usize * 7 % model.len(), model.len() - 1);
                list.swap(a, b);
                model.swap(a, b);
                list[a] = step;
                model[a] = step;
            }
            _ => (0..step % 900).for_each(|i| {
                list.push(i);
                model.push(i);
            }),
        }
        assert_eq!(list.len(), model.len());
        assert!(list.iter().eq(model.iter()), "step {step}");
        assert!((0..model.len()).all(|i| list[i] == model[i]));
        let held: usize = list.chunks.iter().map(|chunk| 4 * chunk.capacity()).sum();
        assert_eq!(list.bytes(), held + list.chunks.capacity() * 24);
        assert!(list.chunks.iter().all(|chunk| chunk.capacity() <= CHUNK));
    }
    assert_eq!(list.clone(), list);
    assert_eq!(list.clone(), model.iter().copied().collect());
}

#[test]
fn memory_is_what_is_needed_rounded_up_to_a_chunk() {
    let mut list = Chunked::new();
    assert_eq!(list.bytes(), 0);
    list.extend(0..6u64);
    assert_eq!(list.bytes(), 8 * 8 + 24);
    list.extend(6..CHUNK as u64);
    assert_eq!(list.bytes(), CHUNK * 8 + 24);
    list.push(0);
    let chunks = |list: &Chunked<u64>| list.bytes() / 8 / CHUNK;
    assert_eq!(chunks(&list), 2);
    list.resize(10 * CHUNK, 0);
    assert_eq!(chunks(&list), 10);
    list.truncate(2 * CHUNK);
    assert_eq!(chunks(&list), 2, "the rest is given back");
    list.clear();
    assert_eq!(chunks(&list), 2, "as much as was used is kept");
    list.push(1);
    list.clear();
    assert_eq!(chunks(&list), 1);
    let filled: Chunked<u64> = (0..CHUNK as u64 + 1).collect();
    assert_eq!(chunks(&filled), 2);
}

#[test]
fn a_copy_has_room_to_grow_as_the_original_had() {
    let list: Chunked<u64> = (0..CHUNK as u64 + 10).collect();
    let mut copy = list.clone();
    copy.push(1);
    assert_eq!(copy.bytes(), list.bytes());
}

#[test]
fn a_slice_lies_in_one_chunk() {
    let list: Chunked<usize> = (0..3 * CHUNK).collect();
    assert_eq!(list.slice(5..8), [5, 6, 7]);
    assert_eq!(list.slice(CHUNK..2 * CHUNK).len(), CHUNK);
    assert_eq!(list.slice(2 * CHUNK + 1..2 * CHUNK + 2), [2 * CHUNK + 1]);
}
