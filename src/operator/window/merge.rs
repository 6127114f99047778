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
        let mut late = Vec::new();
        for (entry, (end, rows)) in partials.window_ends.iter().zip(&partials.rows).enumerate() {
            counts.received += rows;
            if self.progress.closed(*end) {
                counts.late += rows;
                late.push(entry as u32);
            } else {
                counts.used += rows;
                by_window.entry(*end).or_default().push(entry as u32);
            }
        }
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
        if table.cold {
            load(table, node, end, entries, partials, store)?;
        }
        let key = |entry: &u32| partials.keys.get(*entry as usize);
        let slots: Vec<u32> = entries
            .iter()
            .map(|entry| table.find_or_insert(key(entry)))
            .collect();
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

/// Reads the rows of those entries that are not in memory.
fn load(
    table: &mut WindowTable,
    node: &str,
    end: i64,
    entries: &[u32],
    partials: &Partials,
    store: &dyn Store,
) -> Result<()> {
    let key = |entry: u32| partials.keys.get(entry as usize);
    let missing: Vec<u32> = entries
        .iter()
        .copied()
        .filter(|entry| table.find(key(*entry)).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut bytes = Vec::new();
    let ranges = missing.iter().map(|entry| {
        let start = bytes.len();
        put_row_key(end, key(*entry), &mut bytes);
        start..bytes.len()
    });
    let ranges: Vec<_> = ranges.collect();
    let keys: Vec<&[u8]> = ranges.into_iter().map(|range| &bytes[range]).collect();
    let values = store.get_many(node, &keys)?;
    for (entry, value) in missing.iter().zip(values) {
        // The same key may stand in the block more than once.
        if let Some(value) = value
            && table.find(key(*entry)).is_none()
        {
            table.load(key(*entry), &value)?;
        }
    }
    Ok(())
}

/// A time as text; as plain milliseconds where it lies outside of the calendar.
fn shown(ms: i64) -> String {
    match DateTime::from_timestamp_millis(ms) {
        Some(time) => time.to_rfc3339_opts(SecondsFormat::Millis, true),
        None => format!("{ms} ms"),
    }
}
