//! A task: one sub-topology x one partition, with its input, nodes, position and facts.
//!
//! ```text
//! Positioning -> Restoring -> Claiming -> Running        any phase -> Parked (with its cause)
//!      \____________(nothing to restore)____/            any phase -> dropped (closed)
//! ```
//! Invariant: `working` runs ahead of `committed` only while a transaction is open; `committed` is what Kafka has
//! acknowledged. A task does no I/O but through the outbox and its store, and reads no clock.

mod commit;
pub mod keyed;
pub mod nodes;
pub mod rejects;
pub mod restore;
pub mod sink;
pub mod source;

use crate::fetch::{Fetch, TopicPartition};
use crate::operator::NodeCounts;
use crate::protocol::TaskId;
use crate::protocol::facts::{BoundedRun, Counts, EventTime, Facts};
use crate::protocol::ownership::Taken;
use crate::runtime::error::Result;
use crate::runtime::outbox::Outbox;
use crate::time::watermark::{Heard, UNKNOWN};
pub use commit::{Sealing, Volume};
use keyed::KeyedInput;
use nodes::{Nodes, Surroundings};
use rejects::{RejectTarget, RejectWriter};
use restore::Restore;
use source::SourceInput;
use std::collections::VecDeque;
use std::time::Duration;

/// The broker forgets offsets of topics that nobody subscribes to after seven days: quiet tasks commit anew before.
const COMMIT_ANEW: Duration = Duration::from_secs(12 * 3600);
/// Rows that one step of firing emits at most.
const FIRE_ROWS: usize = 16_384;

/// Where a task stands.
pub enum Phase {
    /// The takeover asks Kafka for its position.
    Positioning,
    Restoring(Box<Restore>),
    /// Ready to run once its first commit has claimed it.
    Claiming,
    Running,
    /// It cannot go on; the others do.
    Parked(String),
}

impl Phase {
    pub fn name(&self) -> &'static str {
        match self {
            Phase::Positioning => "positioning",
            Phase::Restoring(_) => "restoring",
            Phase::Claiming => "claiming",
            Phase::Running => "running",
            Phase::Parked(_) => "parked",
        }
    }
}

/// What feeds a task.
pub enum Input {
    Source(Box<SourceInput>),
    Keyed(Box<KeyedInput>),
}

/// The part of the facts that moves while a transaction is open.
#[derive(Clone)]
struct Progress {
    position: i64,
    time: EventTime,
    counts: Counts,
    run: Option<BoundedRun>,
}

impl Progress {
    fn of(facts: &Facts) -> Progress {
        Progress {
            position: facts.position,
            time: facts.time.clone(),
            counts: facts.counts.clone(),
            run: facts.run.clone(),
        }
    }
}

pub struct Task {
    pub id: TaskId,
    pub taken: Taken,
    pub phase: Phase,
    pub input_at: TopicPartition,
    pub input: Input,
    pub nodes: Nodes,
    /// When it was taken, and how long the takeover lasted.
    pub taken_at: Duration,
    pub takeover_ms: Option<u64>,
    /// In a bounded run, the end of the source partition as the takeover saw it.
    pub end: Option<i64>,
    committed: Facts,
    committed_at: Duration,
    working: Progress,
    sealed: Option<Facts>,
    /// Something happened since the last commit.
    dirty: bool,
    /// How far the reader has come, control records included.
    read_to: i64,
    /// The reader stands at the broker's end, and nothing came since.
    end_seen: Option<i64>,
    /// It had stood there, but an open transaction has moved the end.
    behind: bool,
    /// Whether this process runs `--until-end`.
    bounded: bool,
    pending: VecDeque<(Fetch, usize)>,
    rejects: RejectWriter,
    /// Bytes of the records that were processed since the last commit, for people.
    read_bytes: u64,
    /// Rows and bytes that the last commit has changed, for people.
    pub overlay: (u64, u64),
}

impl Task {
    /// `fresh` are the facts of a task that was never committed.
    pub fn new(
        id: TaskId,
        taken: Taken,
        input_at: TopicPartition,
        input: Input,
        nodes: Nodes,
        fresh: Facts,
        now: Duration,
    ) -> Self {
        Task {
            id,
            taken,
            phase: Phase::Positioning,
            input_at,
            input,
            nodes,
            taken_at: now,
            takeover_ms: None,
            end: None,
            working: Progress::of(&fresh),
            committed: fresh,
            committed_at: now,
            sealed: None,
            dirty: false,
            read_to: 0,
            end_seen: None,
            behind: false,
            bounded: false,
            pending: VecDeque::new(),
            rejects: RejectWriter::default(),
            read_bytes: 0,
            overlay: (0, 0),
        }
    }

