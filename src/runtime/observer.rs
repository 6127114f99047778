//! Watches the cluster from the side, in its own thread: lag, source topics that grow, source topics that were made anew.
//!
//! Invariant: it commits nothing and moves no task. What it learns goes into [`super::shared::Cluster`]; worker threads and the group
//! act on that. New partitions become tasks by growing the tasks topic, which the owner of a source's first task does.

use super::shared::Shared;
use super::startup::{self, StartError};
use crate::broker::Result;
use crate::fetch::TopicPartition;
use crate::plan::graph::{Input, SubTopology};
use crate::protocol::TaskId;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

const ROUND: Duration = Duration::from_secs(5);

/// Runs until the sender of `stop` is gone.
pub fn run(shared: &Arc<Shared>, stop: &Receiver<()>) {
    while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(ROUND) {
        if let Err(error) = look(shared) {
            tracing::debug!(%error, "the cluster cannot be looked at; trying again");
        }
    }
}

fn look(shared: &Shared) -> Result<()> {
    measure_lag(shared)?;
    for sub in &shared.plan.sub_topologies {
        if matches!(sub.input, Input::Source(_)) {
            look_at_source(shared, sub)?;
        }
    }
    Ok(())
}

fn measure_lag(shared: &Shared) -> Result<()> {
    let tasks: Vec<_> = shared.board.tasks();
    let at: Vec<TopicPartition> = tasks.iter().map(|t| t.at.clone()).collect();
    let ranges = shared.admin.log_ranges(&at)?;
    for (task, range) in tasks.iter().zip(ranges) {
        let partition = task.at.partition.to_string();
        let lag = (range.stable - task.position).max(0);
        shared
            .metrics
            .flow
            .lag
            .with([task.id.sub_topology.as_ref(), &partition])
            .set(lag);
    }
    Ok(())
}

fn look_at_source(shared: &Shared, sub: &SubTopology) -> Result<()> {
    let topic = shared.input_topic(sub);
    let found = shared.admin.topics(std::slice::from_ref(&topic))?;
    let Some(info) = found.first() else {
        shared.board.trouble(
            &format!("source topic {topic}"),
            Some("it does not exist any more".into()),
        );
        return Ok(());
    };
    shared.board.trouble(&format!("source topic {topic}"), None);
    let grown = info.partitions > shared.cluster.partitions(&topic);
    if let Some(known) = shared.cluster.get(&topic) {
        shared.cluster.set(
            &topic,
            super::shared::Topic {
                id: info.id.clone(),
                partitions: info.partitions,
                ..known
            },
        );
    }
    if grown {
        tracing::info!(
            topic,
            partitions = info.partitions,
            "the source topic has grown"
        );
    }
    let tasks_topic = shared.plan.tasks_topic(&sub.name);
    let first_is_ours = shared.board.runs(&TaskId::new(sub.name.as_str(), 0));
    if first_is_ours && info.partitions > shared.cluster.partitions(&tasks_topic) {
        let grown = grow(shared, &tasks_topic, info.partitions);
        report_growth(shared, &tasks_topic, &topic, grown);
    }
    Ok(())
}

fn grow(shared: &Shared, tasks_topic: &str, partitions: i32) -> Result<(), StartError> {
    shared.admin.grow_topic(tasks_topic, partitions)?;
    let found = shared.admin.topics(&[tasks_topic.to_string()])?;
    startup::describe(shared.admin.as_ref(), &shared.cluster, &found)
}

/// New partitions that get no task are not read: that must be seen. The worker is not ready until it has worked.
fn report_growth(shared: &Shared, tasks_topic: &str, source: &str, grown: Result<(), StartError>) {
    let about = format!("growth of {tasks_topic}");
    let reason = grown.err().map(|error| {
        tracing::warn!(
            tasks_topic, source, %error,
            "the tasks topic cannot grow with its source: the new partitions are not read; trying again in {ROUND:?}"
        );
        format!("the new partitions of {source} are not read: {error}")
    });
    shared.board.trouble(&about, reason);
}
