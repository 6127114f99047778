//! Takeovers as scripts: what is seen at which time, and what is decided.

use super::*;
use crate::fetch::TopicPartition;
use crate::protocol::facts::{ChangelogFacts, tests::sample};

const W1: &str = "app-w1-0";

fn claimant() -> Claimant {
    Claimant {
        task: TaskId::new("counts", 0),
        app: "app".into(),
        worker_id: "w2".into(),
        threads: 2,
        fingerprint: 0xfeed,
        topic_id: Some("abc".into()),
    }
}

fn facts(by: &str, complete_from: i64) -> Facts {
    let changelog = Some(ChangelogFacts {
        complete_from,
        ..ChangelogFacts::default()
    });
    Facts {
        transactional_id: by.into(),
        changelog,
        ..sample()
    }
}

fn offset(facts: &Facts) -> CommittedOffset {
    CommittedOffset {
        at: TopicPartition::new("in", 0),
        offset: facts.position,
        metadata: facts.to_metadata(),
    }
}

fn log(start: i64, stable: i64, high: i64) -> LogRange {
    LogRange {
        start,
        stable,
        high,
    }
}

fn view(offsets: Offsets, changelog: LogRange, members: &[&str]) -> View {
    let members = members
        .iter()
        .map(|m| GroupMember {
            member_id: format!("{m}-x"),
            client_id: (*m).into(),
        })
        .collect();
    View {
        offsets,
        changelog: Some(changelog),
        written: vec![],
        members,
        owners: vec![],
    }
}

fn unstable(by: &str) -> Offsets {
    Offsets::Unstable {
        last: Some(offset(&facts(by, 0))),
    }
}

fn stable(by: &str) -> Offsets {
    Offsets::Stable(Some(offset(&facts(by, 0))))
}

/// Decisions at (ms, view), in short.
fn check(script: &[(u64, View, &str)]) {
    let mut takeover = Takeover::new(claimant());
    for (ms, view, expected) in script {
        let decision = match takeover.decide(view, Duration::from_millis(*ms)) {
            Decision::Wait => "wait".to_string(),
            Decision::Settle { transactional_id } => format!("settle {transactional_id}"),
            Decision::Begin => "begin".into(),
            Decision::Resume { facts } => format!("resume {}", facts.position),
            Decision::Restore { facts, barrier, .. } => {
                format!("restore to {barrier} facts={}", facts.is_some())
            }
            Decision::Refuse(refusal) => format!("{refusal:?}")
                .split([' ', '('])
                .next()
                .unwrap_or("")
                .to_string(),
        };
        assert_eq!(&decision, expected, "at {ms} ms");
    }
}

#[test]
fn a_quiet_log_and_stable_offsets_restore_at_once() {
    check(&[(
        0,
        view(stable(W1), log(0, 9, 9), &["w2"]),
        "restore to 9 facts=true",
    )]);
}

#[test]
fn a_dead_owners_transaction_is_settled_once_and_then_waited_for() {
    let dead = || view(unstable(W1), log(0, 5, 9), &["w2"]);
    check(&[
        (0, dead(), "wait"),
        (100, dead(), "wait"),
        (250, dead(), "settle app-w1-0"),
        (300, dead(), "wait"),
        (
            400,
            view(stable(W1), log(0, 10, 10), &["w2"]),
            "restore to 10 facts=true",
        ),
    ]);
}

#[test]
fn stable_offsets_do_not_mean_that_the_old_transaction_is_over() {
    let dead = || view(stable(W1), log(0, 5, 9), &["w2"]);
    check(&[
        (0, dead(), "wait"),
        (250, dead(), "settle app-w1-0"),
        (300, dead(), "wait"),
    ]);
}

#[test]
fn a_live_member_and_ourselves_are_never_settled() {
    let alive = || view(unstable(W1), log(0, 5, 9), &["w1", "w2"]);
    check(&[(0, alive(), "wait"), (5000, alive(), "wait")]);
    let own = || view(unstable("app-w2-1"), log(0, 5, 9), &["w2"]);
    check(&[(0, own(), "wait"), (5000, own(), "wait")]);
}

