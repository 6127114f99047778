//! Scripts: events and what they must emit; each is run again with every kind of interruption after every event.

use super::harness::{Chaos, Event, Harness};
use crate::operator::fixtures::window_plan;

/// Lines: `rows <page>@<time>=<n> …` (a `!` behind: the row came behind its watermark), `watermark <ms>`,
/// `fire <rows per chunk> [<chunks>]`, `commit`, `save`, `evict`.
fn parse(script: &str) -> Vec<Result<Event, Chaos>> {
    let lines = script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    lines.map(step).collect()
}

fn step(line: &str) -> Result<Event, Chaos> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let number = |i: usize| words.get(i).map(|word| word.parse::<i64>().unwrap());
    match words[0] {
        "rows" => {
            let row = |word: &&str| {
                let (page, rest) = word.trim_end_matches('!').split_once('@').unwrap();
                let (time, n) = rest.split_once('=').unwrap();
                (time.parse().unwrap(), page.to_owned(), n.parse().unwrap())
            };
            let behind = (0..words.len() - 1)
                .filter(|i| words[i + 1].ends_with('!'))
                .collect();
            Ok(Event::Rows(words[1..].iter().map(row).collect(), behind))
        }
        "watermark" => Ok(Event::Watermark(number(1).unwrap())),
        "fire" => Ok(Event::Fire(
            number(1).unwrap() as usize,
            number(2).unwrap_or(1000) as usize,
        )),
        "commit" => Ok(Event::Commit),
        "save" => Err(Chaos::Save),
        "evict" => Err(Chaos::SaveEvict),
        other => panic!("unknown step {other}"),
    }
}

const INTERRUPTIONS: [Chaos; 12] = [
    Chaos::Abort,
    Chaos::CrashLog,
    Chaos::CrashStore,
    Chaos::CrashShort,
    Chaos::Save,
    Chaos::SaveEvict,
    Chaos::TornSave(0),
    Chaos::TornSave(1),
    Chaos::TornSave(2),
    Chaos::TornSave(3),
    Chaos::TornSave(4),
    Chaos::Refresh,
];

fn run(steps: &[Result<Event, Chaos>], interrupt: impl Fn(usize) -> Vec<Chaos>) -> Harness {
    let mut harness = Harness::new(&window_plan());
    for (i, step) in steps.iter().enumerate() {
        match step {
            Ok(event) => harness.event(event),
            Err(chaos) => harness.chaos(*chaos),
        }
        interrupt(i)
            .into_iter()
            .for_each(|chaos| harness.chaos(chaos));
    }
    assert!(
        harness.is_between_transactions(),
        "the script ends with a commit"
    );
    harness
}

/// Runs the script as it stands, then with each interruption after each step, then with two of them at two steps,
/// and with each after every step.
fn check(script: &str, expected: &[&str]) -> Harness {
    let steps = parse(script);
    let plain = run(&steps, |_| vec![]);
    assert_eq!(plain.out, expected, "undisturbed");
    let same = |what: String, harness: &Harness| {
        assert_eq!(harness.out, expected, "{what}");
        assert_eq!(harness.counts, plain.counts, "{what}");
    };
    for first in INTERRUPTIONS {
        same(
            format!("{first:?} after every step"),
            &run(&steps, |_| vec![first]),
        );
        for at in 0..steps.len() {
            let harness = run(&steps, |i| if i == at { vec![first] } else { vec![] });
            same(format!("{first:?} after step {at}"), &harness);
            for second in INTERRUPTIONS {
                let harness = run(&steps, |i| match i {
                    _ if i == at => vec![first, second],
                    _ if i == at + 1 => vec![second],
                    _ => vec![],
                });
                same(format!("{first:?} at {at}, then {second:?}"), &harness);
            }
        }
    }
    plain
}

#[test]
fn a_window_closes_when_the_watermark_reaches_its_end_minus_one() {
    check(
        "rows b@1=1 a@2=2 a@12=4
         watermark 8
         fire 10
         commit
         watermark 9
         fire 10
         commit",
        &["watermark 8", "10 a 1 2 a", "10 b 1 1 b", "watermark 9"],
    );
}

