//! Numbers of JSON: the grammar of RFC 8259, and the exact way from digits to integers, decimals and doubles.
//!
//! Invariant: no digit is lost on the way. What does not fit the wanted type exactly is refused (for doubles:
//! rounded to nearest, infinity refused); nothing wraps, nothing is cut.

#[cfg(test)]
mod tests;

use super::reader::{Fault, Reader, word};

/// A number as it stands in the record.
pub(super) struct Number<'a> {
    pub literal: &'a [u8],
    negative: bool,
    /// Neither fraction nor exponent is written.
    integer: bool,
    /// All digits as one integer; meaningful where there are at most 19 of them.
    mantissa: u64,
    digits: usize,
    /// The number is `mantissa × 10^exponent`.
    exponent: i64,
}

/// An exponent beyond this decides the result, whatever the digits of a record that fits into memory are.
const EXPONENT_LIMIT: i64 = 1 << 40;

/// Powers of ten by the number of digits that a word can hold.
const POWERS: [u64; 9] = [
    1,
    10,
    100,
    1000,
    10_000,
    100_000,
    1_000_000,
    10_000_000,
    100_000_000,
];

/// Powers of ten that a double holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

impl<'a> Reader<'a> {
    /// Reads a number; `pos` stands at its sign or first digit.
    #[inline]
    pub fn number(&mut self) -> Result<Number<'a>, Fault> {
        let start = self.pos;
        let negative = self.peek() == b'-';
        if negative {
            self.pos += 1;
        }
        let first = self.peek();
        let mut mantissa = 0;
        let mut digits = self.digits(&mut mantissa)?;
        if first == b'0' && digits > 1 {
            self.pos -= digits;
            return Err(Fault::LeadingZero);
        }
        let mut exponent = 0;
        let mut integer = true;
        if self.peek() == b'.' {
            integer = false;
            self.pos += 1;
            let fraction = self.digits(&mut mantissa)?;
            digits += fraction;
            exponent = -(fraction as i64);
        }
        if matches!(self.peek(), b'e' | b'E') {
            integer = false;
            self.pos += 1;
            exponent += self.exponent()?;
        }
        Ok(Number {
            literal: &self.bytes[start..self.pos],
            negative,
            integer,
            mantissa,
            digits,
            exponent,
        })
    }

    /// Reads an integer of at most 16 digits, the usual case; `None`, and nothing is read, for any other number.
    #[inline(always)]
    pub fn short_integer(&mut self) -> Option<i64> {
        let negative = self.peek() == b'-';
        let start = self.pos + negative as usize;
        let (mut value, mut len) = leading_digits(word(self.bytes, start));
        if len == 8 {
            let (low, more) = leading_digits(word(self.bytes, start + 8));
            value = value * POWERS[more] + low;
            len += more;
        }
        let end = start + len;
        let after = self.bytes.get(end).copied().unwrap_or(0);
        let longer = len == 0 || len == 16 || matches!(after, b'.' | b'e' | b'E');
        if longer || (self.bytes[start] == b'0' && len > 1) {
            return None;
        }
        self.pos = end;
        let value = value as i64;
        Some(if negative { -value } else { value })
    }

    /// Reads one or more digits into `mantissa`, which may wrap, and returns how many they are.
    #[inline(always)]
    fn digits(&mut self, mantissa: &mut u64) -> Result<usize, Fault> {
        let start = self.pos;
        loop {
            let (value, len) = leading_digits(word(self.bytes, self.pos));
            *mantissa = mantissa.wrapping_mul(POWERS[len]).wrapping_add(value);
            self.pos += len;
            if len < 8 {
                break;
            }
        }
        if self.pos == start {
            return Err(self.fault(Fault::Digit));
        }
        Ok(self.pos - start)
    }

    fn exponent(&mut self) -> Result<i64, Fault> {
        let negative = self.peek() == b'-';
        if matches!(self.peek(), b'+' | b'-') {
            self.pos += 1;
        }
        if !self.peek().is_ascii_digit() {
            return Err(self.fault(Fault::Digit));
        }
        let mut exponent: i64 = 0;
        while self.peek().is_ascii_digit() {
            exponent = (exponent * 10 + (self.peek() - b'0') as i64).min(EXPONENT_LIMIT);
            self.pos += 1;
        }
        Ok(if negative { -exponent } else { exponent })
    }
}