#[test]
fn a_vanished_thread_of_our_own_is_settled_and_a_living_one_is_not() {
    let blocked = |by: &str| view(unstable(by), log(0, 5, 9), &["w2"]);
    check(&[
        (0, blocked("app-w2-3"), "wait"),
        (250, blocked("app-w2-3"), "settle app-w2-3"),
        (300, blocked("app-w2-3"), "wait"),
    ]);
    let beside = |by: &str, owners: &[&str]| View {
        owners: owners.iter().map(|id| (*id).to_string()).collect(),
        ..blocked(by)
    };
    let ids = ["app-w2-1", "app-w2-3", "app-w1-5"];
    check(&[
        (0, beside("app-w2-0", &ids), "wait"),
        (250, beside("app-w2-0", &ids), "settle app-w2-3"),
        (300, beside("app-w2-0", &ids), "wait"),
    ]);
}

#[test]
fn written_partitions_are_a_sign_that_settles_but_never_blocks_for_long() {
    let seen = |members: &[&str]| View {
        changelog: None,
        written: vec![log(0, 5, 9)],
        ..view(
            Offsets::Stable(Some(offset(&sample_by(W1)))),
            log(0, 0, 0),
            members,
        )
    };
    check(&[
        (0, seen(&["w2"]), "wait"),
        (250, seen(&["w2"]), "settle app-w1-0"),
        (300, seen(&["w2"]), "resume 1234"),
    ]);
    check(&[(0, seen(&["w1", "w2"]), "resume 1234")]);
}

fn sample_by(by: &str) -> Facts {
    Facts {
        transactional_id: by.into(),
        ..sample()
    }
}

#[test]
fn nothing_committed_begins_and_gone_offsets_go_on_from_the_log() {
    check(&[(0, view(Offsets::Stable(None), log(0, 0, 0), &[]), "begin")]);
    check(&[(
        0,
        view(Offsets::Stable(None), log(0, 7, 7), &[]),
        "restore to 7 facts=false",
    )]);
}

#[test]
fn what_cannot_be_gone_on_from_is_refused_by_name() {
    let with = |facts: Facts, range| view(Offsets::Stable(Some(offset(&facts))), range, &[]);
    let foreign = CommittedOffset {
        metadata: String::new(),
        ..offset(&sample())
    };
    check(&[(
        0,
        view(Offsets::Stable(Some(foreign)), log(0, 7, 7), &[]),
        "ForeignOffset",
    )]);
    check(&[(
        0,
        with(
            Facts {
                fingerprint: 1,
                ..sample()
            },
            log(0, 7, 7),
        ),
        "OtherPlan",
    )]);
    check(&[(
        0,
        with(
            Facts {
                topic_id: Some("x".into()),
                ..sample()
            },
            log(0, 7, 7),
        ),
        "TopicRecreated",
    )]);
    check(&[(
        0,
        with(facts(W1, 3), log(4, 7, 7)),
        "restore to 7 facts=true",
    )]);
    check(&[(0, with(facts(W1, 8), log(4, 7, 7)), "LostState")]);
    check(&[(
        0,
        with(facts(W1, 4), log(4, 7, 7)),
        "restore to 7 facts=true",
    )]);
}

#[test]
fn a_refused_offset_is_shown_beside_the_engines_own() {
    let refusal = |committed: CommittedOffset| {
        let view = view(Offsets::Stable(Some(committed)), log(0, 7, 7), &[]);
        match Takeover::new(claimant()).decide(&view, Duration::ZERO) {
            Decision::Refuse(refusal) => refusal.to_string(),
            other => panic!("not refused: {other:?}"),
        }
    };
    let moved = CommittedOffset {
        offset: 600,
        ..offset(&facts(W1, 0))
    };
    let said = refusal(moved.clone());
    assert!(said.contains("offset 600 of in/0"), "{said}");
    assert!(
        said.contains("the facts beside it name offset 1234"),
        "{said}"
    );
    let said = refusal(CommittedOffset {
        metadata: String::new(),
        ..moved
    });
    assert!(said.contains("offset 600 of in/0"), "{said}");
    assert!(said.contains("is not known any more"), "{said}");
    assert_eq!(
        Known::Changelog(1234).to_string(),
        "the last facts in the changelog name offset 1234"
    );
}
