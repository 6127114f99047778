//! The open transaction of a window node: sealing it, and what commit and abort make of it.
//!
//! Invariant: sealed changes are absolute and name every row that the transaction changed, but for the rows of
//! windows that it has emitted entirely: those are cleared as a whole. Rows of a window live until the commit that
//! clears them is acknowledged.

use super::{SPARE_TABLES, WindowOperator, progress, row_prefix};
use crate::state::Change;
use crate::state::block::Changes;

impl WindowOperator {
    /// Writes what the open transaction changed, absolute, as changes of node `node`.
    pub fn seal(&mut self, node: u8, out: &mut Changes) {
        let (mut key, mut value) = (Vec::new(), Vec::new());
        for (end, table) in &self.windows {
            if *end <= self.progress.fired() {
                // A window that came and went within this transaction was never written anywhere.
                if table.has_committed() {
                    out.push(
                        node,
                        Change::Clear {
                            prefix: &row_prefix(*end),
                        },
                    );
                }
                continue;
            }
            for slot in table.dirty_slots().iter() {
                key.clear();
                value.clear();
                table.put_row_key(*end, *slot, &mut key);
                table.rows().encode(*slot, &mut value);
                out.push(
                    node,
                    Change::Put {
                        key: &key,
                        value: &value,
                    },
                );
            }
        }
        if self.progress != self.committed {
            out.push(
                node,
                Change::Put {
                    key: progress::KEY,
                    value: &self.progress.encoded(),
                },
            );
        }
    }

    /// The transaction is committed: its changes are committed state now.
    pub fn committed(&mut self) {
        if self.progress != self.committed {
            self.committed = self.progress.clone();
            self.progress_unsaved = true;
        }
        while let Some(first) = self.windows.first_entry() {
            if *first.key() > self.progress.fired() {
                break;
            }
            let (end, mut table) = first.remove_entry();
            if table.stored {
                self.clears.insert(end);
            }
            if self.spare.len() < SPARE_TABLES {
                table.recycle();
                self.spare.push(table);
            }
        }
        for table in self.windows.values_mut().filter(|table| !table.is_clean()) {
            table.commit();
        }
    }

    /// The transaction is aborted: back to the state after the last commit.
    pub fn aborted(&mut self) {
        self.progress = self.committed.clone();
        self.windows.values_mut().for_each(|table| table.abort());
        self.windows.retain(|_, table| table.has_committed());
    }
}
