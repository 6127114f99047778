//! Results of aggregates from their state.
//!
//! Invariant: a result that does not fit its type is an error of its row and NULL in the column; nothing is ever cut
//! or rounded silently, but for the digits of an average. Reads state, changes none.

use super::update::cast;
use super::{Accumulators, Call};
use crate::plan::graph::AggregateFunction;
use crate::state::values::{Column, StateColumn};
use arrow_array::types::{Decimal128Type, DecimalType};
use arrow_array::{ArrayRef, BinaryArray, Decimal128Array, Float64Array, Int64Array, UInt64Array};
use arrow_schema::DataType;
use std::sync::Arc;

/// Values of one result column, and the rows that have none because it does not fit: position and message.
pub type Results = (ArrayRef, Vec<(u32, String)>);

impl Accumulators {
    /// Results of call `call` for the given groups.
    pub fn finish(&self, call: usize, groups: &[u32]) -> Results {
        let call = &self.calls[call];
        let state = &self.columns[call.first..];
        let mut errors = Vec::new();
        let values = match (call.function, &state[0]) {
            (AggregateFunction::Count, StateColumn::I64(counts)) => {
                let counts = groups
                    .iter()
                    .map(|group| counts.get(*group as usize).unwrap_or(0));
                Arc::new(Int64Array::from_iter_values(counts)) as ArrayRef
            }
            (AggregateFunction::Avg, sums) => average(call, sums, &state[1], groups, &mut errors),
            (_, StateColumn::I64(values)) => Arc::new(Int64Array::from_iter(pick(values, groups))),
            (_, StateColumn::F64(values)) => {
                Arc::new(Float64Array::from_iter(pick(values, groups)))
            }
            (_, StateColumn::I128(values)) => wide(call, pick(values, groups), &mut errors),
            (_, StateColumn::Bytes(values)) => {
                let values = groups
                    .iter()
                    .map(|group| values[*group as usize].as_deref());
                Arc::new(BinaryArray::from_iter(values))
            }
        };
        let values = if *values.data_type() == call.output {
            values
        } else {
            convert(values, &call.output)
        };
        (values, errors)
    }

    /// How many results there are.
    pub fn calls(&self) -> usize {
        self.calls.len()
    }
}

fn convert(values: ArrayRef, output: &DataType) -> ArrayRef {
    match output {
        // There is no direct cast from 64 bits.
        DataType::Time32(_) => cast(&cast(&values, &DataType::Int32), output),
        _ => cast(&values, output),
    }
}

fn pick<T: Copy + Default>(values: &Column<T>, groups: &[u32]) -> impl Iterator<Item = Option<T>> {
    groups.iter().map(|group| values.get(*group as usize))
}

/// 128-bit values in the result's type.
fn wide(
    call: &Call,
    values: impl Iterator<Item = Option<i128>>,
    errors: &mut Vec<(u32, String)>,
) -> ArrayRef {
    let name = if call.function == AggregateFunction::Sum {
        "SUM"
    } else {
        "the result"
    };
    let checked = |fits: &dyn Fn(i128) -> bool| -> Vec<Option<i128>> {
        let mut check = |(row, value): (usize, Option<i128>)| {
            let value = value?;
            if !fits(value) {
                errors.push((row as u32, format!("{name} does not fit {}", call.output)));
                return None;
            }
            Some(value)
        };
        values.enumerate().map(&mut check).collect()
    };
    match &call.output {
        DataType::Decimal128(precision, scale) => {
            let fits = |v| Decimal128Type::is_valid_decimal_precision(v, *precision);
            let values = Decimal128Array::from(checked(&fits));
            let values = values.with_data_type(DataType::Decimal128(*precision, *scale));
            Arc::new(values)
        }
        DataType::UInt64 => {
            let values = checked(&|v| u64::try_from(v).is_ok());
            Arc::new(UInt64Array::from_iter(
                values.into_iter().map(|v| v.map(|v| v as u64)),
            ))
        }
        _ => {
            let values = checked(&|v| i64::try_from(v).is_ok());
            Arc::new(Int64Array::from_iter(
                values.into_iter().map(|v| v.map(|v| v as i64)),
            ))
        }
    }
}

fn average(
    call: &Call,
    sums: &StateColumn,
    counts: &StateColumn,
    groups: &[u32],
    errors: &mut Vec<(u32, String)>,
) -> ArrayRef {
    let StateColumn::I64(counts) = counts else {
        unreachable!("an average keeps its count as I64")
    };
    let counts = pick(counts, groups).map(|count| count.filter(|count| *count > 0));
    match (sums, &call.output) {
        (StateColumn::I128(sums), DataType::Decimal128(_, scale)) => {
            let averages = pick(sums, groups).zip(counts).map(|(sum, count)| {
                // A quotient that cannot be computed in 128 bits is outside every precision.
                Some(
                    divide(sum?, count?, i32::from(*scale) - i32::from(call.scale))
                        .unwrap_or(i128::MAX),
                )
            });
            wide(call, averages, errors)
        }
        (StateColumn::I128(sums), _) => {
            let unit = 10f64.powi(-i32::from(call.scale));
            let averages = pick(sums, groups)
                .zip(counts)
                .map(|(sum, count)| Some(sum? as f64 * unit / count? as f64));
            Arc::new(Float64Array::from_iter(averages))
        }
        (StateColumn::F64(sums), _) => {
            let averages = pick(sums, groups)
                .zip(counts)
                .map(|(sum, count)| Some(sum? / count? as f64));
            Arc::new(Float64Array::from_iter(averages))
        }
        _ => unreachable!("sums are kept as I128 or F64"),
    }
}

/// `sum / count` with `digits` more digits behind the point, rounded half away from zero; `None` on overflow.
fn divide(sum: i128, count: i64, digits: i32) -> Option<i128> {
    if sum == i128::MAX || sum == i128::MIN {
        return None;
    }
    let count = i128::from(count);
    let power = 10i128.checked_pow(digits.unsigned_abs())?;
    let (dividend, divisor) = if digits >= 0 {
        (sum.checked_mul(power)?, count)
    } else {
        (sum, count.checked_mul(power)?)
    };
    let (quotient, rest) = (dividend / divisor, dividend % divisor);
    let away = if rest.unsigned_abs() * 2 >= divisor.unsigned_abs() {
        dividend.signum()
    } else {
        0
    };
    Some(quotient + away)
}
