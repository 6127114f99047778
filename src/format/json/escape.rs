//! Strings as JSON writes them.
//!
//! Invariant: quotes, backslashes and control characters are escaped and nothing else is; UTF-8 goes out as it came.

use super::reader::{stops, word};

/// Appends `text`, which is UTF-8, in double quotes.
#[inline]
pub(crate) fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut copied = 0;
    let mut at = 0;
    while at < text.len() {
        let stops = stops(word(text, at));
        if stops == 0 {
            at += 8;
            continue;
        }
        at += (stops.trailing_zeros() / 8) as usize;
        // Behind the end the word holds zeros, which look like control characters.
        let Some(byte) = text.get(at) else { break };
        out.extend_from_slice(&text[copied..at]);
        write_escape(*byte, out);
        at += 1;
        copied = at;
    }
    out.extend_from_slice(&text[copied..]);
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
