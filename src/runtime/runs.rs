//! What bounded runs ask of Kafka: the facts of all tasks, and whether the group runs in the same mode.

use super::patience::patiently;
use super::shared::Cluster;
use super::startup::StartError;
use crate::broker::{self, Admin, Group};
use crate::fetch::TopicPartition;
use crate::plan::graph::{Input, Plan};
use crate::protocol::bounded;
use crate::protocol::facts::Facts;
use crate::protocol::takeover::{BOUNDED_MARK, worker_in};
use std::time::Duration;

const ASK: Duration = Duration::from_secs(5);
/// Answers that come at once: half a minute.
const TRIES: u32 = 100;

/// The committed facts of every task of the application; `None` where nothing is committed.
pub fn facts_of_all(
    plan: &Plan,
    cluster: &Cluster,
    group: &dyn Group,
) -> broker::Result<Vec<Option<Facts>>> {
    let committed = group.committed(&inputs(plan, cluster), ASK)?;
    Ok(committed
        .into_iter()
        .map(|c| c.and_then(|c| Facts::from_metadata(&c.metadata).ok()))
        .collect())
}

/// An application that has run before, but of which all offsets are gone: the broker forgets them after a week without members. Its sources
/// would be read again from their start, on top of the windows that are there.
pub fn refuse_forgotten(
    plan: &Plan,
    cluster: &Cluster,
    admin: &dyn Admin,
    group: &dyn Group,
) -> Result<(), StartError> {
    let offsets = patiently(TRIES, || {
        group.committed_unstable(&inputs(plan, cluster), ASK)
    })?;
    if offsets.iter().any(Option::is_some) {
        return Ok(());
    }
    refuse_if_logs_were_used(plan, admin)
}

/// Records are deleted only after a commit was acknowledged: a log that does not begin at 0 has seen one.
fn refuse_if_logs_were_used(plan: &Plan, admin: &dyn Admin) -> Result<(), StartError> {
    let mut logs = Vec::new();
    for sub in plan.sub_topologies.iter().filter(|sub| sub.has_state()) {
        for topic in [
            plan.changelog_topic(&sub.name),
            plan.repartition_topic(&sub.name),
        ] {
            logs.extend((0..plan.shards).map(|p| TopicPartition::new(topic.as_str(), p)));
        }
    }
    match patiently(TRIES, || admin.log_ranges(&logs))?
        .iter()
        .any(|log| log.start > 0)
    {
        false => Ok(()),
        true => Err(StartError::Other(format!(
            "application {} has run before, but the consumer group has no offsets any more (brokers forget them after \
             offsets.retention.minutes, 7 days by default): where its sources stood is lost. `millstream reset` starts anew",
            plan.app
        ))),
    }
}

/// The input partitions of all tasks.
pub fn inputs(plan: &Plan, cluster: &Cluster) -> Vec<TopicPartition> {
    let mut inputs = Vec::new();
    for sub in &plan.sub_topologies {
        let topic = match &sub.input {
            Input::Source(source) => source.spec.topic.value.clone(),
            Input::Window(window) => plan.repartition_topic(&window.window.node),
        };
        inputs.extend(
            (0..cluster.partitions(&topic)).map(|p| TopicPartition::new(topic.as_str(), p)),
        );
    }
    inputs
}

/// The number of the run that this process joins or begins.
pub fn to_join(plan: &Plan, cluster: &Cluster, group: &dyn Group) -> Result<u32, StartError> {
    // A transaction of a process that has gone may be undecided: its timeout ends it.
    let facts = patiently(TRIES, || facts_of_all(plan, cluster, group))?;
    let number = bounded::run_to_join(facts.iter().map(Option::as_ref));
    tracing::info!(
        run = number,
        "running until the ends that the sources have now"
    );
    Ok(number)
}

/// Workers with and without `--until-end` do not share a group: the one would wait for what the other never says.
pub fn refuse_mixed(group: &dyn Group, until_end: bool) -> Result<(), StartError> {
    let members = patiently(TRIES, || group.members())?;
    let other = members
        .iter()
        .find(|m| m.client_id.ends_with(BOUNDED_MARK) != until_end);
    match other {
        None => Ok(()),
        Some(member) => Err(StartError::Other(format!(
            "worker {} of this application runs {} --until-end, this one {}: all must run the same way. Stop it first",
            worker_in(&member.client_id),
            if until_end { "without" } else { "with" },
            if until_end { "with" } else { "without" },
        ))),
    }
}
