//! Refresh instead of compaction: the task itself keeps its changelog short.
//!
//! A cycle begins right after a save. From then on every commit carries a slice of the store's rows, in key order,
//! before its own changes; rows that changed since the last save are left out, because their change stands after the
//! cycle's begin. When the slices have gone once through the store, everything before the cycle's begin is dead.
//!
//! A log that was cut from outside (an admin's deletion, an unclean election) is made whole by a cycle that begins at
//! once, whatever the log's length: while the owner lives, nothing is lost.
//!
//! Invariant: replay from `complete_from` finds every row, or fails. This file decides; it reads no store.

use super::facts::{CURSOR_BYTES, ChangelogFacts, RefreshCycle};

/// Bytes of rows that a commit may carry at least, and at most.
const SLICE_MIN: u64 = 256 << 10;
const SLICE_MAX: u64 = 4 << 20;

/// The refresh of one task's changelog: the committed facts, and what the open transaction makes of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refresh {
    facts: ChangelogFacts,
    /// Where the broker's log begins, as last seen. We order deletions up to `complete_from`, never beyond.
    log_start: i64,
    /// The log has lost its end, and the cycle that writes everything again has not gone through yet.
    truncated: bool,
}

/// How the log was cut from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    #[error(
        "it begins at offset {start} now, but its rows were complete only from {complete_from} on"
    )]
    Head { start: i64, complete_from: i64 },
    #[error("its end was lost: offsets have fallen")]
    Tail,
}

impl Refresh {
    pub fn new(facts: ChangelogFacts) -> Self {
        Refresh {
            facts,
            ..Refresh::default()
        }
    }

    /// The broker's log begins here.
    pub fn saw_start(&mut self, log_start: i64) {
        self.log_start = log_start;
    }

    /// A block stands at an offset that an earlier one had. `complete_from` means nothing any more: replays shall begin
    /// at the log's first block, and fail there, until a cycle has gone through.
    pub fn truncated(&mut self) {
        self.truncated = true;
        self.facts.complete_from = 0;
        self.facts.cycle = None;
    }

    /// Replay finds every row, as far as is known.
    pub fn is_whole(&self) -> bool {
        !self.truncated && self.log_start <= self.facts.complete_from
    }

    /// The cut, where no cycle is under way that mends it.
    pub fn unmended(&self) -> Option<Cut> {
        let cycle = self.facts.cycle.as_ref();
        if self.truncated && cycle.is_none() {
            return Some(Cut::Tail);
        }
        let complete_from = self.facts.complete_from;
        let begin = cycle.map_or(complete_from, |cycle| cycle.begin);
        (self.log_start > begin).then_some(Cut::Head {
            start: self.log_start,
            complete_from,
        })
    }

    pub fn complete_from(&self) -> i64 {
        self.facts.complete_from
    }

    pub fn log_bytes(&self) -> u64 {
        self.facts.bytes
    }

    /// Right after a save: begins a cycle where the log has `min_log_bytes` or more and none is under way, or where the log was cut.
    /// `next_offset` is an offset after the task's last committed block and not after its next one.
    pub fn after_save(&mut self, next_offset: i64, min_log_bytes: u64) -> Option<Cut> {
        let cut = self.unmended();
        if cut.is_some() {
            if next_offset < self.log_start {
                // All of our blocks are gone: a cycle that began before the log would itself be cut. After our next commit.
                return None;
            }
            self.begin(next_offset);
        } else if self.facts.cycle.is_none() && self.facts.bytes >= min_log_bytes {
            self.begin(next_offset);
        }
        cut
    }

    fn begin(&mut self, next_offset: i64) {
        self.facts.cycle = Some(RefreshCycle {
            begin: next_offset,
            bytes: 0,
            cursor: Vec::new(),
        });
    }

    /// The slice that the next commit carries: the key after which it begins, and its bytes at most.
    pub fn slice(&self, own_change_bytes: u64) -> Option<(&[u8], u64)> {
        let cycle = self.facts.cycle.as_ref()?;
        Some((&cycle.cursor, own_change_bytes.clamp(SLICE_MIN, SLICE_MAX)))
    }

