//! Taking a block of partials: late entries aside, the others into the tables of their windows.
//!
//! Invariant: every row of the block is counted as used or late. A window is closed by the watermark received, never
//! by how far firing has come. Rows that only the store has are read once per block and window, all together.

use super::super::{NodeCounts, Reject, RejectOrigin};
use super::table::WindowTable;
use super::{WindowOperator, put_row_key};
use crate::batch::Cause;
use crate::spec::LatePolicy;
use crate::state::block::{Carried, Header, Partials};
use crate::state::values::ByteColumn;
use crate::state::{Result, Store};
use chrono::{DateTime, SecondsFormat};
use std::collections::{BTreeMap, HashMap};

impl WindowOperator {
    /// Merges one block's partials. Entries whose window is closed are late: counted in rows, and one reject each
    /// where the policy says so. `header` is the block's.
    ///
    /// # Errors
    /// If the store cannot be read, or what it holds is damaged; abort the transaction then.
    pub fn merge(
        &mut self,
        header: &Header,
        mut partials: Partials,
        store: &dyn Store,
        counts: &mut NodeCounts,
        rejects: &mut Vec<Reject>,
    ) -> Result<()> {
        let mut by_window: BTreeMap<i64, Vec<u32>> = BTreeMap::new();
        // Entries of one window that stand together: nearly always they are all that the block has.
        let mut together: (i64, Vec<u32>) = (i64::MIN, Vec::new());
        let mut late = Vec::new();
        for (entry, (end, rows)) in partials.window_ends.iter().zip(&partials.rows).enumerate() {
            counts.received += rows;
            if self.progress.closed(*end) {
                counts.late += rows;
                late.push(entry as u32);
            } else {
                counts.used += rows;
                if together.0 != *end {
                    let (before, entries) = &mut together;
                    by_window.entry(*before).or_default().append(entries);
                    *before = *end;
                }
                together.1.push(entry as u32);
            }
        }
        let (end, mut entries) = together;
        by_window.entry(end).or_default().append(&mut entries);
        by_window.retain(|_, entries| !entries.is_empty());
        if self.late == LatePolicy::Reject && !late.is_empty() {
            self.reject(header, &mut partials, &late, rejects);
        }
        for (end, entries) in by_window {
            self.merge_window(end, &entries, &partials, store)?;
        }
        Ok(())
    }

    fn merge_window(
        &mut self,
        end: i64,
        entries: &[u32],
        partials: &Partials,
        store: &dyn Store,
    ) -> Result<()> {
        let WindowOperator {
            windows,
            spare,
            empty,
            node,
            ..
        } = self;
        let new = || spare.pop().unwrap_or_else(|| WindowTable::new(empty));
        let table = windows.entry(end).or_insert_with(new);
        let keys = entries
            .iter()
            .map(|entry| partials.keys.get(*entry as usize));
        let slots = if table.cold {
            find_or_load(table, node, end, keys, store)?
        } else {
            table.find_or_insert(keys)
        };
        table.merge(&slots, &partials.states, entries);
        Ok(())
    }

    fn reject(
        &self,
        header: &Header,
        partials: &mut Partials,
        late: &[u32],
        rejects: &mut Vec<Reject>,
    ) {
        let carried = std::mem::take(&mut partials.carried);
        let mut carried: HashMap<u32, Carried> =
            carried.into_iter().map(|c| (c.entry, c)).collect();
        for entry in late {
            let i = *entry as usize;
            let (sub_topology, partition) = (header.sub_topology.clone(), header.partition);
            let first = partials.first_offsets[i];
            let origin = match carried.remove(entry) {
                Some(record) => RejectOrigin::Carried {
                    sub_topology,
                    partition,
                    offset: first,
                    record,
                },
                None => RejectOrigin::Range {
                    sub_topology,
                    partition,
                    first,
                    last: partials.last_offsets[i],
                    rows: partials.rows[i],
                },
            };
            let end = partials.window_ends[i];
            let (start, watermark) = (self.emitter.start(end), self.progress.watermark());
            let message = format!(
                "the window from {} to {} is closed: the watermark is {}",
                shown(start),
                shown(end),
                shown(watermark)
            );
            rejects.push(Reject {
                cause: Cause::Late,
                message,
                origin,
            });
        }
    }
}

/// The slots of the keys; rows that are not in memory are read from the store.
fn find_or_load<'k>(
    table: &mut WindowTable,
    node: &str,
    end: i64,
    keys: impl Iterator<Item = &'k [u8]>,
    store: &dyn Store,
) -> Result<Vec<u32>> {
    let mut slots = Vec::new();
    // Places in `slots` and keys of what is not in memory; the keys of their rows one after the other.
    let (mut missing, mut row_keys) = (Vec::new(), ByteColumn::default());
    let mut row_key = Vec::new();
    for (place, key) in keys.enumerate() {
        let slot = table.find(key);
        if slot.is_none() {
            row_key.clear();
            put_row_key(end, key, &mut row_key);
            row_keys.push(&row_key);
            missing.push((place, key));
        }
        // Those that are missing are set below.
        slots.push(slot.unwrap_or_default());
    }
    if missing.is_empty() {
        return Ok(slots);
    }
    let row_keys: Vec<&[u8]> = row_keys.iter().collect();
    let values = store.get_many(node, &row_keys)?;
    for ((place, key), value) in missing.into_iter().zip(values) {
        slots[place] = table.find_or_load(key, value.as_deref())?;
    }
    Ok(slots)
}

/// A time as text; as plain milliseconds where it lies outside of the calendar.
fn shown(ms: i64) -> String {
    match DateTime::from_timestamp_millis(ms) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::Millis, true),
        None => format!("{ms} ms"),
    }
}
