//! From what happened to the metrics that people watch. Nothing decides by these figures.

use super::board::TaskStatus;
use super::shared::Shared;
use super::task::keyed::StateWork;
use crate::batch::Cause;
use crate::metrics::Metrics;
use crate::plan::graph::NodeKind;
use crate::protocol::TaskId;
use crate::protocol::commit::Verdict;
use crate::protocol::facts::Counts;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A transaction has ended.
pub fn on_commit(metrics: &Metrics, verdict: &Verdict, bytes: usize, took: Duration) {
    let commits = &metrics.commits;
    commits.duration.with([]).observe(took.as_secs_f64());
    match verdict {
        Verdict::Committed {
            replace_producer, ..
        } => {
            commits.outcomes.with(["committed"]).inc();
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
                commits.producers_replaced.with(["fenced_or_fatal"]).inc();
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

/// A task's figures after a commit.
pub fn on_task(metrics: &Metrics, id: &TaskId, status: &TaskStatus, wall_ms: i64) {
    let partition = id.partition.to_string();
    let at = [&*id.sub_topology, partition.as_str()];
    if let Some(watermark) = status.watermark_ms {
        metrics.flow.watermark.with(at).set(watermark);
        metrics.flow.watermark_lag.with(at).set(wall_ms - watermark);
    }
    metrics.flow.idle.with(at).set(i64::from(status.idle));
    if let Some(state) = &status.state {
        let rows = &metrics.state.rows;
        let bytes = &metrics.state.bytes;
        rows.with([at[0], at[1], "hot"]).set(state.hot_rows as i64);
        bytes
            .with([at[0], at[1], "hot"])
            .set(state.hot_bytes as i64);
        rows.with([at[0], at[1], "store"])
            .set(state.store_rows as i64);
        bytes
            .with([at[0], at[1], "store"])
            .set(state.store_bytes as i64);
    }
}

/// Rows that a committed transaction has moved, from the facts before and after it.
pub fn on_rows(
    shared: &Shared,
    id: &TaskId,
    before: &Counts,
    after: &Counts,
    rejects: BTreeMap<(Arc<str>, Cause), u64>,
) {
    let flow = &shared.metrics.flow;
    let Some(sub) = shared.sub_topology(id) else {
        return;
    };
    let partition = id.partition.to_string();
    flow.records_in
        .with([sub.name.as_str(), &partition])
        .inc_by(after.records - before.records);
    if sub.has_state() {
        flow.late
            .with([sub.name.as_str()])
            .inc_by(after.window.late - before.window.late);
    }
    for (node, (before, after)) in sub.nodes.iter().zip(before.nodes.iter().zip(&after.nodes)) {
        if matches!(node.kind, NodeKind::Sink(_)) {
            flow.records_out
                .with([node.name.as_str()])
                .inc_by(after.used - before.used);
        }
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

/// A task's state was restored.
pub fn on_restored(metrics: &Metrics, took: Duration, from_store: bool) {
    let origin = if from_store { "store" } else { "log" };
    metrics
        .tasks
        .restore
        .with([origin])
        .observe(took.as_secs_f64());
}
