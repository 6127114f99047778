//! Sizes in bytes as users write them: `64MB` is 64 million bytes, `64MiB` is 64 × 2^20.
//!
//! Invariant: what [`print`] writes, [`parse`] reads back as the same number. This file knows no limits of settings.

use thiserror::Error;

const UNITS: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("B", 1),
];

/// Why a text is no size.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SizeError {
    #[error(
        "`{0}` is not a size: write a whole number with B, KB, MB, GB, KiB, MiB or GiB, for example 64MB"
    )]
    Malformed(String),
    #[error("`{0}` is too large")]
    TooLarge(String),
}

/// Reads a size such as `64MB`, `1GiB` or `1048576`, in bytes. The unit's case does not matter.
///
/// # Errors
/// Whatever is not one whole number with one unit, or does not fit into 64 bits.
pub fn parse(text: &str) -> Result<u64, SizeError> {
    let text = text.trim();
    let malformed = || SizeError::Malformed(text.to_owned());
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    if number.is_empty() {
        return Err(malformed());
    }
    let unit = unit.trim_start();
    let factor = match unit {
        "" => 1,
        unit => UNITS
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(unit))
            .map(|(_, factor)| *factor)
            .ok_or_else(malformed)?,
    };
    let too_large = || SizeError::TooLarge(text.to_owned());
    let number: u64 = number.parse().map_err(|_| too_large())?;
    number.checked_mul(factor).ok_or_else(too_large)
}

/// Writes bytes with the unit that gives the smallest whole number.
pub fn print(bytes: u64) -> String {
    UNITS
        .iter()
        .filter(|(_, factor)| bytes >= *factor && bytes.is_multiple_of(*factor))
        .min_by_key(|(_, factor)| bytes / factor)
        .map_or_else(
            || "0B".to_owned(),
            |(name, factor)| format!("{}{name}", bytes / factor),
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn accepted_sizes_have_these_bytes() {
        let cases = [
            ("0", 0),
            ("1048576", 1 << 20),
            ("7B", 7),
            ("64MB", 64_000_000),
            ("64 MiB", 64 << 20),
            ("1GiB", 1 << 30),
            ("2gb", 2_000_000_000),
            ("3KB", 3_000),
            ("3KiB", 3_072),
            ("1TiB", 1 << 40),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn refused_sizes_name_the_text() {
        for text in ["", "MB", "-1MB", "1.5GB", "1 M", "1MBit", "1MB2", "٣MB"] {
            assert_eq!(
                parse(text),
                Err(SizeError::Malformed(text.to_owned())),
                "{text}"
            );
        }
        for text in ["99999999TiB", "99999999999999999999"] {
            assert_eq!(
                parse(text),
                Err(SizeError::TooLarge(text.to_owned())),
                "{text}"
            );
        }
    }

    #[test]
    fn printed_with_the_unit_that_is_shortest() {
        let cases = [
            (0, "0B"),
            (1_500, "1500B"),
            (64_000_000, "64MB"),
            (64 << 20, "64MiB"),
        ];
        for (bytes, text) in cases {
            assert_eq!(print(bytes), text);
        }
    }

    proptest! {
        #[test]
        fn printed_sizes_read_back_as_the_same(bytes in any::<u64>()) {
            prop_assert_eq!(parse(&print(bytes)), Ok(bytes));
        }
    }
}
