//! Bytes as text for golden files: one named line per case. Tests only.

use std::fmt::Write;

/// `name: 01 02 ..`, with a line break at the end.
pub fn line(name: &str, bytes: &[u8]) -> String {
    let mut text = format!("{name}:");
    for byte in bytes {
        let _ = write!(text, " {byte:02x}");
    }
    text.push('\n');
    text
}

/// The bytes of a named line.
pub fn parse(text: &str, name: &str) -> Vec<u8> {
    let line = text
        .lines()
        .find_map(|l| l.strip_prefix(&format!("{name}:")))
        .expect("a line of that name");
    line.split_whitespace()
        .map(|b| u8::from_str_radix(b, 16).expect("hex"))
        .collect()
}
