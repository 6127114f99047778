//! Strings as JSON writes them.
//!
//! Invariant: quotes, backslashes and control characters are escaped and nothing else is; UTF-8 goes out as it came.

use super::reader::{stops, word};

/// Appends `text`, which is UTF-8, in double quotes.
pub(crate) fn write_string(text: &[u8], out: &mut Vec<u8>) {
    write_part(text, 0, text.len(), out);
}

/// Appends `bytes[start..end]`, which is UTF-8, in double quotes. What lies around it is read, and not written.
#[inline(always)]
pub(super) fn write_part(bytes: &[u8], start: usize, end: usize, out: &mut Vec<u8>) {
    out.push(b'"');
    let mut at = start;
    while at < end {
        let word = word(bytes, at);
        let clean = (stops(word).trailing_zeros() / 8) as usize;
        let kept = clean.min(end - at);
        let len = out.len() + kept;
        out.extend_from_slice(&word.to_le_bytes());
        out.truncate(len);
        at += kept;
        if clean < 8 && at < end {
            write_escape(bytes[at], out);
            at += 1;
        }
    }
    out.push(b'"');
}

#[cold]
fn write_escape(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        8 => b'b',
        12 => b'f',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[(byte >> 4) as usize]);
            out.push(HEX[(byte & 15) as usize]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}
