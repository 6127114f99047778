//! Handing out what was folded: one set of partials per shard.
//!
//! Invariant: a key's shard depends on the key's bytes alone; within a shard entries stand in the order in which they
//! were first seen. Does not empty the groups.

use super::{Carried, Groups, Partials};
use crate::state::partition::partition_of;
use crate::state::values::ByteColumn;

/// Groups of one shard, and the carried records among them.
#[derive(Default)]
struct Shard {
    groups: Vec<u32>,
    carried: Vec<Carried>,
}

impl Groups {
    pub(super) fn partials(&mut self, shards: i32) -> Vec<(i32, Partials)> {
        let mut by_shard: Vec<Shard> = Vec::new();
        by_shard.resize_with(shards.max(1) as usize, Shard::default);
        let mut carried = std::mem::take(&mut self.carried).into_iter().peekable();
        for group in 0..self.keys.len() as u32 {
            let shard = &mut by_shard[partition_of(self.keys.key(group), shards) as usize];
            if let Some((_, record)) = carried.next_if(|(of, _)| *of == group) {
                shard.carried.push(Carried {
                    entry: shard.groups.len() as u32,
                    ..record
                });
            }
            shard.groups.push(group);
        }
        let named = (0..)
            .zip(by_shard)
            .filter(|(_, shard)| !shard.groups.is_empty());
        named
            .map(|(number, shard)| (number, self.entries(shard)))
            .collect()
    }

    fn entries(&self, shard: Shard) -> Partials {
        let groups = &shard.groups;
        let mut keys = ByteColumn::default();
        groups
            .iter()
            .for_each(|group| keys.push(self.keys.key(*group)));
        let sources = || groups.iter().map(|group| self.keys.extra(*group));
        Partials {
            window_ends: groups
                .iter()
                .map(|group| self.ends[*group as usize])
                .collect(),
            keys,
            rows: sources().map(|s| u64::from(s.rows)).collect(),
            first_offsets: sources().map(|s| s.first).collect(),
            last_offsets: sources().map(|s| s.last).collect(),
            states: self.accumulators.gather(groups),
            carried: shard.carried,
        }
    }
}
