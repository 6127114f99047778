//! Every answer at every step of a commit, as a script: `fact -> next`.

use super::*;

fn fact(word: &str) -> Fact {
    let error = |m: &str| -> Error {
        let message = String::from("x");
        match m {
            "retriable" => Error::Retriable { call: "c", message },
            "abortable" => Error::Abortable { call: "c", message },
            "fenced" => Error::Fenced { call: "c", message },
            "fatal" => Error::Fatal { call: "c", message },
            _ => Error::Refused { call: "c", message },
        }
    };
    let ended = |outcome, disturbed, ms| Fact::Ended {
        outcome,
        disturbed,
        took: Duration::from_millis(ms),
    };
    match word {
        "done" => Fact::Done,
        "owned" => Fact::Owned,
        "not-owned" => Fact::NotOwned(Breach::NotOwned {
            task: crate::protocol::TaskId::new("s", 0),
        }),
        "committed" => ended(Outcome::Committed, false, 3),
        "committed-slowly" => ended(Outcome::Committed, false, 1500),
        "committed-disturbed" => ended(Outcome::Committed, true, 3),
        "unknown" => ended(Outcome::Unknown("x".into()), false, 3),
        other => Fact::Failed(error(other)),
    }
}

const DEADLINE: Duration = Duration::from_secs(30);

/// Plays answers; `late` is a word after which the deadline has passed. Returns the last `Next` in short.
fn play(script: &str) -> String {
    let (mut commit, first) = Commit::start(DEADLINE);
    let mut next = Next::Do(first);
    let mut lasted = Duration::ZERO;
    for word in script.split_whitespace() {
        if word == "late" {
            lasted = DEADLINE;
        } else {
            next = commit.on(fact(word), lasted);
        }
    }
    match next {
        Next::Do(action) => format!("{action:?}"),
        Next::Ended(Verdict::Committed {
            replace_producer,
            owned,
        }) => {
            format!(
                "committed replace={replace_producer} owned={}",
                owned.is_ok()
            )
        }
        Next::Ended(Verdict::Aborted {
            cause,
            replace_producer,
        }) => {
            format!("aborted {} replace={replace_producer}", cause.label())
        }
        Next::Ended(Verdict::Unknown(_)) => "unknown".into(),
    }
}

#[test]
fn answers_lead_to_the_next_step() {
    let cases = [
        ("", "Seal"),
        ("done", "Flush"),
        ("done done", "Check"),
        ("done done owned", "SendOffsets"),
        ("done done owned done", "EndTxn"),
        ("done done owned not-owned", "Abort"),
        (
            "done done owned not-owned done",
            "aborted not_owned replace=false",
        ),
        ("done done owned done committed", "CheckAgain"),
        (
            "done done owned done committed owned",
            "committed replace=false owned=true",
        ),
        (
            "done done owned done committed not-owned",
            "committed replace=false owned=false",
        ),
        (
            "done done owned done committed-slowly owned",
            "committed replace=true owned=true",
        ),
        (
            "done done owned done committed-disturbed owned",
            "committed replace=true owned=true",
        ),
        ("done done owned done unknown", "unknown"),
        ("done done owned done fenced", "unknown"),
        ("done done owned done fatal", "unknown"),
        ("done done owned done retriable", "unknown"),
        ("done done owned done abortable", "Abort"),
        (
            "done done owned done abortable done",
            "aborted broker replace=false",
        ),
        ("done done owned done abortable fatal", "unknown"),
        ("done done owned retriable", "SendOffsets"),
        (
            "done done owned abortable done",
            "aborted broker replace=false",
        ),
        (
            "done done owned fenced",
            "aborted fenced_or_fatal replace=true",
        ),
        ("done done not-owned", "Abort"),
        (
            "done done not-owned done",
            "aborted not_owned replace=false",
        ),
        (
            "done done not-owned fatal",
            "aborted not_owned replace=true",
        ),
        ("refused done", "aborted refused replace=false"),
        ("done abortable fatal", "aborted broker replace=true"),
        ("done fenced", "aborted fenced_or_fatal replace=true"),
    ];
    for (script, expected) in cases {
        assert_eq!(play(script), expected, "after: {script}");
    }
}

#[test]
fn a_call_that_answers_again_at_once_for_ever_is_aborted() {
    let script = format!(
        "done done {}",
        "retriable ".repeat(MAX_RETRIES as usize + 1)
    );
    assert_eq!(play(&script), "Abort");
}

#[test]
fn only_the_deadline_ends_calls_that_wait_by_themselves() {
    let waits = "retriable ".repeat(100);
    for (before, doing) in [("done", "Flush"), ("done done owned", "SendOffsets")] {
        assert_eq!(play(&format!("{before} {waits}")), doing);
        let script = format!("{before} {waits} late retriable");
        assert_eq!(play(&script), "aborted overdue replace=true");
    }
}

#[test]
fn no_step_begins_after_the_deadline_but_what_was_asked_for_is_heard() {
    let cases = [
        ("late done", "aborted overdue replace=true"),
        ("done late done", "aborted overdue replace=true"),
        ("done done late owned", "aborted overdue replace=true"),
        ("done done owned late done", "aborted overdue replace=true"),
        ("done done late not-owned", "Abort"),
        ("done late abortable", "Abort"),
        ("done late abortable done", "aborted broker replace=false"),
        (
            "done late abortable retriable",
            "aborted broker replace=true",
        ),
        ("done late fenced", "aborted fenced_or_fatal replace=true"),
        ("done done owned done late committed", "CheckAgain"),
        (
            "done done owned done late committed owned",
            "committed replace=false owned=true",
        ),
        ("done done owned done late retriable", "unknown"),
        ("done done owned done late unknown", "unknown"),
    ];
    for (script, expected) in cases {
        assert_eq!(play(script), expected, "after: {script}");
    }
}

#[test]
fn tasks_are_let_go_after_a_commit_that_outlived_its_deadline_undone() {
    let committed = Verdict::Committed {
        replace_producer: false,
        owned: Ok(()),
    };
    let aborted = Verdict::Aborted {
        cause: Cause::Overdue {
            during: Action::Flush,
        },
        replace_producer: true,
    };
    let unknown = Verdict::Unknown("x".into());
    for (verdict, expected) in [(committed, false), (aborted, true), (unknown, true)] {
        assert_eq!(verdict.lets_go(DEADLINE, DEADLINE), expected, "{verdict:?}");
        let before = DEADLINE - Duration::from_millis(1);
        assert!(!verdict.lets_go(before, DEADLINE), "{verdict:?}");
    }
}

#[test]
fn two_aborts_in_a_row_commit_one_by_one_and_a_rebalance_does_not_count() {
    let mut streak = Streak::default();
    let broker = Cause::plain(String::new(), Reaction::Abort);
    let moved = Cause::NotOwned(Breach::NotAMember {
        member_id: String::new(),
        generation: -1,
    });
    streak.aborted(&broker);
    streak.aborted(&moved);
    streak.aborted(&Cause::Overdue {
        during: Action::Flush,
    });
    assert!(!streak.one_by_one());
    streak.aborted(&broker);
    assert!(streak.one_by_one());
    streak.committed();
    assert!(!streak.one_by_one());
}