    /// The slice went up to `last` (`None`: through the end of the store).
    pub fn sliced(&mut self, last: Option<&[u8]>) {
        let Some(cycle) = &mut self.facts.cycle else {
            return;
        };
        match last {
            Some(last) => cycle.cursor = last.to_vec(),
            None => {
                self.facts.complete_from = cycle.begin;
                self.facts.bytes = cycle.bytes;
                self.facts.cycle = None;
                self.truncated = false;
            }
        }
    }

    /// The commit writes this many bytes of blocks.
    pub fn wrote(&mut self, bytes: u64) {
        self.facts.bytes += bytes;
        if let Some(cycle) = &mut self.facts.cycle {
            cycle.bytes += bytes;
        }
    }

    /// As committed with the task.
    pub fn facts(&self) -> ChangelogFacts {
        let mut facts = self.facts.clone();
        if let Some(cycle) = &mut facts.cycle {
            cycle.cursor.truncate(CURSOR_BYTES);
        }
        facts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_moves_complete_from_to_its_begin_only_when_it_has_gone_through() {
        let mut refresh = Refresh::default();
        refresh.wrote(99);
        refresh.after_save(10, 100);
        assert_eq!(refresh.slice(0), None, "the log is short");
        refresh.wrote(1);
        refresh.after_save(20, 100);
        assert_eq!(refresh.slice(0), Some((&b""[..], SLICE_MIN)));
        refresh.sliced(Some(b"k1"));
        refresh.wrote(30);
        assert_eq!(refresh.complete_from(), 0);
        assert_eq!(refresh.slice(u64::MAX), Some((&b"k1"[..], SLICE_MAX)));
        refresh.sliced(None);
        assert_eq!((refresh.complete_from(), refresh.log_bytes()), (20, 30));
        assert_eq!(refresh.slice(0), None);
    }

    #[test]
    fn a_save_in_mid_cycle_does_not_move_its_begin() {
        let mut refresh = Refresh::default();
        refresh.begin(5);
        refresh.wrote(1000);
        refresh.after_save(50, 100);
        refresh.sliced(None);
        assert_eq!(refresh.complete_from(), 5);
    }

    #[test]
    fn a_log_that_was_cut_is_written_again_at_once() {
        let mut refresh = Refresh::new(ChangelogFacts {
            complete_from: 5,
            ..ChangelogFacts::default()
        });
        refresh.saw_start(5);
        assert_eq!(refresh.after_save(10, u64::MAX), None, "our own deletion");
        refresh.saw_start(8);
        let head = |start, complete_from| {
            Some(Cut::Head {
                start,
                complete_from,
            })
        };
        assert_eq!(refresh.after_save(10, u64::MAX), head(8, 5));
        refresh.sliced(Some(b"k"));
        assert!(!refresh.is_whole());
        assert_eq!(refresh.after_save(20, u64::MAX), None, "the cycle mends it");
        refresh.saw_start(15);
        assert_eq!(refresh.after_save(13, u64::MAX), None, "before the log");
        assert!(refresh.unmended().is_some());
        assert_eq!(refresh.after_save(16, u64::MAX), head(15, 5));
        assert_eq!(
            refresh.slice(0),
            Some((&b""[..], SLICE_MIN)),
            "the slices that were cut are written again"
        );
        refresh.sliced(None);
        assert!(refresh.is_whole());
        assert_eq!(refresh.complete_from(), 16);
    }

    #[test]
    fn a_log_without_its_end_passes_no_replay_until_it_is_whole() {
        let mut refresh = Refresh::new(ChangelogFacts {
            complete_from: 100,
            ..ChangelogFacts::default()
        });
        refresh.begin(120);
        refresh.truncated();
        assert_eq!((refresh.complete_from(), refresh.facts().cycle), (0, None));
        assert_eq!(refresh.after_save(51, u64::MAX), Some(Cut::Tail));
        assert!(!refresh.is_whole());
        assert_eq!(refresh.after_save(52, u64::MAX), None, "once is enough");
        refresh.sliced(None);
        assert!(refresh.is_whole());
        assert_eq!(refresh.complete_from(), 51);
    }

    #[test]
    fn a_long_cursor_is_cut_in_the_facts_only() {
        let mut refresh = Refresh::default();
        refresh.begin(5);
        refresh.sliced(Some(&[7; 500]));
        assert_eq!(
            refresh.facts().cycle.map(|c| c.cursor.len()),
            Some(CURSOR_BYTES)
        );
        assert_eq!(refresh.slice(0).map(|s| s.0.len()), Some(500));
    }
}
