//! Columns of numbers against vectors of options, across the borders of words and chunks.

use super::Column;
use crate::state::chunked::CHUNK;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Lengths on both sides of the borders of words and chunks.
fn length(random: &mut StdRng) -> usize {
    let border = random.random_range(0..3) * CHUNK + random.random_range(0..3) * 64;
    (border + random.random_range(0..5)).saturating_sub(2)
}

fn value(random: &mut StdRng) -> Option<i64> {
    random.random_bool(0.8).then(|| random.random())
}

fn change(column: &mut Column<i64>, model: &mut Vec<Option<i64>>, random: &mut StdRng) {
    match random.random_range(0..7) {
        0 => {
            let len = length(random);
            column.resize_null(len);
            model.resize(len, None);
        }
        1 => {
            let len = length(random);
            column.truncate(len);
            model.truncate(len);
        }
        2 if random.random_bool(0.1) => {
            column.clear();
            model.clear();
        }
        3 => (0..random.random_range(0..900)).for_each(|_| {
            let value = value(random);
            column.push(value);
            model.push(value);
        }),
        _ if model.is_empty() => {}
        4 => {
            let (a, b) = (
                random.random_range(0..model.len()),
                random.random_range(0..model.len()),
            );
            column.swap(a, b);
            model.swap(a, b);
        }
        5 => {
            let (row, value) = (random.random_range(0..model.len()), value(random));
            column.set(row, value);
            model[row] = value;
        }
        _ => {
            let rows: Vec<usize> = (0..500)
                .map(|_| random.random_range(0..model.len()))
                .collect();
            let sum = |before: Option<i64>, with: i64| before.unwrap_or(5).wrapping_add(with);
            column.update(rows.iter().map(|row| (*row, *row as i64)), sum);
            for row in rows {
                model[row] = Some(sum(model[row], row as i64));
            }
        }
    }
}

#[test]
fn a_column_holds_what_a_vector_of_options_holds() {
    let mut random = StdRng::seed_from_u64(11);
    let (mut column, mut model) = (Column::new(), Vec::new());
    for step in 0..1500 {
        change(&mut column, &mut model, &mut random);
        assert_eq!(column.len(), model.len());
        assert!(column.iter().eq(model.iter().copied()), "step {step}");
        let from = random.random_range(0..=model.len());
        let to = random.random_range(from..=model.len());
        let present = column.present(from..to);
        assert!(present.eq(model[from..to].iter().copied().flatten()));
        let all = model[from..to].iter().all(Option::is_some);
        assert_eq!(column.all_seen(from..to), all);
        if from < model.len() {
            let bits = model[from..].iter().take(64).enumerate();
            let bits = bits.fold(0, |bits, (i, v)| bits | (u64::from(v.is_some()) << i));
            assert_eq!(column.bits(from), bits);
        }
        let picked: Vec<u32> = (from..to).rev().map(|row| row as u32).collect();
        let gathered = column.gather(&picked);
        assert_eq!(gathered, model[from..to].iter().rev().copied().collect());
        // Nothing is left of what was cut off or set to NULL.
        assert_eq!(column, model.iter().copied().collect());
        assert_eq!(column.clone(), column);
    }
}

#[test]
fn a_filled_column_is_one_of_values_that_were_pushed() {
    for len in [0, 1, 63, 64, 65, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK] {
        let mut next = 0..;
        let filled = Column::filled(len, || next.next());
        assert_eq!(filled, Some((0..len).map(Some).collect()));
        let mut short = 0..len;
        assert_eq!(Column::filled(len + 1, || short.next()), None);
    }
}

#[test]
fn a_value_takes_its_own_size_and_a_bit() {
    let rows = 64 * CHUNK;
    let column: Column<i128> = (0..rows as i128).map(Some).collect();
    // One table for 64 chunks of values, one for a single chunk of bits.
    let chunk_table = 65 * size_of::<Vec<i128>>();
    assert_eq!(column.bytes(), rows * 16 + rows / 8 + chunk_table);
}
