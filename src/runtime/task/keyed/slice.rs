//! A slice of the store's rows for a refresh cycle: puts in key order, as many as one commit may carry and look at.
//!
//! Invariant: every row between the slice's begin and its end that is not unsaved is in the slice; a slice reads a
//! bounded number of bytes, so that no commit waits for a walk over a store whose rows have nearly all changed. It
//! decides nothing about cycles, and changes no state.

use crate::state::block::Changes;
use crate::state::{Change, Result, Store};

/// A slice looks at so many times the bytes that it may carry.
const LOOKED_AT: usize = 4;
/// What a row costs to look at beside its bytes.
const ROW_OVERHEAD: usize = 32;

/// What a slice may carry, and where it begins.
pub(super) struct Slice<'a> {
    pub node: &'a str,
    /// The state's number in the changes.
    pub number: u8,
    /// The last key that was visited before; empty at the cycle's begin.
    pub after: &'a [u8],
    /// Bytes of changes.
    pub limit: usize,
}

impl Slice<'_> {
    /// Writes rows of the store, but for those that are `unsaved`. Returns the last key visited, `None` at the store's end.
    pub fn write(
        &self,
        store: &dyn Store,
        unsaved: &dyn Fn(&[u8]) -> bool,
        changes: &mut Changes,
    ) -> Result<Option<Vec<u8>>> {
        let after = (!self.after.is_empty()).then_some(self.after);
        let mut last = Vec::new();
        let (mut looked_at, mut more) = (0, false);
        store.scan(self.node, b"", after, &mut |key, value| {
            if changes.bytes() >= self.limit || looked_at >= self.limit * LOOKED_AT {
                more = true;
                return Ok(false);
            }
            if !unsaved(key) {
                changes.push(self.number, Change::Put { key, value });
            }
            looked_at += key.len() + value.len() + ROW_OVERHEAD;
            last.clear();
            last.extend_from_slice(key);
            Ok(true)
        })?;
        Ok(more.then_some(last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Stores;
    use crate::state::memory::MemoryStores;

    const ROWS: u32 = 1000;
    const LIMIT: usize = 1000;

    fn store() -> Result<Box<dyn Store>> {
        let mut store = MemoryStores::new().open("t/0", &["n"])?;
        let keys: Vec<[u8; 4]> = (1..=ROWS).map(u32::to_be_bytes).collect();
        let put = |key| Change::Put { key, value: b"v" };
        store.write("n", &mut keys.iter().map(|k| put(k)))?;
        Ok(store)
    }

    /// Goes once through the store: the keys carried, and the most rows that one slice has read.
    fn cycle(unsaved: &dyn Fn(&[u8]) -> bool) -> Result<(Vec<Vec<u8>>, u64)> {
        let store = store()?;
        let (mut carried, mut most, mut after) = (Vec::new(), 0, Vec::new());
        loop {
            let before = store.figures().reads;
            let mut changes = Changes::default();
            let slice = Slice {
                node: "n",
                number: 0,
                after: &after,
                limit: LIMIT,
            };
            let last = slice.write(store.as_ref(), unsaved, &mut changes)?;
            most = most.max(store.figures().reads - before);
            for change in changes.iter() {
                let (_, Change::Put { key, .. }) = change? else {
                    panic!("only puts")
                };
                carried.push(key.to_vec());
            }
            match last {
                Some(last) => after = last,
                None => return Ok((carried, most)),
            }
        }
    }

    #[test]
    fn slices_go_once_through_the_store() -> Result<()> {
        let keys: Vec<Vec<u8>> = (1..=ROWS).map(|k| k.to_be_bytes().to_vec()).collect();
        let (carried, most) = cycle(&|_| false)?;
        assert_eq!(carried, keys);
        assert!(most < u64::from(ROWS / 4), "{most} rows in one slice");
        let (carried, _) = cycle(&|key| key[3] == 7)?;
        let saved: Vec<_> = keys.into_iter().filter(|key| key[3] != 7).collect();
        assert_eq!(carried, saved);
        Ok(())
    }

    #[test]
    fn a_store_whose_rows_have_all_changed_is_not_walked_through_in_one_commit() -> Result<()> {
        let (carried, most) = cycle(&|_| true)?;
        assert!(carried.is_empty());
        assert!(
            most <= (LIMIT * LOOKED_AT / ROW_OVERHEAD) as u64,
            "{most} rows read"
        );
        Ok(())
    }
}
