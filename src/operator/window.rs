//! The receiving half of a windowed aggregation: merges partials into the state of open windows and fires closed ones.

use super::{NodeCounts, Reject};
use crate::batch::Batch;
use crate::plan::graph::WindowPlan;
use crate::state::block::{Changes, Header, Partials};
use crate::state::{Change, Result, Store};

/// State of one task's window node: committed rows in memory (hot layer) over those in the store, with an undo log of
/// what the open transaction changed (the overlay).
pub struct WindowOperator {}

impl WindowOperator {
    pub fn new(_plan: &WindowPlan) -> Self {
        unimplemented!()
    }

    /// Merges one block's partials. Entries whose window is closed are late: counted in rows, and one reject each
    /// where the policy says so. `header` is the block's.
    pub fn merge(
        &mut self,
        _header: &Header,
        _partials: Partials,
        _store: &dyn Store,
        _counts: &mut NodeCounts,
        _rejects: &mut Vec<Reject>,
    ) -> Result<()> {
        unimplemented!()
    }

    /// Takes the received watermark (never falls): windows with `end - 1 <= watermark` are closed from now on.
    pub fn advance(&mut self, _watermark: i64) {
        unimplemented!()
    }

    /// Closed windows wait to be emitted: the task takes no input meanwhile.
    pub fn firing(&self) -> bool {
        unimplemented!()
    }

    /// The watermark that may go downstream: the received one, or below the end of the window that is being fired.
    pub fn forwarded(&self) -> i64 {
        unimplemented!()
    }

    /// Emits the next rows of closed windows, by window end and then key: at most about `max_rows`, of one window.
    /// The rows have passed HAVING and the projection. `None` when nothing is left.
    pub fn fire(
        &mut self,
        _max_rows: usize,
        _store: &dyn Store,
        _counts: &mut NodeCounts,
        _rejects: &mut Vec<Reject>,
    ) -> Result<Option<Batch>> {
        unimplemented!()
    }

    /// Bytes that the open transaction's changes will take in the changelog, about.
    pub fn changed_bytes(&self) -> usize {
        unimplemented!()
    }

    /// Writes what the open transaction changed, absolute, as changes of node `node`.
    pub fn seal(&mut self, _node: u8, _out: &mut Changes) {
        unimplemented!()
    }

    /// The transaction is committed: its changes are committed state now.
    pub fn committed(&mut self) {
        unimplemented!()
    }

    /// The transaction is aborted: back to the state after the last commit.
    pub fn aborted(&mut self) {
        unimplemented!()
    }

    /// Takes a change from the changelog, while the task is restored.
    pub fn restore(&mut self, _change: Change<'_>) -> Result<()> {
        unimplemented!()
    }

    /// Writes committed rows that are not in the store yet; no transaction is open.
    pub fn save(&mut self, _node: &str, _store: &mut dyn Store) -> Result<()> {
        unimplemented!()
    }

    /// Whether the row of this key changed (or was cleared) since the last save.
    pub fn unsaved(&self, _key: &[u8]) -> bool {
        unimplemented!()
    }

    /// Drops rows from memory that are in the store, and gives the memory back. Called right after `save`.
    pub fn evict(&mut self) {
        unimplemented!()
    }

    /// Memory held, in bytes; and how much of it is not in the store.
    pub fn bytes(&self) -> (usize, usize) {
        unimplemented!()
    }

    /// Rows in memory.
    pub fn rows(&self) -> usize {
        unimplemented!()
    }
}
