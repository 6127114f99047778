//! Emitting closed windows in chunks, from memory and store together.
//!
//! Invariant: a chunk holds rows of one window, in the order of their keys, and begins behind the last key that was
//! emitted; memory is bounded by the chunk, not by the window. A row in memory stands for the one in the store.

use super::super::accumulator::Accumulators;
use super::super::{NodeCounts, Reject};
use super::table::WindowTable;
use super::{WindowOperator, put_row_key, row_prefix, split_row_key};
use crate::batch::Batch;
use crate::state::values::ByteColumn;
use crate::state::{Error, Result, Store};

/// Rows merged from memory and store.
struct Chunk {
    keys: ByteColumn,
    rows: Accumulators,
}

impl WindowOperator {
    /// Emits the next rows of closed windows, by window end and then key: at most about `max_rows`, of one window.
    /// The rows have passed HAVING and the projection, so the batch may be empty. `None` when nothing is left.
    /// `counts` is that of the emitted rows: received are the groups fired.
    ///
    /// # Errors
    /// If the store cannot be read, or what it holds is damaged; nothing is emitted then.
    pub fn fire(
        &mut self,
        max_rows: usize,
        store: &dyn Store,
        counts: &mut NodeCounts,
        rejects: &mut Vec<Reject>,
    ) -> Result<Option<Batch>> {
        let limit = max_rows.max(1);
        while let Some(end) = self.next_closed() {
            let WindowOperator {
                windows,
                emitter,
                progress,
                node,
                ..
            } = self;
            let Some(table) = windows.get_mut(&end) else {
                return Ok(None);
            };
            table.sort();
            let after = progress.emitted_to(end);
            if table.cold {
                // One row more than is emitted, to know whether the window ends here.
                let chunk = merged(table, node, end, after, limit.saturating_add(1), store)?;
                let Some(last) = chunk.keys.len().min(limit).checked_sub(1) else {
                    progress.emit_all(end);
                    continue;
                };
                let groups: Vec<u32> = (0..=last as u32).collect();
                let keys = (0..=last).map(|i| chunk.keys.get(i));
                let batch = emitter.rows(end, &chunk.rows, &groups, keys, counts, rejects)?;
                if groups.len() == chunk.keys.len() {
                    progress.emit_all(end);
                } else {
                    progress.emit_to(end, chunk.keys.get(last));
                }
                return Ok(Some(batch));
            }
            let (slots, whole) = first(table.sorted_after(after), limit);
            let Some(last) = slots.last() else {
                progress.emit_all(end);
                continue;
            };
            let keys = slots.iter().map(|slot| table.key(*slot));
            let batch = emitter.rows(end, table.rows(), &slots, keys, counts, rejects)?;
            if whole {
                progress.emit_all(end);
            } else {
                progress.emit_to(end, table.key(*last));
            }
            return Ok(Some(batch));
        }
        Ok(None)
    }
}

/// At most `limit` slots, and whether they are all.
fn first(mut slots: impl Iterator<Item = u32>, limit: usize) -> (Vec<u32>, bool) {
    let first = slots.by_ref().take(limit).collect();
    (first, slots.next().is_none())
}

/// The next rows of a window, at most `limit`, of which some may be in the store only.
fn merged(
    table: &WindowTable,
    node: &str,
    end: i64,
    after: Option<&[u8]>,
    limit: usize,
    store: &dyn Store,
) -> Result<Chunk> {
    let mut chunk = Chunk {
        keys: ByteColumn::default(),
        rows: table.rows().new_empty(),
    };
    let mut hot = table.sorted_after(after).peekable();
    let push_hot = |chunk: &mut Chunk, slot: u32| {
        chunk.keys.push(table.key(slot));
        chunk.rows.push_from(table.rows(), slot);
    };
    let from = after.map(|after| {
        let mut key = Vec::new();
        put_row_key(end, after, &mut key);
        key
    });
    store.scan(
        node,
        &row_prefix(end),
        from.as_deref(),
        &mut |key, value| {
            let Some((_, key)) = split_row_key(key) else {
                return Err(Error::Damaged {
                    what: "row of a window",
                    message: "its key is cut short".to_owned(),
                });
            };
            while chunk.keys.len() < limit
                && let Some(slot) = hot.next_if(|slot| table.key(*slot) < key)
            {
                push_hot(&mut chunk, slot);
            }
            if chunk.keys.len() == limit {
                return Ok(false);
            }
            match hot.next_if(|slot| table.key(*slot) == key) {
                Some(slot) => push_hot(&mut chunk, slot),
                None => {
                    chunk.rows.push_encoded(value)?;
                    chunk.keys.push(key);
                }
            }
            Ok(chunk.keys.len() < limit)
        },
    )?;
    while chunk.keys.len() < limit
        && let Some(slot) = hot.next()
    {
        push_hot(&mut chunk, slot);
    }
    Ok(chunk)
}
