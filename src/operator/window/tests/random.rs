//! Random runs against a model that keeps everything in one map and never fails.

use super::harness::{Chaos, Event, Harness};
use crate::operator::fixtures::window_plan;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::collections::BTreeMap;

/// What the operator must emit, in order, without any restart.
#[derive(Default)]
struct Model {
    rows: BTreeMap<(i64, String), (u64, i64)>,
    watermark: Option<i64>,
    emitted: Vec<String>,
    late: u64,
    used: u64,
}

impl Model {
    fn rows(&mut self, rows: &[(i64, String, i64)]) {
        for (time, page, n) in rows {
            let end = (time.div_euclid(10) + 1) * 10;
            if self.watermark.is_some_and(|watermark| end - 1 <= watermark) {
                self.late += 1;
                continue;
            }
            self.used += 1;
            let row = self.rows.entry((end, page.clone())).or_default();
            *row = (row.0 + 1, row.1 + n);
        }
    }

    fn watermark(&mut self, watermark: i64) {
        let watermark = self
            .watermark
            .map_or(watermark, |before| before.max(watermark));
        self.watermark = Some(watermark);
        let open = self.rows.split_off(&(watermark + 2, String::new()));
        for ((end, page), (count, sum)) in std::mem::replace(&mut self.rows, open) {
            self.emitted
                .push(format!("{end} {page} {count} {sum} {page}"));
        }
    }
}

fn random_rows(random: &mut StdRng, now: i64) -> Event {
    let pages = random.random_range(1..30);
    let count = random.random_range(0..12);
    let row = |random: &mut StdRng| {
        let time = now + random.random_range(-25..25);
        (
            time,
            format!("p{}", random.random_range(0..pages)),
            random.random_range(-5..5),
        )
    };
    let rows: Vec<_> = (0..count).map(|_| row(random)).collect();
    let behind = (0..rows.len())
        .filter(|_| random.random_bool(0.1))
        .collect();
    Event::Rows(rows, behind)
}

fn random_chaos(random: &mut StdRng) -> Chaos {
    let kinds = [
        Chaos::Abort,
        Chaos::CrashLog,
        Chaos::CrashStore,
        Chaos::CrashShort,
        Chaos::Save,
        Chaos::SaveEvict,
        Chaos::TornSave(random.random_range(0..40)),
        Chaos::Refresh,
    ];
    *kinds.choose(random).unwrap()
}

fn run(seed: u64) {
    let random = &mut StdRng::seed_from_u64(seed);
    let (mut harness, mut model) = (Harness::new(&window_plan()), Model::default());
    // A refresh deletes the log before it, so that crashes need the store or what the slice has carried.
    let chaos_rate = *[0.0, 0.1, 0.4].choose(random).unwrap();
    let mut now = -40;
    for _ in 0..200 {
        let event = match random.random_range(0..10) {
            0..=3 if !harness.op.firing() => random_rows(random, now),
            4..=5 => {
                now += random.random_range(0..12);
                Event::Watermark(now - random.random_range(0..15))
            }
            6..=7 => Event::Fire(random.random_range(1..6), random.random_range(1..5)),
            _ => Event::Commit,
        };
        match &event {
            Event::Rows(rows, _) => model.rows(rows),
            Event::Watermark(watermark) => model.watermark(*watermark),
            _ => {}
        }
        harness.event(&event);
        if random.random_bool(chaos_rate) {
            harness.chaos(random_chaos(random));
        }
    }
    model.watermark(1000);
    for event in [
        Event::Watermark(1000),
        Event::Fire(3, usize::MAX),
        Event::Commit,
    ] {
        harness.event(&event);
    }
    let emitted: Vec<&String> = harness
        .out
        .iter()
        .filter(|line| !line.starts_with("late") && !line.starts_with("watermark"))
        .collect();
    assert_eq!(
        emitted,
        model.emitted.iter().collect::<Vec<_>>(),
        "seed {seed}"
    );
    let received = harness.counts.0;
    assert_eq!(
        (received.used, received.late),
        (model.used, model.late),
        "seed {seed}"
    );
    assert_eq!(
        harness.counts.1.used,
        model.emitted.len() as u64,
        "seed {seed}"
    );
    assert_eq!(harness.op.rows(), 0, "seed {seed}");
    harness.chaos(Chaos::Save);
    assert_eq!(
        harness.store.rows.len(),
        1,
        "only the bookkeeping stays, seed {seed}"
    );
}

#[test]
fn random_runs_emit_what_the_model_emits() {
    for seed in 0..600 {
        run(seed);
    }
}
