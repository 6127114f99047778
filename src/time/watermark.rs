//! Watermarks: of one source partition, and of a task that reads from many producing tasks.
//!
//! Invariant: a watermark never falls. `Watermark(t)` says that rows with a time `<= t` are not expected any more.
//! Definitions as in SEMANTICS: a partition's watermark is max event time - out of orderness - 1 ms; a task's is the
//! minimum over its producers; idle producers do not hold it back; if all are idle it is the maximum of theirs.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// "Nothing is known yet": below every event time.
pub const UNKNOWN: i64 = i64::MIN;

/// How far the rows of one source partition have come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceWatermark {
    max_time: Option<i64>,
    /// A floor from before: what was told downstream never falls, also if `out_of_orderness` was enlarged.
    told: i64,
    pub idle: bool,
}

impl Default for SourceWatermark {
    fn default() -> Self {
        SourceWatermark {
            max_time: None,
            told: UNKNOWN,
            idle: false,
        }
    }
}

impl SourceWatermark {
    /// Takes a row's event time (ms). Returns whether the row came behind the partition's watermark.
    pub fn observe(&mut self, time: i64, out_of_orderness: i64) -> bool {
        let behind = time <= self.watermark(out_of_orderness);
        if self.max_time.is_none_or(|max| time > max) {
            self.max_time = Some(time);
        }
        behind
    }

    pub fn watermark(&self, out_of_orderness: i64) -> i64 {
        let own = self.max_time.map_or(UNKNOWN, |max| {
            max.saturating_sub(out_of_orderness).saturating_sub(1)
        });
        own.max(self.told)
    }

    /// Remembers the watermark that goes downstream.
    pub fn tell(&mut self, out_of_orderness: i64) -> i64 {
        self.told = self.watermark(out_of_orderness);
        self.told
    }
}

/// What one producing task last said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heard {
    pub watermark: i64,
    pub idle: bool,
    /// `--until-end`: nothing more comes in the run of this number. The watermark stays the last real one.
    pub ended: Option<u32>,
}

/// The end of bounded run `n` stands in a block's header as this less `n`; it is never stored as a watermark.
pub const ENDED: i64 = i64::MAX;
/// Runs that can be told so; watermarks are far below.
const MAX_RUN: i64 = 1 << 31;

impl Heard {
    /// As a header says it.
    pub fn from_header(watermark: i64, idle: bool) -> Heard {
        let run = ENDED.checked_sub(watermark).filter(|run| *run < MAX_RUN);
        let watermark = if run.is_some() { UNKNOWN } else { watermark };
        Heard {
            watermark,
            idle,
            ended: run.map(|run| run as u32),
        }
    }

    /// As a header says it.
    pub fn header_watermark(&self) -> i64 {
        self.ended
            .map_or(self.watermark, |run| ENDED - i64::from(run))
    }
}

/// The watermark of a task that reads a repartition topic. The producing sub-topologies are known by their index in
/// the plan; how many tasks each has is told by the block headers, the highest count seen holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Producers {
    expected: BTreeMap<u32, u32>,
    heard: BTreeMap<(u32, i32), Heard>,
    current: Option<i64>,
    /// The bounded run that the task is in: the end of another one means nothing to it.
    run: Option<u32>,
}

impl Producers {
    /// Takes what a block's header says.
    pub fn hear(&mut self, producer: (u32, i32), tasks: u32, said: Heard) {
        let expected = self.expected.entry(producer.0).or_insert(0);
        *expected = (*expected).max(tasks);
        let heard = self.heard.entry(producer).or_insert(said);
        *heard = Heard {
            watermark: heard.watermark.max(said.watermark),
            ..said
        };
    }

    /// The minimum over all producers of all `subs`, raised to what it was before.
    pub fn watermark(&mut self, subs: u32) -> i64 {
        let now = self.minimum(subs).max(self.current.unwrap_or(UNKNOWN));
        if now > UNKNOWN {
            self.current = Some(now);
        }
        now
    }

    fn minimum(&self, subs: u32) -> i64 {
        if (0..subs).any(|sub| !self.complete(sub)) {
            return UNKNOWN;
        }
        let open = || self.heard.values().filter(|h| !self.has_ended(h));
        let awake = open().filter(|h| !h.idle).map(|h| h.watermark).min();
        awake.unwrap_or_else(|| open().map(|h| h.watermark).max().unwrap_or(UNKNOWN))
    }

    /// Every task of the sub-topology was heard.
    fn complete(&self, sub: u32) -> bool {
        let expected = self.expected.get(&sub).copied().unwrap_or(u32::MAX);
        let heard = self.heard.range((sub, i32::MIN)..=(sub, i32::MAX)).count();
        heard >= expected as usize
    }

