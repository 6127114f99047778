//! From what happened to the metrics that people watch: counters when it happens, gauges when somebody looks.
//!
//! Invariant: counters of rows and bytes count committed transactions only. Nothing decides by these figures; they hold no lock that
//! a worker thread waits for longer than the copying of the board.

mod client;

pub use client::of_clients;

use super::board::{StateStatus, TaskStatus};
use super::shared::Shared;
use super::task::Volume;
use super::task::keyed::StateWork;
use crate::batch::Cause;
use crate::metrics::Metrics;
use crate::operator::NodeCounts;
use crate::plan::graph::NodeKind;
use crate::protocol::TaskId;
use crate::protocol::commit::{self, Verdict};
use crate::protocol::facts::Counts;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A transaction has ended.
pub fn on_commit(metrics: &Metrics, verdict: &Verdict, bytes: usize, took: Duration) {
    let commits = &metrics.commits;
    match verdict {
        Verdict::Committed {
            replace_producer, ..
        } => {
            commits.outcomes.with(["committed"]).inc();
            commits.duration.with([]).observe(took.as_secs_f64());
            commits.bytes.with([]).inc_by(bytes as u64);
            if *replace_producer {
                commits.producers_replaced.with(["disturbed"]).inc();
            }
        }
        Verdict::Aborted {
            cause,
            replace_producer,
        } => {
            commits.outcomes.with(["aborted"]).inc();
            commits.aborts.with([cause.label()]).inc();
            if *replace_producer {
                let why = match cause {
                    commit::Cause::Overdue { .. } => cause.label(),
                    _ => "fenced_or_fatal",
                };
                commits.producers_replaced.with([why]).inc();
            }
        }
        Verdict::Unknown(_) => {
            commits.outcomes.with(["unknown"]).inc();
            commits.producers_replaced.with(["unknown_outcome"]).inc();
        }
    }
}

/// A task runs, so long after it was assigned.
pub fn on_takeover(metrics: &Metrics, took: Duration) {
    metrics.tasks.takeover.with([]).observe(took.as_secs_f64());
}

/// The group has changed the assignment of this process.
pub fn on_rebalance(metrics: &Metrics, kind: &str) {
    metrics.tasks.rebalances.with([kind]).inc();
}

/// A save that began then is over.
pub fn on_save(shared: &Shared, began: Duration) {
    let took = shared.clock.elapsed().saturating_sub(began);
    let save = shared.metrics.state.save.with([]);
    save.observe(took.as_secs_f64());
}

/// Rows and bytes that a committed transaction has moved; the rows from the facts before and after it.
pub fn on_rows(
    shared: &Shared,
    id: &TaskId,
    (before, after): (&Counts, &Counts),
    rejects: BTreeMap<(Arc<str>, Cause), u64>,
    volume: Volume,
) {
    let flow = &shared.metrics.flow;
    let Some(sub) = shared.sub_topology(id) else {
        return;
    };
    let name = sub.name.as_str();
    if sub.has_state() {
        let late = after.window.late - before.window.late;
        flow.late.with([name]).inc_by(late);
        on_node(&shared.metrics, name, &before.window, &after.window, true);
        let emitted = after.fired.used - before.fired.used;
        flow.rows.with([name, "emitted"]).inc_by(emitted);
    } else {
        let partition = id.partition.to_string();
        let records = after.records - before.records;
        flow.records_in.with([name, &partition]).inc_by(records);
        flow.bytes_in.with([name, &partition]).inc_by(volume.read);
    }
    for (node, (before, after)) in sub.nodes.iter().zip(before.nodes.iter().zip(&after.nodes)) {
        // What a fold has used, the window behind it receives and counts.
        let uses = !matches!(node.kind, NodeKind::Fold(_));
        on_node(&shared.metrics, &node.name, before, after, uses);
        if matches!(node.kind, NodeKind::Sink(_)) {
            let written = after.used - before.used;
            flow.records_out.with([node.name.as_str()]).inc_by(written);
        }
    }
    for (sink, bytes) in volume.written {
        flow.bytes_out.with([&*sink]).inc_by(bytes);
    }
    for ((node, cause), count) in rejects {
        flow.rejected.with([&*node, cause.as_str()]).inc_by(count);
    }
}

/// What a task's state has cost since it was last told.
pub fn on_state(metrics: &Metrics, node: &str, partition: i32, work: &StateWork) {
    let partition = partition.to_string();
    let state = &metrics.state;
    let at = [node, partition.as_str()];
    state.store_reads.with(at).inc_by(work.reads);
    state.store_writes.with(at).inc_by(work.writes);
    state.changelog_bytes.with([node]).inc_by(work.changed);
    state.refreshed_bytes.with([node]).inc_by(work.refreshed);
}