#[test]
fn state_grows_over_transactions_and_fires_in_the_order_of_keys() {
    let harness = check(
        "rows c@1=1 a@2=2
         commit
         rows a@3=4 b@3=8 c@15=1
         commit
         rows a@4=16
         watermark 14
         fire 10
         commit
         watermark 30
         fire 10
         commit",
        &[
            "watermark -9223372036854775808",
            "watermark -9223372036854775808",
            "10 a 3 22 a",
            "10 b 1 8 b",
            "10 c 1 1 c",
            "watermark 14",
            "20 c 1 1 c",
            "watermark 30",
        ],
    );
    assert_eq!(harness.counts.0.used, 6);
    assert_eq!((harness.counts.1.received, harness.counts.1.used), (4, 4));
    assert_eq!(
        (harness.store.writes, harness.store.reads.get()),
        (0, 0),
        "nothing was saved: the store is untouched"
    );
}

#[test]
fn firing_goes_on_in_the_middle_of_a_window_over_commits() {
    check(
        "rows e@1=1 d@1=1 c@1=1 b@1=1 a@1=1 x@11=1 y@11=1
         commit
         watermark 19
         fire 2 1
         commit
         fire 2 1
         fire 2 1
         commit
         fire 1 1
         commit
         fire 1
         commit",
        &[
            "watermark -9223372036854775808",
            "10 a 1 1 a",
            "10 b 1 1 b",
            "watermark 8",
            "10 c 1 1 c",
            "10 d 1 1 d",
            "10 e 1 1 e",
            "watermark 18",
            "20 x 1 1 x",
            "watermark 18",
            "20 y 1 1 y",
            "watermark 19",
        ],
    );
}

#[test]
fn rows_of_closed_windows_are_late_whatever_has_been_fired() {
    let harness = check(
        "rows a@1=1 b@11=1
         commit
         watermark 12
         fire 10
         rows a@2=2 a@3=4 a@4=8! a@13=16
         commit
         watermark 40
         fire 1
         rows z@39=1
         commit",
        &[
            "watermark -9223372036854775808",
            "10 a 1 1 a",
            "late: 2 rows in 0..1",
            "late: record 2",
            "watermark 12",
            "20 a 1 16 a",
            "20 b 1 1 b",
            "late: 1 rows in 0..0",
            "watermark 40",
        ],
    );
    let received = harness.counts.0;
    assert_eq!((received.received, received.used, received.late), (7, 3, 4));
}

#[test]
fn saved_and_evicted_rows_are_merged_into_and_fired_with_new_ones() {
    check(
        "rows a@1=1 c@1=1 e@1=1 a@11=1
         commit
         evict
         rows b@2=2 c@2=2
         commit
         save
         rows c@3=4 f@3=4
         commit
         rows a@4=8 a@14=8
         watermark 10
         fire 2 2
         commit
         evict
         fire 2
         commit
         watermark 100
         fire 7
         commit",
        &[
            "watermark -9223372036854775808",
            "watermark -9223372036854775808",
            "watermark -9223372036854775808",
            "10 a 2 9 a",
            "10 b 1 2 b",
            "10 c 3 7 c",
            "10 e 1 1 e",
            "watermark 8",
            "10 f 1 4 f",
            "watermark 10",
            "20 a 2 9 a",
            "watermark 100",
        ],
    );
}

#[test]
fn a_window_may_come_and_go_within_one_transaction() {
    check(
        "rows a@1=1
         watermark 9
         fire 1
         rows b@11=1
         watermark 19
         fire 1
         commit
         save
         rows c@21=1
         commit",
        &["10 a 1 1 a", "20 b 1 1 b", "watermark 19", "watermark 19"],
    );
}

#[test]
fn the_end_of_input_fires_all_and_the_application_can_go_on() {
    let mut harness = Harness::new(&window_plan());
    let rows = |time, page: &str| Event::Rows(vec![(time, page.to_owned(), 1)], vec![]);
    for event in [
        rows(1, "a"),
        rows(25, "b"),
        Event::Watermark(5),
        Event::Commit,
    ] {
        harness.event(&event);
    }
    for event in [Event::End, Event::Fire(10, 10), Event::Commit] {
        harness.event(&event);
    }
    harness.chaos(Chaos::CrashLog);
    assert_eq!(
        harness.op.forwarded(),
        29,
        "the end of the last window fired, less one"
    );
    for event in [
        rows(29, "late"),
        rows(31, "c"),
        Event::Watermark(39),
        Event::Fire(10, 10),
        Event::Commit,
    ] {
        harness.event(&event);
    }
    let expected = [
        "watermark 5",
        "10 a 1 1 a",
        "30 b 1 1 b",
        "watermark 29",
        "late: 1 rows in 0..0",
        "40 c 1 1 c",
        "watermark 39",
    ];
    assert_eq!(harness.out, expected);
}
