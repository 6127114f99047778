//! Watches the cluster from the side, in its own thread: lag, source topics that grow or were made anew, changelogs that are cut.
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
    look_at_changelogs(shared)?;
    measure_lag(shared)?;
    for sub in &shared.plan.sub_topologies {
        if matches!(sub.input, Input::Source(_)) {
            look_at_source(shared, sub)?;
        }
    }
    Ok(())
}

/// Only their owners know whether what was deleted had been dead.
fn look_at_changelogs(shared: &Shared) -> Result<()> {
    let tasks = shared.board.tasks();
    let at: Vec<TopicPartition> = tasks
        .iter()
        .filter_map(|t| shared.changelog_at(&t.id))
        .collect();
    let ranges = shared.admin.log_ranges(&at)?;
    for (at, range) in at.into_iter().zip(ranges) {
        shared.cluster.set_log_start(at, range.start);
    }
    Ok(())
}

fn measure_lag(shared: &Shared) -> Result<()> {
    let tasks: Vec<_> = shared.board.tasks();
    let at: Vec<TopicPartition> = tasks.iter().map(|t| t.at.clone()).collect();
    let ranges = shared.admin.log_ranges(&at)?;
    for (task, range) in tasks.iter().zip(ranges) {
        // A task whose position is not known yet (it is taken over, or could not be) lags behind nothing.
        if task.epoch > 0 {
            let lag = (range.stable - task.covered.max(task.position)).max(0);
            shared.board.set_lag(&task.id, lag);
        }
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
