//! What takeovers see: one set of questions to Kafka for all tasks that are looked at together.
//!
//! Invariant: offsets are asked for before the logs, so that a log that is quiet then belongs to offsets that were stable
//! before. One question for many partitions says of each by itself whether it is decided: a task whose transaction is open
//! holds up no other. Nothing is decided here.

use super::shared::Shared;
use crate::broker::{CommittedOffset, Error, LogRange, Standing};
use crate::fetch::TopicPartition;
use crate::protocol::TaskId;
use crate::protocol::facts::Facts;
use crate::protocol::takeover::{Offsets, View};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long the question for the offsets before an undecided transaction may take.
const ASK: Duration = Duration::from_millis(1500);

/// The partitions by which a task is judged.
struct Asked {
    input: Option<TopicPartition>,
    changelog: Option<TopicPartition>,
    written: Vec<TopicPartition>,
}

impl Asked {
    fn of(shared: &Shared, task: &TaskId) -> Asked {
        Asked {
            input: shared.input_at(task),
            changelog: shared.changelog_at(task),
            written: shared.written_by(task),
        }
    }
}

/// Kafka's answers, by partition.
#[derive(Default)]
struct Answers {
    standing: BTreeMap<TopicPartition, Standing>,
    /// What is committed for sure where the standing is undecided.
    last: BTreeMap<TopicPartition, CommittedOffset>,
    ranges: BTreeMap<TopicPartition, LogRange>,
}

/// What each of the tasks is judged by. A question that Kafka refuses because of one task is asked for each by itself.
pub fn see(shared: &Shared, tasks: &[TaskId]) -> Vec<Result<View, Error>> {
    match see_together(shared, tasks) {
        Ok(views) => views.into_iter().map(Ok).collect(),
        Err(error) if tasks.len() == 1 || matches!(error, Error::Retriable { .. }) => {
            tasks.iter().map(|_| Err(error.clone())).collect()
        }
        Err(_) => tasks
            .iter()
            .flat_map(|task| see(shared, std::slice::from_ref(task)))
            .collect(),
    }
}

fn see_together(shared: &Shared, tasks: &[TaskId]) -> Result<Vec<View>, Error> {
    let asked: Vec<Asked> = tasks.iter().map(|task| Asked::of(shared, task)).collect();
    let mut answers = Answers::default();
    let inputs = distinct(asked.iter().filter_map(|a| a.input.as_ref()));
    let standing = shared.group.standing(&inputs)?;
    let undecided: Vec<TopicPartition> = inputs
        .iter()
        .zip(&standing)
        .filter(|(_, standing)| **standing == Standing::Undecided)
        .map(|(at, _)| at.clone())
        .collect();
    answers.standing = inputs.into_iter().zip(standing).collect();
    let last = shared.group.committed_unstable(&undecided, ASK)?;
    answers.last = last
        .into_iter()
        .flatten()
        .map(|o| (o.at.clone(), o))
        .collect();
    let logs = distinct(
        asked
            .iter()
            .flat_map(|a| a.changelog.iter().chain(&a.written)),
    );
    let ranges = shared.admin.log_ranges(&logs)?;
    answers.ranges = logs.into_iter().zip(ranges).collect();
    let mut views = assemble(&asked, &answers);
    // Whom to ask about is of interest only where something is open.
    if views.iter().any(|view| !is_quiet(view)) {
        let members = shared.group.members()?;
        for view in views.iter_mut().filter(|view| !is_quiet(view)) {
            view.members.clone_from(&members);
        }
    }
    Ok(views)
}

fn distinct<'a>(partitions: impl Iterator<Item = &'a TopicPartition>) -> Vec<TopicPartition> {
    let set: BTreeSet<&TopicPartition> = partitions.collect();
    set.into_iter().cloned().collect()
}

/// No transaction is seen to be open.
fn is_quiet(view: &View) -> bool {
    matches!(view.offsets, Offsets::Stable(_))
        && view
            .changelog
            .iter()
            .chain(&view.written)
            .all(|log| log.stable == log.high)
}

/// The views without the group's members.
fn assemble(asked: &[Asked], answers: &Answers) -> Vec<View> {
    let offsets: Vec<Offsets> = asked
        .iter()
        .map(|a| offsets_of(a.input.as_ref(), answers))
        .collect();
    let owners: BTreeSet<String> = offsets.iter().filter_map(owner_of).collect();
    let owners: Vec<String> = owners.into_iter().collect();
    let range = |at: &TopicPartition| answers.ranges.get(at).copied();
    asked
        .iter()
        .zip(offsets)
        .map(|(a, offsets)| View {
            offsets,
            changelog: a.changelog.as_ref().and_then(range),
            written: a.written.iter().filter_map(range).collect(),
            members: Vec::new(),
            owners: owners.clone(),
        })
        .collect()
}

fn offsets_of(input: Option<&TopicPartition>, answers: &Answers) -> Offsets {
    let standing = input.and_then(|at| Some((at, answers.standing.get(at)?)));
    match standing {
        Some((at, Standing::Undecided)) => Offsets::Unstable {
            last: answers.last.get(at).cloned(),
        },
        Some((_, Standing::Stable(offset))) => Offsets::Stable(offset.clone()),
        None => Offsets::Stable(None),
    }
}

/// The transactional id of the last commit.
fn owner_of(offsets: &Offsets) -> Option<String> {
    let (Offsets::Unstable { last: offset } | Offsets::Stable(offset)) = offsets;
    let facts = Facts::from_metadata(&offset.as_ref()?.metadata).ok()?;
    Some(facts.transactional_id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::facts::tests::sample;

    fn offset(partition: i32, by: &str) -> CommittedOffset {
        let facts = Facts {
            transactional_id: by.into(),
            ..sample()
        };
        CommittedOffset {
            at: TopicPartition::new("in", partition),
            offset: facts.position,
            metadata: facts.to_metadata(),
        }
    }

    #[test]
    fn each_task_gets_its_own_answers_and_all_owners() {
        let at = |topic: &str, p| TopicPartition::new(topic, p);
        let asked: Vec<Asked> = (0..3)
            .map(|p| Asked {
                input: Some(at("in", p)),
                changelog: Some(at("log", p)),
                written: vec![at("out", 0)],
            })
            .collect();
        let stable = offset(0, "app-w-0");
        let before = offset(1, "app-w-3");
        let range = |high| LogRange {
            start: 0,
            stable: 5,
            high,
        };
        let answers = Answers {
            standing: [
                (at("in", 0), Standing::Stable(Some(stable.clone()))),
                (at("in", 1), Standing::Undecided),
                (at("in", 2), Standing::Stable(None)),
            ]
            .into(),
            last: [(at("in", 1), before.clone())].into(),
            ranges: [
                (at("log", 0), range(5)),
                (at("log", 1), range(9)),
                (at("log", 2), range(5)),
                (at("out", 0), range(5)),
            ]
            .into(),
        };
        let views = assemble(&asked, &answers);
        let expected = [
            Offsets::Stable(Some(stable)),
            Offsets::Unstable { last: Some(before) },
            Offsets::Stable(None),
        ];
        for ((view, offsets), quiet) in views.iter().zip(expected).zip([true, false, true]) {
            assert_eq!(view.offsets, offsets);
            assert_eq!(view.owners, ["app-w-0", "app-w-3"]);
            assert_eq!(view.written, [range(5)]);
            assert_eq!(is_quiet(view), quiet, "{view:?}");
        }
        assert_eq!(views[1].changelog, Some(range(9)));
    }
}