/// Blocks of a changelog were replayed, whether or not they were enough.
pub fn on_replayed(metrics: &Metrics, node: &str, bytes: u64) {
    metrics.tasks.restored_bytes.with([node]).inc_by(bytes);
}

/// A task's changelog does not hold its state any more.
pub fn on_lost(metrics: &Metrics, id: &TaskId) {
    metrics.tasks.lost_state.with([&*id.sub_topology]).inc();
}

fn on_node(metrics: &Metrics, name: &str, before: &NodeCounts, after: &NodeCounts, uses: bool) {
    let rows = |outcome, count: u64| metrics.flow.rows.with([name, outcome]).inc_by(count);
    if uses {
        rows("used", after.used - before.used);
    }
    rows("filtered", after.filtered - before.filtered);
    rows("rejected", after.rejected - before.rejected);
    rows("late", after.late - before.late);
}

/// A task's state was restored.
pub fn on_restored(metrics: &Metrics, took: Duration, from_store: bool) {
    let origin = if from_store { "store" } else { "log" };
    metrics
        .tasks
        .restore
        .with([origin])
        .observe(took.as_secs_f64());
}

/// The page of all metrics, with the gauges as they are now.
pub fn page(shared: &Shared) -> String {
    let tasks = shared.board.tasks();
    let wall_ms = shared.clock.wall_ms();
    shared.metrics.page(|metrics| {
        phases(metrics, &tasks, shared.board.expected());
        for task in &tasks {
            show_task(metrics, task, wall_ms);
        }
        let used = &metrics.state.memory_used;
        if let Some(bytes) = resident_memory() {
            used.with(["process"]).set(bytes);
        }
        let hot: u64 = tasks
            .iter()
            .flat_map(|t| &t.state)
            .map(|s| s.hot_bytes)
            .sum();
        used.with(["hot"]).set(hot as i64);
        used.with(["store"]).set(shared.stores.memory() as i64);
    })
}

fn phases(metrics: &Metrics, tasks: &[TaskStatus], assigned: usize) {
    for phase in ["positioning", "restoring", "claiming", "running", "parked"] {
        let count = tasks.iter().filter(|t| t.phase == phase).count();
        metrics.tasks.phases.with([phase]).set(count as i64);
    }
    let family = &metrics.tasks.phases;
    family.with(["assigned"]).set(assigned as i64);
}

fn show_task(metrics: &Metrics, task: &TaskStatus, wall_ms: i64) {
    let partition = task.id.partition.to_string();
    let at = [&*task.id.sub_topology, partition.as_str()];
    let flow = &metrics.flow;
    if let Some(lag) = task.lag {
        flow.lag.with(at).set(lag);
    }
    if let Some(watermark) = task.watermark_ms {
        flow.watermark.with(at).set(watermark);
        // Subtracting saturates: a watermark may be any number that a column held.
        let lag = wall_ms.saturating_sub(watermark);
        flow.watermark_lag.with(at).set(lag);
    }
    flow.idle.with(at).set(i64::from(task.idle));
    if let Some(state) = &task.state {
        show_state(metrics, at, state);
    }
}

fn show_state(metrics: &Metrics, [node, partition]: [&str; 2], state: &StateStatus) {
    for (layer, rows, bytes) in [
        ("overlay", state.overlay_rows, state.overlay_bytes),
        ("hot", state.hot_rows, state.hot_bytes),
        ("store", state.store_rows, state.store_bytes),
    ] {
        let at = [node, partition, layer];
        metrics.state.rows.with(at).set(rows as i64);
        metrics.state.bytes.with(at).set(bytes as i64);
    }
}

/// Anonymous memory of the process that is in RAM, in bytes; `None` where the system does not tell.
pub fn resident_memory() -> Option<i64> {
    anonymous(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn anonymous(status: &str) -> Option<i64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anonymous_memory_is_read_from_the_systems_page() {
        let page = "VmRSS:\t    9000 kB\nRssAnon:\t    1234 kB\nRssFile:\t   1 kB\n";
        assert_eq!(anonymous(page), Some(1234 * 1024));
        assert_eq!(anonymous("VmRSS: 1 kB\n"), None);
    }

    #[test]
    fn every_phase_has_a_figure_even_without_tasks() {
        let metrics = Metrics::new();
        phases(&metrics, &[], 2);
        let text = metrics.render();
        assert!(text.contains("phase=\"assigned\"} 2"), "{text}");
        assert!(text.contains("phase=\"parked\"} 0"), "{text}");
    }
}