    /// Every producing task that was heard: index of its sub-topology, partition.
    pub fn known(&self) -> impl Iterator<Item = (u32, i32)> {
        self.heard.keys().copied()
    }

    /// All producers are known and idle.
    pub fn idle(&self, subs: u32) -> bool {
        (0..subs).all(|sub| self.complete(sub)) && self.heard.values().all(|h| h.idle)
    }

    /// All producers are known and have ended the task's run.
    pub fn ended(&self, subs: u32) -> bool {
        (0..subs).all(|sub| self.complete(sub)) && self.heard.values().all(|h| self.has_ended(h))
    }

    fn has_ended(&self, heard: &Heard) -> bool {
        heard.ended.is_some() && heard.ended == self.run
    }

    /// The task enters a bounded run, or leaves it.
    pub fn enter(&mut self, run: Option<u32>) {
        self.run = run;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_exactly_out_of_orderness_behind_is_on_time() {
        let mut w = SourceWatermark::default();
        assert!(!w.observe(1000, 200));
        assert_eq!(w.watermark(200), 799);
        assert!(!w.observe(800, 200));
        assert!(w.observe(799, 200));
    }

    #[test]
    fn a_watermark_that_was_told_never_falls() {
        let mut w = SourceWatermark::default();
        w.observe(1000, 0);
        assert_eq!(w.tell(0), 999);
        assert_eq!(w.watermark(500), 999);
    }

    /// Lines: `sub/partition of tasks: watermark[ idle]` -> the task's watermark afterwards.
    fn check(subs: u32, script: &[(&str, i64)]) {
        let mut producers = Producers {
            run: Some(3),
            ..Producers::default()
        };
        for (line, expected) in script {
            let (head, said) = line.split_once(": ").unwrap();
            let (who, tasks) = head.split_once(" of ").unwrap();
            let (sub, partition) = who.split_once('/').unwrap();
            let (said, idle) = (said.trim_end_matches(" idle"), said.ends_with(" idle"));
            let watermark = if said == "end" {
                ENDED - 3
            } else {
                said.parse().unwrap()
            };
            let said = Heard::from_header(watermark, idle);
            producers.hear(
                (sub.parse().unwrap(), partition.parse().unwrap()),
                tasks.parse().unwrap(),
                said,
            );
            assert_eq!(producers.watermark(subs), *expected, "after {line}");
        }
    }

    #[test]
    fn the_minimum_over_all_producers_counts() {
        check(
            1,
            &[
                ("0/0 of 2: 10", UNKNOWN),
                ("0/1 of 2: 5", 5),
                ("0/1 of 2: 20", 10),
            ],
        );
    }

    #[test]
    fn a_producer_not_yet_heard_of_holds_the_watermark() {
        check(2, &[("0/0 of 1: 10", UNKNOWN), ("1/0 of 1: 7", 7)]);
        check(
            1,
            &[
                ("0/0 of 1: 10", 10),
                ("0/0 of 2: 12", 10),
                ("0/1 of 2: 30", 12),
            ],
        );
    }

    #[test]
    fn idle_producers_do_not_hold_and_a_late_waker_holds_where_it_stands() {
        check(
            1,
            &[
                ("0/0 of 2: 10", UNKNOWN),
                ("0/1 of 2: 5 idle", 10),
                ("0/1 of 2: 6", 10),
                ("0/0 of 2: 40", 10),
            ],
        );
    }

    #[test]
    fn ended_producers_do_not_hold_and_infinity_is_never_kept() {
        check(
            1,
            &[
                ("0/0 of 2: 10", UNKNOWN),
                ("0/1 of 2: 5", 5),
                ("0/1 of 2: end", 10),
                ("0/0 of 2: end", 10),
            ],
        );
        let mut producers = Producers::default();
        producers.hear((0, 0), 1, Heard::from_header(7, false));
        producers.hear((0, 0), 1, Heard::from_header(ENDED - 3, false));
        assert!(!producers.ended(1), "the end of another run");
        assert_eq!(producers.watermark(1), 7);
        producers.enter(Some(3));
        assert!(producers.ended(1));
        producers.enter(Some(4));
        assert!(!producers.ended(1));
        assert_eq!(producers.watermark(1), 7);
    }

    #[test]
    fn all_idle_takes_the_maximum() {
        check(
            1,
            &[("0/0 of 2: 10 idle", UNKNOWN), ("0/1 of 2: 50 idle", 50)],
        );
    }
}
