//! Where a task begins that nobody has committed yet, and whether it may.
//!
//! Invariant: `start` of a source counts for the partitions that were there when the application began; one that was added later is read
//! from its first record; one that was read before and has lost its offset is refused. Decides by committed facts, asks Kafka for them.

use super::Found;
use crate::broker::{Error, Result};
use crate::fetch::TopicPartition;
use crate::plan::graph::{Input, Plan};
use crate::protocol::TaskId;
use crate::protocol::facts::{EventTime, Facts};
use crate::protocol::takeover::Refusal;
use crate::runtime::runs;
use crate::runtime::shared::Shared;
use crate::spec::Start;
use std::time::Duration;

const ASK: Duration = Duration::from_millis(1500);

/// Committed facts of the task that reads a partition.
type Known = Vec<(TopicPartition, Facts)>;

/// # Errors
/// Kafka does not answer.
pub(super) fn find(shared: &Shared, task: &TaskId) -> Result<Found> {
    let (Some(at), Some(sub)) = (shared.input_at(task), shared.sub_topology(task)) else {
        return Ok(Found::Begin { position: 0 });
    };
    let Input::Source(source) = &sub.input else {
        return first(shared, &at, Start::Earliest);
    };
    let known = facts(shared)?;
    if was_heard(&shared.plan, &known, &at) {
        return Ok(Found::Refused(Refusal::Forgotten {
            topic: at.topic.to_string(),
            partition: at.partition,
        }));
    }
    let start = match was_added(&known, &at) {
        true => Start::Earliest,
        false => source.spec.start,
    };
    first(shared, &at, start)
}

fn first(shared: &Shared, at: &TopicPartition, start: Start) -> Result<Found> {
    let at = std::slice::from_ref(at);
    let position = match start {
        Start::Earliest => shared.admin.log_ranges(at)?.pop().map_or(0, |r| r.start),
        Start::Latest => shared.admin.log_ranges(at)?.pop().map_or(0, |r| r.stable),
        Start::Timestamp(ms) => shared.admin.offsets_at(at, ms)?.pop().unwrap_or(0),
    };
    Ok(Found::Begin { position })
}

fn facts(shared: &Shared) -> Result<Known, Error> {
    let inputs = runs::inputs(&shared.plan, &shared.cluster);
    let offsets = shared.group.committed_unstable(&inputs, ASK)?;
    let known = inputs.into_iter().zip(offsets);
    Ok(known
        .filter_map(|(at, offset)| Some((at, Facts::from_metadata(&offset?.metadata).ok()?)))
        .collect())
}

/// Another task of the topic began when this partition was not there yet. That others have begun means nothing: they may be of the same
/// start, and a little faster.
fn was_added(known: &Known, at: &TopicPartition) -> bool {
    let same = known.iter().filter(|(other, _)| other.topic == at.topic);
    same.into_iter()
        .any(|(_, facts)| facts.partitions <= at.partition)
}

/// A window has heard from this partition: its rows are counted.
fn was_heard(plan: &Plan, known: &Known, at: &TopicPartition) -> bool {
    known.iter().any(|(input, facts)| {
        let EventTime::Producers(heard) = &facts.time else {
            return false;
        };
        let names = producers_of(plan, &input.topic);
        heard.known().any(|(sub, partition)| {
            let name = names.get(sub as usize);
            partition == at.partition
                && name.is_some_and(|name| source_topic(plan, name) == Some(&*at.topic))
        })
    })
}

/// The sub-topologies that write a repartition topic, by its name.
fn producers_of<'a>(plan: &'a Plan, topic: &str) -> &'a [String] {
    let producers = plan.sub_topologies.iter().find_map(|sub| match &sub.input {
        Input::Window(window) if plan.repartition_topic(&window.window.node) == topic => {
            Some(window.producers.as_slice())
        }
        _ => None,
    });
    producers.unwrap_or_default()
}

fn source_topic<'a>(plan: &'a Plan, sub: &str) -> Option<&'a str> {
    match &plan.sub_topology(sub)?.input {
        Input::Source(source) => Some(&source.spec.topic.value),
        Input::Window(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::facts::tests::sample;

    fn began_with(partitions: i32, of: i32) -> (TopicPartition, Facts) {
        let facts = Facts {
            partitions,
            ..sample()
        };
        (TopicPartition::new("in", of), facts)
    }

    #[test]
    fn only_a_partition_that_was_not_there_counts_as_added() {
        let at = |partition| TopicPartition::new("in", partition);
        let faster = vec![began_with(4, 0), began_with(4, 2)];
        assert!(!was_added(&vec![], &at(0)));
        assert!(
            !was_added(&faster, &at(1)),
            "the same start, a little later"
        );
        assert!(was_added(&faster, &at(4)));
        let two_added = vec![began_with(4, 0), began_with(6, 5)];
        assert!(
            was_added(&two_added, &at(4)),
            "the other new one was faster"
        );
        let elsewhere = vec![(TopicPartition::new("other", 0), began_with(1, 0).1)];
        assert!(!was_added(&elsewhere, &at(3)));
    }
}
