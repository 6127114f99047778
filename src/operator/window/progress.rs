//! Bookkeeping of a window node: up to where windows are closed, and how far firing has come.
//!
//! Invariant: the closed bound never falls. What is written is enough to go on in the middle of a window. No rows here.

use crate::state::{Error, Result};

/// Key of the bookkeeping in stores and changelogs.
pub(super) const KEY: &[u8] = &[0];
const VERSION: u8 = 1;

/// Where firing stands inside a window.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cursor {
    end: i64,
    /// The last group key that was emitted.
    key: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Progress {
    watermark: i64,
    cursor: Option<Cursor>,
    /// Windows with ends up to here are emitted; those that are still held are cleared by the open transaction.
    fired: i64,
}

impl Default for Progress {
    fn default() -> Self {
        Progress {
            watermark: i64::MIN,
            cursor: None,
            fired: i64::MIN,
        }
    }
}

impl Progress {
    pub fn watermark(&self) -> i64 {
        self.watermark
    }

    pub fn fired(&self) -> i64 {
        self.fired
    }

    pub fn closed(&self, end: i64) -> bool {
        end.saturating_sub(1) <= self.watermark
    }

    pub fn advance(&mut self, watermark: i64) {
        self.watermark = self.watermark.max(watermark);
    }

    /// The last key that was emitted of the window.
    pub fn emitted_to(&self, end: i64) -> Option<&[u8]> {
        self.cursor
            .as_ref()
            .filter(|cursor| cursor.end == end)
            .map(|cursor| &cursor.key[..])
    }

    /// The window is emitted up to this key.
    pub fn emit_to(&mut self, end: i64, key: &[u8]) {
        self.cursor = Some(Cursor {
            end,
            key: key.to_vec(),
        });
    }

    /// The window is emitted entirely.
    pub fn emit_all(&mut self, end: i64) {
        self.cursor = None;
        self.fired = end;
    }

    /// Version, closed bound, whether there is a cursor, its window's end and key; integers big-endian.
    pub fn encoded(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.watermark.to_be_bytes());
        if let Some(cursor) = &self.cursor {
            bytes.extend_from_slice(&cursor.end.to_be_bytes());
            bytes.extend_from_slice(&cursor.key);
        }
        bytes
    }

    /// # Errors
    /// Damaged, or written by a newer version.
    pub fn decoded(bytes: &[u8]) -> Result<Self> {
        let what = "bookkeeping of windows";
        let damaged = || Error::Damaged {
            what,
            message: "it is cut short".to_owned(),
        };
        let (version, bytes) = bytes.split_first().ok_or_else(damaged)?;
        if *version != VERSION {
            return Err(Error::TooNew {
                what,
                found: *version,
                known: VERSION,
            });
        }
        let (watermark, bytes) = bytes.split_first_chunk().ok_or_else(damaged)?;
        let watermark = i64::from_be_bytes(*watermark);
        let cursor = if bytes.is_empty() {
            None
        } else {
            let (end, key) = bytes.split_first_chunk().ok_or_else(damaged)?;
            Some(Cursor {
                end: i64::from_be_bytes(*end),
                key: key.to_vec(),
            })
        };
        Ok(Progress {
            watermark,
            cursor,
            fired: i64::MIN,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_bookkeeping_is_pinned() {
        let mut progress = Progress::default();
        progress.advance(258);
        assert_eq!(progress.encoded(), [1, 0, 0, 0, 0, 0, 0, 1, 2]);
        progress.emit_to(200, b"k");
        assert_eq!(
            progress.encoded(),
            [1, 0, 0, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 200, b'k']
        );
        assert_eq!(Progress::decoded(&progress.encoded()).unwrap(), progress);
    }

    #[test]
    fn cut_or_newer_bookkeeping_is_refused() {
        let whole = {
            let mut p = Progress::default();
            p.emit_to(5, b"");
            p.encoded()
        };
        for len in [0, 1, 8, 10, 16] {
            assert!(Progress::decoded(&whole[..len]).is_err(), "{len} bytes");
        }
        assert!(matches!(
            Progress::decoded(&[2; 9]),
            Err(Error::TooNew { found: 2, .. })
        ));
    }
}