    /// Goes on from these facts; the first commit claims the task.
    pub fn claim_from(&mut self, facts: Facts, bounded: bool) {
        self.read_to = facts.position;
        self.bounded = bounded;
        self.working = Progress::of(&facts);
        self.committed = facts;
        self.phase = Phase::Claiming;
    }

    pub fn facts(&self) -> &Facts {
        &self.committed
    }

    /// Next offset of the input, as far as it was processed (not committed).
    pub fn position(&self) -> i64 {
        self.working.position
    }

    /// Up to here nothing of the input is left to be committed; control records behind the last record count.
    pub fn covered(&self) -> i64 {
        let all = !self.bounded && self.pending.is_empty() && !self.is_touched();
        if all {
            self.read_to.max(self.committed.position)
        } else {
            self.committed.position
        }
    }

    pub fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running)
    }

    /// Whether the next transaction has to carry the task.
    pub fn wants_commit(&self, producers: u32, now: Duration) -> bool {
        match self.phase {
            Phase::Claiming => true,
            Phase::Running => {
                let stale = now.saturating_sub(self.committed_at) > COMMIT_ANEW;
                let mending = matches!(&self.input, Input::Keyed(keyed) if keyed.is_mending());
                self.dirty || stale || mending || self.nodes.has_news(self.heard(), producers)
            }
            _ => false,
        }
    }

    /// Whether the open transaction holds something of the task.
    pub fn is_touched(&self) -> bool {
        self.dirty || self.sealed.is_some()
    }

    /// What the task would tell its shards.
    fn heard(&self) -> Heard {
        let run = self.working.run.as_ref();
        let ended = run.filter(|_| self.has_finished()).map(|run| run.number);
        match (&self.input, &self.working.time) {
            (Input::Source(source), EventTime::Source(time)) => Heard {
                watermark: time.watermark(source.out_of_orderness()),
                idle: time.idle,
                ended,
            },
            (Input::Keyed(keyed), EventTime::Producers(time)) => {
                let idle = keyed.idle(time) && !keyed.operator.firing();
                Heard {
                    watermark: keyed.operator.forwarded(),
                    idle,
                    ended,
                }
            }
            _ => Heard {
                watermark: UNKNOWN,
                idle: false,
                ended,
            },
        }
    }

    /// The bounded run is over for this task (as far as the open transaction knows).
    pub fn has_finished(&self) -> bool {
        self.bounded && self.working.run.as_ref().is_some_and(|run| run.finished)
    }

    /// Looks whether a bounded run has come to its end here: a source partition at its end, a window with nothing to fire.
    pub fn finish(&mut self) {
        if !self.bounded || !self.is_running() || !self.pending.is_empty() {
            return;
        }
        let over = match (&self.input, &self.working.time) {
            (Input::Source(_), _) => self
                .working
                .run
                .as_ref()
                .and_then(|r| r.end)
                .is_some_and(|end| self.read_to >= end),
            (Input::Keyed(keyed), EventTime::Producers(time)) => {
                keyed.ended(time) && !keyed.operator.firing()
            }
            _ => false,
        };
        if let Some(run) = self
            .working
            .run
            .as_mut()
            .filter(|run| over && !run.finished)
        {
            run.finished = true;
            self.dirty = true;
        }
    }

    /// The watermark that the task forwards.
    pub fn watermark(&self) -> Heard {
        self.heard()
    }

    /// Closed windows wait to be emitted: no input is taken.
    pub fn firing(&self) -> bool {
        matches!(&self.input, Input::Keyed(keyed) if keyed.operator.firing())
    }

    /// Fetched records that wait.
    pub fn pending_bytes(&self) -> usize {
        self.pending.iter().map(|(fetch, _)| fetch.bytes()).sum()
    }

    /// Memory of the open transaction: folds and changes.
    pub fn transaction_bytes(&self) -> usize {
        let changes = if let Input::Keyed(keyed) = &self.input {
            keyed.operator.changed_bytes()
        } else {
            0
        };
        self.nodes.bytes() + changes
    }

    /// Takes fetched records; those that were processed already are dropped.
    pub fn enqueue(&mut self, fetch: Fetch) {
        self.end_seen = None;
        self.read_to = self.read_to.max(fetch.next_offset().unwrap_or(0));
        let next = self
            .pending
            .back()
            .and_then(|(f, _)| f.next_offset())
            .unwrap_or(self.working.position);
        let first = fetch.first_from(next.max(self.working.position));
        if first < self.bound(&fetch) {
            self.pending.push_back((fetch, first));
        }
    }

    /// Records of the fetch that belong to this run.
    fn bound(&self, fetch: &Fetch) -> usize {
        match self
            .working
            .run
            .as_ref()
            .filter(|run| !run.finished)
            .and_then(|run| run.end)
        {
            Some(end) => fetch.first_from(end),
            None if self.has_finished() => 0,
            None => fetch.len(),
        }
    }

    /// Processes what waits, until nothing does or windows fire.
    pub fn process(
        &mut self,
        wall_ms: i64,
        target: &RejectTarget<'_>,
        outbox: &mut Outbox,
    ) -> Result<()> {
        while !self.firing()
            && let Some((fetch, first)) = self.pending.pop_front()
        {
            self.dirty = true;
            if matches!(self.input, Input::Source(_)) {
                self.process_source(fetch, first, wall_ms, outbox)?;
            } else {
                self.process_block(fetch, first)?;
            }
        }
        self.rejects.write(target, outbox)?;
        Ok(())
    }

    fn process_source(
        &mut self,
        fetch: Fetch,
        first: usize,
        wall_ms: i64,
        outbox: &mut Outbox,
    ) -> Result<()> {
        let bound = self.bound(&fetch);
        let (Input::Source(source), EventTime::Source(time)) =
            (&mut self.input, &mut self.working.time)
        else {
            return Ok(());
        };
        let Some(last) = bound.checked_sub(1) else {
            return Ok(());
        };
        let next = fetch.offset(last) + 1;
        self.read_bytes += fetch.bytes_of(first..bound);
        let taken = source.take(fetch, first..bound, time, wall_ms, &mut self.rejects);
        let counts = &mut self.working.counts;
        counts.records += taken.records;
        counts.rejected += taken.rejected;
        if let Some(batch) = taken.batch {
            let mut around = Surroundings {
                wall_ms,
                outbox,
                rejects: &mut self.rejects,
                counts: counts.nodes.as_mut_slice(),
            };
            self.nodes.process(&batch, &mut around)?;
        }
        self.working.position = next;
        self.read_to = self.read_to.max(next);
        Ok(())
    }

    fn process_block(&mut self, fetch: Fetch, index: usize) -> Result<()> {
        let (Input::Keyed(keyed), EventTime::Producers(time)) =
            (&mut self.input, &mut self.working.time)
        else {
            return Ok(());
        };
        keyed.take(
            &fetch,
            index,
            time,
            &mut self.working.counts.window,
            &mut self.rejects,
        )?;
        self.working.counts.records += 1;
        self.working.position = fetch.offset(index) + 1;
        if index + 1 < fetch.len() {
            self.pending.push_front((fetch, index + 1));
        }
        Ok(())
    }

    /// Emits a chunk of closed windows; returns whether more wait.
    pub fn fire(
        &mut self,
        wall_ms: i64,
        target: &RejectTarget<'_>,
        outbox: &mut Outbox,
    ) -> Result<bool> {
        let Input::Keyed(keyed) = &mut self.input else {
            return Ok(false);
        };
        if !keyed.operator.firing() {
            return Ok(false);
        }
        self.dirty = true;
        let counts = &mut self.working.counts;
        let mut fired = NodeCounts::default();
        if let Some(batch) = keyed.fire(FIRE_ROWS, &mut fired, &mut self.rejects)? {
            let mut around = Surroundings {
                wall_ms,
                outbox,
                rejects: &mut self.rejects,
                counts: counts.nodes.as_mut_slice(),
            };
            self.nodes.process(&batch, &mut around)?;
        }
        counts.fired.add(&fired);
        self.rejects.write(target, outbox)?;
        Ok(self.firing())
    }

    /// The reader reached the end of the input; `caught_up` says that it is the broker's end as well.
    pub fn at_end(&mut self, offset: i64, caught_up: bool, elapsed: Duration) {
        // Control records at the end of the log are read, but no position of ours.
        self.read_to = self.read_to.max(offset);
        // The end is told once: records of the same poll may still wait to be processed.
        self.end_seen = caught_up.then_some(offset);
        self.rest(elapsed);
    }

    /// The broker's end has moved beyond where the reader stands: a transaction is open there. No end is told for that.
    pub fn left_behind(&mut self, high: i64) {
        if self.end_seen.is_some_and(|end| end < high) {
            self.end_seen = None;
            self.behind = true;
        } else if self.behind && self.read_to >= high {
            self.behind = false;
            self.end_seen = Some(high);
        }
    }

    /// Looks whether the input has become idle.
    pub fn rest(&mut self, elapsed: Duration) {
        let at_end = self.pending.is_empty() && self.end_seen.is_some();
        let finished = self.has_finished();
        if let (Input::Source(source), EventTime::Source(time)) =
            (&mut self.input, &mut self.working.time)
        {
            source.at_end(at_end, elapsed);
            self.dirty |= !finished && source.rest(time, elapsed);
        }
    }
}
