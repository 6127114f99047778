//! What a window's table takes in memory, a row and as a whole, and what it gives back.

use crate::operator::accumulator::Accumulators;
use crate::operator::fixtures::call;
use crate::operator::window::table::WindowTable;
use crate::plan::graph::AggregateFunction as F;
use crate::state::values::{Column, StateColumn};
use arrow_schema::DataType;

/// No groups of a count and a sum of 64-bit integers.
fn empty() -> Accumulators {
    let sum = call(F::Sum, Some((0, DataType::Int64)), DataType::Int64);
    Accumulators::new(&[call(F::Count, None, DataType::Int64), sum])
}

/// Merges a block with one row for each key: a 64-bit integer, as it is encoded.
fn merge(table: &mut WindowTable, keys: std::ops::Range<u64>) {
    let encoded: Vec<Vec<u8>> = keys
        .clone()
        .map(|key| [&[1][..], &key.to_be_bytes()].concat())
        .collect();
    let rows: Vec<u32> = (0..encoded.len() as u32).collect();
    let states = [
        StateColumn::I64(rows.iter().map(|_| Some(1)).collect()),
        StateColumn::I128(Column::from_iter(keys.map(|key| Some(i128::from(key))))),
    ];
    let slots = table.find_or_insert(encoded.iter().map(Vec::as_slice));
    table.merge(&slots, &states, &rows);
}

fn filled(rows: u64) -> WindowTable {
    let mut table = WindowTable::new(&empty());
    for from in (0..rows).step_by(10_000) {
        merge(&mut table, from..rows.min(from + 10_000));
        table.commit();
    }
    table
}

#[test]
fn a_row_of_a_count_and_a_sum_takes_about_sixty_bytes_whatever_the_size() {
    // Right behind the sizes at which memory that doubles is half empty.
    for rows in [150_000, 263_000, 530_000] {
        let bytes = filled(rows).bytes() as f64 / rows as f64;
        assert!((50.0..68.0).contains(&bytes), "{bytes} with {rows} rows");
    }
}

#[test]
fn a_small_table_takes_little() {
    let bytes = filled(6).bytes();
    assert!(bytes < 2000, "{bytes}");
}

#[test]
fn an_aborted_transaction_gives_its_memory_back_and_leaves_the_rows() {
    let mut table = filled(20_000);
    let (before, rows) = (table.bytes(), table.rows().gather(&[7, 19_999]));
    merge(&mut table, 15_000..100_000);
    assert!(table.bytes() > 3 * before);
    table.abort();
    assert_eq!(table.len(), 20_000);
    assert_eq!(table.rows().gather(&[7, 19_999]), rows);
    // The index and the lists of the transaction's slots keep theirs for the next one.
    assert!(table.bytes() < before + 85_000 * 26 + 100_000);
    merge(&mut table, 19_999..20_001);
    table.commit();
    let (counts, sums) = (Column::from_iter([2, 1].map(Some)), [39_998, 20_000]);
    let expected = [
        StateColumn::I64(counts),
        StateColumn::I128(Column::from_iter(sums.map(Some))),
    ];
    assert_eq!(table.rows().gather(&[19_999, 20_000]), expected);
}

#[test]
fn a_table_that_is_used_again_keeps_what_its_last_use_needed() {
    let mut table = filled(100_000);
    table.recycle();
    assert!(table.bytes() > 100_000 * 40);
    merge(&mut table, 0..10);
    table.commit();
    table.recycle();
    assert!(table.bytes() < 300_000, "{}", table.bytes());
}

#[test]
fn unsaved_slots_come_in_runs_each_in_the_order_of_its_keys() {
    let mut table = WindowTable::new(&empty());
    for from in (0..15).rev().map(|block| block * 10_000) {
        merge(&mut table, from..from + 10_000);
        table.commit();
    }
    let (mut from, mut lengths) = (0, Vec::new());
    loop {
        let run = table.unsaved_run(&mut from);
        if run.is_empty() {
            break;
        }
        assert!(run.is_sorted_by_key(|slot| table.key(*slot)));
        lengths.push(run.len());
        run.iter().for_each(|slot| table.mark_saved(*slot));
    }
    assert_eq!(lengths, [65_536, 65_536, 18_928]);
    assert_eq!(table.unsaved_bytes(), 0);
    merge(&mut table, 5..6);
    table.commit();
    assert_eq!(table.unsaved_run(&mut 0).len(), 1);
}
