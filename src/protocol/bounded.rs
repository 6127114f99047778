//! Bounded runs (`--until-end`): which run this is, when a task has finished, when everybody has.
//!
//! Runs of an application are numbered, and the number stands in the facts of every task that has taken part. As long as one task of a
//! run has not finished, a process that starts joins this run; when all have, the next one begins.
//!
//! Invariant: a run ends for nobody before it has ended for all, so a dead process' tasks are always taken over.

use super::facts::{BoundedRun, EventTime, Facts};

/// The run that a process joins, from the facts of all tasks (`None`: never committed). A task that nobody has begun does
/// not keep a run from being over: it may be of a partition that was added since.
pub fn run_to_join<'a>(tasks: impl Iterator<Item = Option<&'a Facts>>) -> u32 {
    let runs: Vec<Option<&BoundedRun>> = tasks.flatten().map(|facts| facts.run.as_ref()).collect();
    let last = runs
        .iter()
        .flatten()
        .map(|run| run.number)
        .max()
        .unwrap_or(0);
    let over = runs
        .iter()
        .all(|run| run.is_some_and(|r| r.number == last && r.finished));
    if over || last == 0 { last + 1 } else { last }
}

/// Whether every task has finished the run (or a later one, which began because this one was over).
pub fn all_finished<'a>(number: u32, mut tasks: impl Iterator<Item = Option<&'a Facts>>) -> bool {
    tasks.all(|facts| {
        facts
            .and_then(|f| f.run.as_ref())
            .is_some_and(|run| run.number > number || (run.number == number && run.finished))
    })
}

/// What a task's facts become when it is claimed: by a bounded run (`Some(number)`, with the present end of a source
/// partition), or by an unbounded one, which gives an unfinished run up.
pub fn enter(mut facts: Facts, number: Option<u32>, end: Option<i64>) -> Facts {
    let same = number.is_some() && facts.run.as_ref().map(|run| run.number) == number;
    if same {
        return facts;
    }
    if let EventTime::Producers(producers) = &mut facts.time {
        producers.enter(number);
    }
    facts.run = match (number, facts.run) {
        (Some(number), _) => Some(BoundedRun {
            number,
            end,
            finished: false,
        }),
        (None, Some(run)) => Some(BoundedRun {
            finished: true,
            end: None,
            ..run
        }),
        (None, None) => None,
    };
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::facts::tests::sample;

    fn facts(number: u32, finished: bool) -> Facts {
        Facts {
            run: Some(BoundedRun {
                number,
                end: Some(5),
                finished,
            }),
            ..sample()
        }
    }

    #[test]
    fn a_run_goes_on_until_all_have_finished_it_and_then_the_next_begins() {
        let run = |tasks: &[Option<Facts>]| run_to_join(tasks.iter().map(Option::as_ref));
        assert_eq!(run(&[None, None]), 1);
        assert_eq!(
            run(&[Some(facts(1, true)), None]),
            2,
            "the other task is of a new partition"
        );
        assert_eq!(
            run(&[Some(facts(1, true)), Some(sample())]),
            1,
            "the other task has not begun"
        );
        assert_eq!(run(&[Some(facts(1, true)), Some(facts(1, false))]), 1);
        assert_eq!(run(&[Some(facts(1, true)), Some(facts(1, true))]), 2);
        assert_eq!(
            run(&[Some(facts(2, false)), Some(facts(1, true))]),
            2,
            "the second run is under way"
        );
        assert_eq!(
            run(&[Some(sample()), Some(sample())]),
            1,
            "an application that ran unbounded"
        );
    }

    #[test]
    fn a_process_whose_run_is_over_does_not_wait_for_tasks_that_went_on() {
        let over = |tasks: &[Option<Facts>]| all_finished(1, tasks.iter().map(Option::as_ref));
        assert!(over(&[Some(facts(1, true)), Some(facts(2, false))]));
        assert!(!over(&[Some(facts(1, true)), Some(facts(1, false))]));
        assert!(!over(&[Some(facts(1, true)), None]));
    }

    #[test]
    fn the_end_is_stored_by_the_first_owner_and_kept_by_the_next() {
        let first = enter(sample(), Some(1), Some(7));
        assert_eq!(
            first.run,
            Some(BoundedRun {
                number: 1,
                end: Some(7),
                finished: false
            })
        );
        assert_eq!(enter(first.clone(), Some(1), Some(9)).run, first.run);
        assert_eq!(
            enter(facts(1, true), Some(2), Some(9)).run,
            Some(BoundedRun {
                number: 2,
                end: Some(9),
                finished: false
            })
        );
    }

    #[test]
    fn an_unbounded_owner_gives_an_unfinished_run_up() {
        assert_eq!(
            enter(facts(3, false), None, None).run,
            Some(BoundedRun {
                number: 3,
                end: None,
                finished: true
            })
        );
        assert_eq!(enter(sample(), None, None).run, None);
    }
}
