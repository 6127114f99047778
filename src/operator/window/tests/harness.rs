//! Drives a window operator as the runtime does, over a changelog and a store, and breaks it on request.
//!
//! Invariant: only rows of committed transactions reach `out`; after an abort or a crash the open transaction's
//! events are played again, as the runtime would read them again.

use crate::operator::fixtures::{Row, batch_with};
use crate::operator::fold::Fold;
use crate::operator::window::WindowOperator;
use crate::operator::{NodeCounts, RejectOrigin};
use crate::plan::graph::WindowPlan;
use crate::state::block::{Changes, Header};
use crate::state::{Change, Error, Result, SavedPosition, Store, StoreFigures, Visit};
use arrow_array::cast::AsArray;
use arrow_array::types::TimestampMillisecondType;
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use std::cell::Cell;
use std::collections::BTreeMap;

/// A store that can stop taking writes in the middle of a save.
#[derive(Clone, Default)]
pub struct TestStore {
    pub rows: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Changes that are still taken, where there is a limit.
    pub budget: Option<usize>,
    pub reads: Cell<usize>,
    pub writes: usize,
}

impl Store for TestStore {
    fn get_many(&self, _: &str, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>> {
        self.reads.set(self.reads.get() + 1);
        Ok(keys
            .iter()
            .map(|key| self.rows.get(*key).cloned())
            .collect())
    }

    fn scan(
        &self,
        _: &str,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<()> {
        let from = after.unwrap_or(prefix).to_vec();
        for (key, value) in self.rows.range(from..) {
            if after.is_some_and(|after| key.as_slice() <= after) {
                continue;
            }
            if !key.starts_with(prefix) || !visit(key, value)? {
                break;
            }
        }
        Ok(())
    }

    fn write(&mut self, _: &str, changes: &mut dyn Iterator<Item = Change<'_>>) -> Result<()> {
        for change in changes {
            if let Some(left) = &mut self.budget {
                *left = left
                    .checked_sub(1)
                    .ok_or_else(|| Error::Io("the disk is full".to_owned()))?;
            }
            self.writes += 1;
            match change {
                Change::Put { key, value } => drop(self.rows.insert(key.to_vec(), value.to_vec())),
                Change::Delete { key } => drop(self.rows.remove(key)),
                Change::Clear { prefix } => self.rows.retain(|key, _| !key.starts_with(prefix)),
            }
        }
        Ok(())
    }

    fn set_position(&mut self, _: SavedPosition) -> Result<()> {
        Ok(())
    }

    fn position(&self) -> Result<Option<SavedPosition>> {
        Ok(None)
    }

    fn wipe(&mut self) -> Result<()> {
        self.rows.clear();
        Ok(())
    }

    fn figures(&self) -> StoreFigures {
        StoreFigures::default()
    }
}

#[derive(Debug, Clone)]
pub enum Event {
    /// Rows of one block: time, page, n; and which of them are behind.
    Rows(Vec<(i64, String, i64)>, Vec<usize>),
    Watermark(i64),
    /// The input has ended.
    End,
    /// Chunks of so many rows, until all is emitted or, with the second number, so many chunks.
    Fire(usize, usize),
    Commit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chaos {
    /// Abort the open transaction and do it again.
    Abort,
    /// A new process, with the changelog from its start.
    CrashLog,
    /// A new process, with the store as it was saved and the rest of the changelog.
    CrashStore,
    /// As `CrashStore`, and memory is so short that it saves and evicts after each change, and crashes in the middle.
    CrashShort,
    /// Save; between transactions only, as the following ones.
    Save,
    SaveEvict,
    /// The process dies after so many writes of a save.
    TornSave(usize),
    /// The next commit carries a refresh slice with the whole store, and the changelog before it is deleted.
    Refresh,
}

pub struct Harness {
    pub plan: WindowPlan,
    pub op: WindowOperator,
    pub store: TestStore,
    log: Vec<Changes>,
    /// How much of `log` was saved; replay begins one block before.
    saved: usize,
    pending: Vec<Event>,
    pending_out: Vec<String>,
    pending_counts: (NodeCounts, NodeCounts),
    pub out: Vec<String>,
    /// Received and late; fired.
    pub counts: (NodeCounts, NodeCounts),
    refresh: bool,
}

fn header() -> Header {
    Header {
        fingerprint: 0,
        sub_topology: "clicks".to_owned(),
        partition: 4,
        producers: 1,
        epoch: 0,
        nonce: 0,
        watermark: 0,
        idle: false,
        part: 0,
        parts: 1,
    }
}

impl Harness {
    pub fn new(plan: &WindowPlan) -> Self {
        Harness {
            plan: plan.clone(),
            op: WindowOperator::new(plan),
            store: TestStore::default(),
            log: vec![],
            saved: 0,
            pending: vec![],
            pending_out: vec![],
            pending_counts: Default::default(),
            out: vec![],
            counts: Default::default(),
            refresh: false,
        }
    }

    pub fn event(&mut self, event: &Event) {
        if let Event::Commit = event {
            self.commit();
            return;
        }
        self.pending.push(event.clone());
        self.execute(event);
    }

    pub fn is_between_transactions(&self) -> bool {
        self.pending.is_empty()
    }

    fn execute(&mut self, event: &Event) {
        match event {
            Event::Rows(rows, behind) => self.rows(rows, behind),
            Event::Watermark(watermark) => self.op.advance(*watermark),
            Event::End => self.op.close_all(),
            Event::Fire(limit, chunks) => self.fire(*limit, *chunks),
            Event::Commit => {}
        }
    }

    fn rows(&mut self, rows: &[(i64, String, i64)], behind: &[usize]) {
        assert!(
            !self.op.firing(),
            "the script gives rows while windows fire"
        );
        let rows: Vec<Row<'_>> = rows
            .iter()
            .map(|(t, page, n)| (Some(*t), Some(page.as_str()), Some(*n)))
            .collect();
        let mut fold = Fold::new(&self.plan, 1);
        let mut rejects = Vec::new();
        fold.process(
            &batch_with(0, &rows, behind),
            &mut NodeCounts::default(),
            &mut rejects,
        );
        for (_, partials) in fold.drain() {
            self.op
                .merge(
                    &header(),
                    partials,
                    &self.store,
                    &mut self.pending_counts.0,
                    &mut rejects,
                )
                .unwrap();
        }
        for reject in rejects {
            let origin = match reject.origin {
                RejectOrigin::Carried { offset, .. } => format!("record {offset}"),
                RejectOrigin::Range {
                    first, last, rows, ..
                } => format!("{rows} rows in {first}..{last}"),
                _ => "another origin".to_owned(),
            };
            self.pending_out.push(format!("late: {origin}"));
        }
    }

    fn fire(&mut self, limit: usize, chunks: usize) {
        for _ in 0..chunks {
            let mut rejects = Vec::new();
            let fired = self
                .op
                .fire(limit, &self.store, &mut self.pending_counts.1, &mut rejects)
                .unwrap();
            for reject in rejects {
                let RejectOrigin::Derived(text) = reject.origin else {
                    panic!("a fired row is derived")
                };
                self.pending_out
                    .push(format!("rejected: {}: {text}", reject.message));
            }
            let Some(batch) = fired else { return };
            assert!(batch.len() <= limit);
            let options = FormatOptions::new().with_null("NULL");
            let columns = batch.columns.columns().iter();
            let columns: Vec<_> = columns
                .map(|c| ArrayFormatter::try_new(c.as_ref(), &options).unwrap())
                .collect();
            for row in 0..batch.len() {
                let end = batch
                    .columns
                    .column(1)
                    .as_primitive::<TimestampMillisecondType>()
                    .value(row);
                // Page, count, sum, least.
                let shown = [3, 4, 5, 6].map(|i| columns[i].value(row).to_string());
                self.pending_out.push(format!("{end} {}", shown.join(" ")));
            }
        }
    }

    fn commit(&mut self) {
        let mut changes = Changes::default();
        let begin = self.log.len();
        if self.refresh {
            for (key, value) in self
                .store
                .rows
                .iter()
                .filter(|(key, _)| !self.op.unsaved(key))
            {
                changes.push(0, Change::Put { key, value });
            }
        }
        self.op.seal(0, &mut changes);
        assert!(changes.is_empty() || self.refresh || self.op.changed_bytes() > 0);
        self.log.push(changes);
        if self.refresh {
            // Everything before the cycle's begin is dead.
            self.log[..self.saved.min(begin)]
                .iter_mut()
                .for_each(|old| *old = Changes::default());
            self.refresh = false;
        }
        self.op.committed();
        self.out.append(&mut self.pending_out);
        self.out.push(format!("watermark {}", self.op.forwarded()));
        self.counts = (
            add(self.counts.0, self.pending_counts.0),
            add(self.counts.1, self.pending_counts.1),
        );
        self.pending_counts = Default::default();
        self.pending.clear();
    }

    pub fn chaos(&mut self, chaos: Chaos) {
        match chaos {
            Chaos::Abort => {
                self.op.aborted();
                self.again();
            }
            Chaos::CrashLog => {
                self.store = TestStore::default();
                self.saved = 0;
                self.reopen(false);
            }
            Chaos::CrashStore => self.reopen(false),
            Chaos::CrashShort => {
                self.reopen(true);
                self.reopen(false);
            }
            _ if !self.is_between_transactions() => {}
            Chaos::Save => self.save(),
            Chaos::SaveEvict => {
                self.save();
                self.op.evict();
                assert_eq!(self.op.rows(), 0, "all is saved, so nothing stays");
            }
            Chaos::TornSave(writes) => {
                self.store.budget = Some(writes);
                let saved = self.op.save("counts", &mut self.store);
                self.store.budget = None;
                assert!(saved.is_err() || self.op.bytes().1 == 0);
                self.reopen(false);
            }
            Chaos::Refresh => {
                self.save();
                self.refresh = true;
            }
        }
    }

    fn save(&mut self) {
        self.op.save("counts", &mut self.store).unwrap();
        assert_eq!(self.op.bytes().1, 0);
        self.saved = self.log.len();
    }

    /// What a new process does; `short` of memory it saves and evicts all the time, and its saves get no position.
    fn reopen(&mut self, short: bool) {
        self.refresh = false;
        self.op = WindowOperator::open(&self.plan, &self.store, "counts").unwrap();
        for changes in &self.log[self.saved.saturating_sub(1)..] {
            for change in changes.iter() {
                self.op.restore(change.unwrap().1).unwrap();
                if short {
                    self.op.save("counts", &mut self.store).unwrap();
                    self.op.evict();
                }
            }
        }
        self.again();
    }

    fn again(&mut self) {
        self.pending_out.clear();
        self.pending_counts = Default::default();
        for event in self.pending.clone() {
            self.execute(&event);
        }
    }
}

fn add(a: NodeCounts, b: NodeCounts) -> NodeCounts {
    NodeCounts {
        received: a.received + b.received,
        filtered: a.filtered + b.filtered,
        used: a.used + b.used,
        rejected: a.rejected + b.rejected,
        late: a.late + b.late,
    }
}
