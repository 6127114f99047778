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

    /// Reads one or more digits into `mantissa`, which may wrap, and returns how many they are.
    #[inline(always)]
    fn digits(&mut self, mantissa: &mut u64) -> Result<usize, Fault> {
        let start = self.pos;
        while let Some(eight) = eight_digits(word(self.bytes, self.pos)) {
            *mantissa = mantissa.wrapping_mul(100_000_000).wrapping_add(eight);
            self.pos += 8;
        }
        loop {
            let digit = self.peek().wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            *mantissa = mantissa.wrapping_mul(10).wrapping_add(digit as u64);
            self.pos += 1;
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

/// The value of eight bytes that are all digits, the first one lowest in the word.
#[inline(always)]
fn eight_digits(word: u64) -> Option<u64> {
    let high = word & 0xF0F0_F0F0_F0F0_F0F0;
    let carried = word.wrapping_add(0x0606_0606_0606_0606) & 0xF0F0_F0F0_F0F0_F0F0;
    if high | carried >> 4 != 0x3333_3333_3333_3333 {
        return None;
    }
    // Neighbouring digits into pairs, pairs into fours, fours into the whole.
    let digits = word & 0x0F0F_0F0F_0F0F_0F0F;
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8);
    let low = (pairs & 0x0000_00FF_0000_00FF).wrapping_mul(0x000F_4240_0000_0064);
    let high = (pairs >> 16 & 0x0000_00FF_0000_00FF).wrapping_mul(0x0000_2710_0000_0001);
    Some(low.wrapping_add(high) >> 32 & 0xFFFF_FFFF)
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
