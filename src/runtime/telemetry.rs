//! From what happened to the metrics that people watch. Nothing decides by these figures.

use super::board::TaskStatus;
use crate::metrics::Metrics;
use crate::protocol::TaskId;
use crate::protocol::commit::Verdict;
use std::time::Duration;

/// A transaction has ended.
pub fn on_commit(metrics: &Metrics, verdict: &Verdict, bytes: usize, took: Duration) {
    let commits = &metrics.commits;
    commits.duration.with([]).observe(took.as_secs_f64());
    match verdict {
        Verdict::Committed { replace_producer, .. } => {
            commits.outcomes.with(["committed"]).inc();
            commits.bytes.with([]).inc_by(bytes as u64);
            if *replace_producer {
                commits.producers_replaced.with(["disturbed"]).inc();
            }
        }
        Verdict::Aborted { cause, replace_producer } => {
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
        bytes.with([at[0], at[1], "hot"]).set(state.hot_bytes as i64);
        rows.with([at[0], at[1], "store"]).set(state.store_rows as i64);
        bytes.with([at[0], at[1], "store"]).set(state.store_bytes as i64);
    }
}
