//! Decompression of what a record batch holds: gzip, snappy, lz4, zstd, or nothing at all.
//!
//! Invariant: a call appends whole, valid data of at most `limit` bytes, or leaves the output as it was. Memory grows with what was
//! really decompressed: a length that the data only claims is believed up to [`BELIEVED`] bytes or [`RATIO`] times the compressed size.
//! Checksums inside lz4 frames are not looked at: the batch's CRC covers them. Dictionaries are not known: Kafka has none.

#[cfg(test)]
pub(super) mod compress;
mod lz4;
mod snappy;
#[cfg(test)]
mod tests;

use flate2::bufread::MultiGzDecoder;
use std::fmt;
use std::io::Read;
use zstd::zstd_safe::{self, DCtx, InBuffer, OutBuffer, ResetDirective};

/// A claimed size is believed up to so many bytes,
const BELIEVED: usize = 1 << 20;
/// and up to so many times the compressed size.
const RATIO: usize = 32;
/// How far records usually shrink: the room that is made ready where the data do not say their size.
const USUAL_RATIO: usize = 4;
/// Room for zstd to write to in one step: one of its blocks.
const STEP: usize = 128 << 10;

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Codec {
    /// The codec that the attributes of a batch name, or `None` for a number that is not given out.
    pub fn of(attributes: i16) -> Option<Codec> {
        match attributes & 7 {
            0 => Some(Codec::None),
            1 => Some(Codec::Gzip),
            2 => Some(Codec::Snappy),
            3 => Some(Codec::Lz4),
            4 => Some(Codec::Zstd),
            _ => None,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Codec::None => "uncompressed",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        })
    }
}

/// Why data cannot be decompressed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// Not what the codec writes, or cut short.
    #[error("{codec} data: {what}")]
    Damaged { codec: Codec, what: String },
    /// More bytes than are allowed; nobody knows how many there would have been.
    #[error("more than {limit} bytes when decompressed")]
    TooLarge { limit: usize },
}

/// Decompresses batches one after another. It keeps zstd's context, whose making is dearer than a small batch.
#[derive(Default)]
pub struct Decoder {
    zstd: Option<DCtx<'static>>,
}

impl Decoder {
    /// Appends the decompressed bytes to `out`, at most `limit` of them. On an error `out` is as it was.
    pub fn decompress(
        &mut self,
        codec: Codec,
        compressed: &[u8],
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), CodecError> {
        let start = out.len();
        let done = match codec {
            Codec::None => none(compressed, &mut Output::new(out, limit)),
            Codec::Gzip => gzip(compressed, &mut Output::new(out, limit)),
            Codec::Snappy => snappy::decompress(compressed, &mut Output::new(out, limit)),
            Codec::Lz4 => lz4::decompress(compressed, &mut Output::new(out, limit)),
            Codec::Zstd => self.zstd(compressed, &mut Output::new(out, limit)),
        };
        done.map_err(|stop| {
            out.truncate(start);
            match stop {
                Stop::Damaged(what) => CodecError::Damaged { codec, what },
                Stop::TooLarge => CodecError::TooLarge { limit },
            }
        })
    }

    fn zstd(&mut self, compressed: &[u8], out: &mut Output<'_>) -> Result<(), Stop> {
        let context = match &mut self.zstd {
            Some(context) => context,
            none => none.insert(DCtx::try_create().ok_or_else(|| damaged("no memory for zstd"))?),
        };
        // An earlier batch may have ended in an error, in the middle of a frame.
        context
            .reset(ResetDirective::SessionOnly)
            .map_err(zstd_error)?;
        let claimed = zstd_safe::get_frame_content_size(compressed).ok().flatten();
        out.make_ready(claimed, compressed.len());
        let mut input = InBuffer::around(compressed);
        loop {
            // Where the ready room was enough there may be nothing left to write: then a full buffer is no reason to grow it.
            if out.bytes.len() == out.bytes.capacity() {
                out.bytes.reserve(STEP);
            }
            let (read, written) = (input.pos(), out.bytes.len());
            let mut output = OutBuffer::around_pos(out.bytes, written);
            let missing = context
                .decompress_stream(&mut output, &mut input)
                .map_err(zstd_error)?;
            out.check()?;
            if missing == 0 && input.pos() == compressed.len() {
                return Ok(());
            }
            if input.pos() == read && out.bytes.len() == written {
                return Err(damaged("it ends too early"));
            }
        }
    }
}

/// Why a codec gave up.
enum Stop {
    Damaged(String),
    TooLarge,
}

fn damaged(what: impl ToString) -> Stop {
    Stop::Damaged(what.to_string())
}

fn zstd_error(code: usize) -> Stop {
    damaged(zstd_safe::get_error_name(code))
}

/// The output of one call. A codec may write past the limit by one of its blocks before it asks [`Output::check`].
struct Output<'a> {
    bytes: &'a mut Vec<u8>,
    start: usize,
    limit: usize,
}

impl<'a> Output<'a> {
    fn new(bytes: &'a mut Vec<u8>, limit: usize) -> Self {
        let start = bytes.len();
        Output {
            bytes,
            start,
            limit,
        }
    }

    fn check(&self) -> Result<(), Stop> {
        self.fits(0)
    }

    /// Whether `more` bytes stay below the limit.
    fn fits(&self, more: usize) -> Result<(), Stop> {
        let written = self.bytes.len().saturating_sub(self.start);
        if more > self.limit.saturating_sub(written) || written > self.limit {
            return Err(Stop::TooLarge);
        }
        Ok(())
    }

    /// Makes room for what is to come, as far as the claim may be believed.
    fn make_ready(&mut self, claimed: Option<u64>, compressed: usize) {
        let guess = compressed.saturating_mul(USUAL_RATIO);
        let claimed = claimed.map_or(guess, |bytes| usize::try_from(bytes).unwrap_or(guess));
        let believed = BELIEVED.max(compressed.saturating_mul(RATIO));
        self.bytes.reserve(claimed.min(believed).min(self.limit));
    }
}

fn none(bytes: &[u8], out: &mut Output<'_>) -> Result<(), Stop> {
    out.fits(bytes.len())?;
    out.bytes.extend_from_slice(bytes);
    Ok(())
}

fn gzip(compressed: &[u8], out: &mut Output<'_>) -> Result<(), Stop> {
    out.make_ready(None, compressed.len());
    read_all(MultiGzDecoder::new(compressed), out)
}

/// Reads to the end, or one byte past the limit.
fn read_all(reader: impl Read, out: &mut Output<'_>) -> Result<(), Stop> {
    let most = (out.limit as u64).saturating_add(1);
    let read = reader.take(most).read_to_end(out.bytes);
    out.check()?;
    read.map(drop).map_err(damaged)
}
