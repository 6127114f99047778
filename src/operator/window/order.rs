//! Slots of a window in the order of their keys: all of them for firing, some at a time for saving.
//!
//! Invariant: what sorting takes beside its result is bounded by a run, not by the window; only keys that have the same
//! eight bytes behind what all keys share are never parted. Neither keys nor slots are changed.

use crate::operator::groups::Keys;

/// Slots that are sorted at a time, about.
pub(super) const RUN: usize = 65_536;
/// Slots that are looked at for each border between runs.
const SAMPLES: usize = 16;

/// All slots in the order of their keys.
pub(super) struct Order {
    /// Not empty, one after the other.
    runs: Vec<Vec<u32>>,
}

impl Order {
    pub fn of<T>(keys: &Keys<T>) -> Self {
        let mut runs = runs(keys, RUN);
        runs.retain(|run| !run.is_empty());
        for run in &mut runs {
            run.shrink_to_fit();
            sort(keys, run);
        }
        Order { runs }
    }

    /// The slots whose keys are greater than `after`; `keys` are those that were sorted.
    pub fn after<T>(&self, keys: &Keys<T>, after: Option<&[u8]>) -> impl Iterator<Item = u32> {
        let before = |slot: &u32| after.is_some_and(|after| keys.key(*slot) <= after);
        let done = self
            .runs
            .partition_point(|run| run.last().is_some_and(before));
        let (begun, rest) = match self.runs[done..].split_first() {
            Some((run, rest)) => (&run[run.partition_point(before)..], rest),
            None => (&[][..], &[][..]),
        };
        begun.iter().chain(rest.iter().flatten()).copied()
    }

    pub fn bytes(&self) -> usize {
        let slots: usize = self.runs.iter().map(Vec::capacity).sum();
        slots * size_of::<u32>() + self.runs.capacity() * size_of::<Vec<u32>>()
    }
}

/// All slots, those with smaller keys in earlier runs. Borders are taken from a sample, so that most runs are no longer
/// than `run`, however keys are distributed.
fn runs<T>(keys: &Keys<T>, run: usize) -> Vec<Vec<u32>> {
    let all = 0..keys.len() as u32;
    // Half of it, for a sample is not exact.
    let parts = keys.len().div_ceil((run / 2).max(1));
    if keys.len() <= run {
        return vec![all.collect()];
    }
    let shared = shared(keys, all.clone());
    let head_of = |slot: u32| head(&keys.key(slot)[shared..]);
    let step = (keys.len() / (parts * SAMPLES)).max(1);
    let mut sample: Vec<u64> = all.clone().step_by(step).map(head_of).collect();
    sample.sort_unstable();
    let borders: Vec<u64> = sample
        .iter()
        .skip(SAMPLES)
        .step_by(SAMPLES)
        .copied()
        .collect();
    let mut runs = vec![Vec::new(); borders.len() + 1];
    for slot in all {
        let head = head_of(slot);
        runs[borders.partition_point(|border| *border <= head)].push(slot);
    }
    runs
}

/// Sorts by eight bytes behind what the keys share, and looks at the keys themselves only where those are equal:
/// otherwise each comparison would read memory at two random places.
pub(super) fn sort<T>(keys: &Keys<T>, slots: &mut [u32]) {
    let shared = shared(keys, slots.iter().copied());
    let mut order: Vec<(u64, u32)> = slots
        .iter()
        .map(|slot| (head(&keys.key(*slot)[shared..]), *slot))
        .collect();
    order.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| keys.key(a.1).cmp(keys.key(b.1))));
    for (slot, (_, sorted)) in slots.iter_mut().zip(order) {
        *slot = sorted;
    }
}

/// How many bytes all keys begin with alike.
fn shared<T>(keys: &Keys<T>, mut slots: impl Iterator<Item = u32>) -> usize {
    let Some(first) = slots.next() else { return 0 };
    let first = keys.key(first);
    slots.fold(first.len(), |shared, slot| {
        let same = first[..shared].iter().zip(keys.key(slot));
        same.take_while(|(a, b)| a == b).count()
    })
}

fn head(rest: &[u8]) -> u64 {
    let mut head = [0; 8];
    let len = rest.len().min(8);
    head[..len].copy_from_slice(&rest[..len]);
    u64::from_be_bytes(head)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    fn keys_of(texts: &[Vec<u8>]) -> Keys<()> {
        let mut keys = Keys::default();
        for text in texts {
            keys.push(text, ());
        }
        keys
    }

    /// Distinct keys: evenly spread, in clusters, of few different heads, with zeros at their ends.
    fn texts(random: &mut StdRng, count: usize) -> Vec<Vec<u8>> {
        let mut texts: Vec<Vec<u8>> = (0..count)
            .map(|i| match i % 4 {
                0 => random.random::<u64>().to_be_bytes().to_vec(),
                1 => format!("a longer text that many keys begin with {i}").into_bytes(),
                2 => (i as u64).to_be_bytes().to_vec(),
                _ => vec![0; random.random_range(0..12)],
            })
            .collect();
        texts.sort();
        texts.dedup();
        (0..texts.len()).for_each(|i| texts.swap(i, random.random_range(0..=i)));
        texts
    }

    #[test]
    fn slots_are_in_the_order_of_their_keys_and_found_behind_any_of_them() {
        let mut random = StdRng::seed_from_u64(5);
        for count in [0, 1, 2, 500, 2 * RUN + 77] {
            let texts = texts(&mut random, count);
            let keys = keys_of(&texts);
            let order = Order::of(&keys);
            let all: Vec<u32> = order.after(&keys, None).collect();
            assert_eq!(all.len(), texts.len());
            assert!(all.is_sorted_by_key(|slot| keys.key(*slot)));
            for at in (0..all.len()).step_by(all.len() / 50 + 1) {
                let key = keys.key(all[at]);
                let rest = order.after(&keys, Some(key));
                assert!(rest.eq(all[at + 1..].iter().copied()));
                let before = order.after(&keys, Some(&key[..key.len().saturating_sub(1)]));
                assert!(before.count() >= all.len() - at - 1);
            }
        }
    }

    #[test]
    fn runs_are_bounded_however_keys_are_distributed() {
        let mut random = StdRng::seed_from_u64(6);
        let even = (0..20_000u64).map(|i| i.to_be_bytes().to_vec());
        let mut clustered: Vec<Vec<u8>> = (0..20_000u64)
            .map(|i| (1u64 << (i % 60)).wrapping_add(i).to_be_bytes().to_vec())
            .collect();
        (0..clustered.len()).for_each(|i| clustered.swap(i, random.random_range(0..=i)));
        for texts in [even.collect(), clustered] {
            let runs = runs(&keys_of(&texts), 1000);
            let longest = runs.iter().map(Vec::len).max();
            assert!(longest <= Some(1500), "{longest:?}");
        }
    }

    #[test]
    fn memory_is_that_of_the_slots() {
        let keys = keys_of(&texts(&mut StdRng::seed_from_u64(8), 3 * RUN));
        let order = Order::of(&keys);
        assert!(order.bytes() < keys.len() * 5, "{}", order.bytes());
    }
}