/// The digits that a word begins with: their value and their number. The first one is lowest in the word.
#[inline(always)]
fn leading_digits(word: u64) -> (u64, usize) {
    let digits = word ^ 0x3030_3030_3030_3030;
    let others = (((digits & 0x7F7F_7F7F_7F7F_7F7F) + 0x7676_7676_7676_7676) | digits)
        & 0x8080_8080_8080_8080;
    let len = (others.trailing_zeros() / 8) as usize;
    if len == 0 {
        return (0, 0);
    }
    // Zeros in front; then neighbouring digits into pairs, pairs into fours, fours into the whole.
    let digits = digits << (64 - 8 * len);
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let low = (pairs & 0x0000_00FF_0000_00FF).wrapping_mul(0x000F_4240_0000_0064);
    let high = (pairs >> 16 & 0x0000_00FF_0000_00FF).wrapping_mul(0x0000_2710_0000_0001);
    (low.wrapping_add(high) >> 32, len)
}

impl Number<'_> {
    fn mantissa_is_exact(&self) -> bool {
        self.digits <= 19
    }

    /// The integer, if it is written as one: `3.0` and `3e0` are not.
    #[inline]
    pub fn to_i64(&self) -> Option<i64> {
        if !self.integer || !self.mantissa_is_exact() {
            return None;
        }
        if self.negative {
            0i64.checked_sub_unsigned(self.mantissa)
        } else {
            i64::try_from(self.mantissa).ok()
        }
    }

    /// The nearest double, `None` where that is infinite.
    #[inline]
    pub fn to_f64(&self) -> Option<f64> {
        if self.mantissa_is_exact()
            && self.mantissa <= 1 << 53
            && self.exponent.unsigned_abs() <= 22
        {
            // Both operands are exact, so the one rounding of the operation is the right one.
            let power = EXACT_POWERS[self.exponent.unsigned_abs() as usize];
            let mantissa = self.mantissa as f64;
            let value = if self.exponent < 0 {
                mantissa / power
            } else {
                mantissa * power
            };
            return Some(if self.negative { -value } else { value });
        }
        let literal = std::str::from_utf8(self.literal).ok()?;
        literal
            .parse::<f64>()
            .ok()
            .filter(|value| value.is_finite())
    }

    /// The unscaled value of a `decimal(precision, scale)`, `None` where digits would be lost.
    pub fn to_decimal(&self, precision: u8, scale: i8) -> Option<i128> {
        let (digits, exponent) = self.significant()?;
        let shift = exponent + scale as i64;
        let unscaled = if digits == 0 {
            0
        } else if shift >= 0 {
            digits.checked_mul(power_of_ten(shift)?)?
        } else {
            let power = power_of_ten(-shift)?;
            if digits % power != 0 {
                return None;
            }
            digits / power
        };
        if unscaled >= power_of_ten(precision as i64)? {
            return None;
        }
        let unscaled = i128::try_from(unscaled).ok()?;
        Some(if self.negative { -unscaled } else { unscaled })
    }

    /// The number as integer and power of ten; `None` for more than 38 significant digits.
    fn significant(&self) -> Option<(u128, i64)> {
        if self.mantissa_is_exact() {
            return Some((self.mantissa as u128, self.exponent));
        }
        let (mut value, mut count, mut zeros): (u128, u32, u32) = (0, 0, 0);
        for byte in self
            .literal
            .iter()
            .take_while(|byte| !matches!(byte, b'e' | b'E'))
        {
            match byte {
                b'1'..=b'9' => {
                    count = count.saturating_add(zeros).saturating_add(1);
                    if count > 38 {
                        return None;
                    }
                    value = value * 10u128.pow(zeros + 1) + (byte - b'0') as u128;
                    zeros = 0;
                }
                b'0' if value > 0 => zeros = zeros.saturating_add(1),
                _ => {}
            }
        }
        Some((value, self.exponent + zeros as i64))
    }
}

/// `10^exponent`, `None` beyond what 38 digits can need.
fn power_of_ten(exponent: i64) -> Option<u128> {
    u32::try_from(exponent)
        .ok()
        .filter(|exponent| *exponent <= 38)
        .map(|exponent| 10u128.pow(exponent))
}
