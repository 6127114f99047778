//! The test that a replayed changelog must pass: no gap in epochs, and an end at exactly the committed facts.
//!
//! Invariant: a replay that passes has seen every block from its begin to the commit that the facts name; anything
//! else (an admin's deletion, retention, truncation, a topic made anew) is lost state and is said so.

use crate::state::SavedPosition;

/// Why a replayed log is not the task's state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the log jumps from epoch {from} to {to} at offset {at}")]
    Gap { from: u64, to: u64, at: i64 },
    #[error("two commits of epoch {epoch} stand in the log (offset {at})")]
    Fork { epoch: u64, at: i64 },
    #[error("the log ends with epoch {found:?}, the committed offsets name epoch {wanted}")]
    Ends { found: Option<u64>, wanted: u64 },
    #[error("the local store is not of this log")]
    OtherStore,
}

/// Epoch and nonce of a task that has committed nothing.
const BEFORE_THE_FIRST: (u64, u64) = (0, 0);

/// Follows the block headers of one replay.
#[derive(Debug)]
pub struct Replay {
    /// The block with which the local store claims to end: the first one read must be it.
    store: Option<SavedPosition>,
    last: Option<(u64, u64)>,
    last_offset: i64,
}

impl Replay {
    /// From the log alone, from offset `begin` on. The log's very beginning must hold the task's first commit: a topic
    /// that was made anew, or lost everything, begins with a later one.
    pub fn from_log(begin: i64) -> Replay {
        Replay {
            store: None,
            last: (begin == 0).then_some(BEFORE_THE_FIRST),
            last_offset: -1,
        }
    }

    /// On top of a local store, beginning at its position's block.
    pub fn from_store(position: SavedPosition) -> Replay {
        Replay {
            store: Some(position),
            last: None,
            last_offset: -1,
        }
    }

    /// Takes the header of the block at `offset`.
    ///
    /// # Errors
    /// [`Fault::OtherStore`]: wipe the store and replay from the log alone. Others: the state is lost.
    pub fn on_block(&mut self, offset: i64, epoch: u64, nonce: u64) -> Result<(), Fault> {
        if let Some(store) = self.store.take()
            && (store.offset, store.epoch, store.nonce) != (offset, epoch, nonce)
        {
            return Err(Fault::OtherStore);
        }
        self.last_offset = offset;
        match self.last {
            None => {}
            Some(last) if last == (epoch, nonce) => {}
            Some((from, _)) if from == epoch => return Err(Fault::Fork { epoch, at: offset }),
            Some((from, _)) if from + 1 == epoch => {}
            Some((from, _)) => {
                return Err(Fault::Gap {
                    from,
                    to: epoch,
                    at: offset,
                });
            }
        }
        self.last = Some((epoch, nonce));
        Ok(())
    }

    /// The log was read up to the barrier; returns the position of the last block.
    pub fn finish(self, epoch: u64, nonce: u64) -> Result<SavedPosition, Fault> {
        if self.store.is_some() {
            return Err(Fault::OtherStore);
        }
        if self.last != Some((epoch, nonce)) {
            return Err(Fault::Ends {
                found: self.last.map(|l| l.0).filter(|epoch| *epoch > 0),
                wanted: epoch,
            });
        }
        Ok(SavedPosition {
            offset: self.last_offset,
            epoch,
            nonce,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replay(
        mut replay: Replay,
        blocks: &[(i64, u64, u64)],
        end: (u64, u64),
    ) -> Result<i64, Fault> {
        for (offset, epoch, nonce) in blocks {
            replay.on_block(*offset, *epoch, *nonce)?;
        }
        replay.finish(end.0, end.1).map(|p| p.offset)
    }

    #[test]
    fn a_log_without_gap_that_ends_at_the_facts_passes() {
        let log = [(3, 5, 50), (4, 5, 50), (6, 6, 60)];
        assert_eq!(replay(Replay::from_log(3), &log, (6, 60)), Ok(6));
    }

    #[test]
    fn anything_else_is_a_fault() {
        let run = |blocks: &[(i64, u64, u64)]| replay(Replay::from_log(3), blocks, (6, 60));
        assert_eq!(
            run(&[(3, 4, 40), (6, 6, 60)]),
            Err(Fault::Gap {
                from: 4,
                to: 6,
                at: 6
            })
        );
        assert_eq!(
            run(&[(3, 6, 61), (6, 6, 60)]),
            Err(Fault::Fork { epoch: 6, at: 6 })
        );
        assert_eq!(
            run(&[(3, 6, 60), (4, 5, 50)]),
            Err(Fault::Gap {
                from: 6,
                to: 5,
                at: 4
            })
        );
        assert_eq!(
            run(&[(3, 5, 50)]),
            Err(Fault::Ends {
                found: Some(5),
                wanted: 6
            })
        );
        assert_eq!(
            run(&[(3, 6, 61)]),
            Err(Fault::Ends {
                found: Some(6),
                wanted: 6
            })
        );
        assert_eq!(
            run(&[]),
            Err(Fault::Ends {
                found: None,
                wanted: 6
            })
        );
    }

    #[test]
    fn the_beginning_of_a_log_holds_the_first_commit() {
        let log = [(0, 1, 10), (2, 2, 20)];
        assert_eq!(replay(Replay::from_log(0), &log, (2, 20)), Ok(2));
        let anew = Fault::Gap {
            from: 0,
            to: 2,
            at: 2,
        };
        assert_eq!(replay(Replay::from_log(0), &log[1..], (2, 20)), Err(anew));
        let empty = Fault::Ends {
            found: None,
            wanted: 2,
        };
        assert_eq!(replay(Replay::from_log(0), &[], (2, 20)), Err(empty));
    }

    #[test]
    fn a_store_is_good_only_if_its_block_still_stands_in_the_log() {
        let store = SavedPosition {
            offset: 4,
            epoch: 5,
            nonce: 50,
        };
        let run = |blocks: &[(i64, u64, u64)]| replay(Replay::from_store(store), blocks, (6, 60));
        assert_eq!(run(&[(4, 5, 50), (6, 6, 60)]), Ok(6));
        assert_eq!(run(&[(4, 5, 51), (6, 6, 60)]), Err(Fault::OtherStore));
        assert_eq!(run(&[(5, 5, 50), (6, 6, 60)]), Err(Fault::OtherStore));
        assert_eq!(run(&[]), Err(Fault::OtherStore));
    }
}
