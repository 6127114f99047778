//! The value of a reject record: what could not be processed, why, and where it came from.
//!
//! Invariant: always one JSON object, whatever bytes the origin holds, and of bounded size; the origin (topic,
//! partition, offset) survives every cut. Which topic it is written to is not known here.

#[cfg(test)]
mod tests;

use super::json::write_string;
use crate::batch::Cause;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Bytes kept of an original value, of an original key and of each text, unless set otherwise.
pub const VALUE_LIMIT: usize = 64 * 1024;

/// A record or row that could not be processed. What is not known is `None`.
#[derive(Debug, Clone, Copy)]
pub struct Reject<'a> {
    pub cause: Cause,
    /// The source or node at which it failed.
    pub node: &'a str,
    pub topic: Option<&'a str>,
    pub partition: Option<i32>,
    pub offset: Option<i64>,
    /// Kafka's timestamp of the record, ms since 1970.
    pub timestamp: Option<i64>,
    /// What was wrong, for people.
    pub message: &'a str,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    /// For a folded range of rows: which, and how many.
    pub range: Option<Range>,
    /// For a row that a window or join made: what is known of it.
    pub derived: Option<&'a str>,
}

/// Rows of one partition that were folded together before they were refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub rows: i64,
    pub first_offset: i64,
    pub last_offset: i64,
}

impl Reject<'_> {
    /// Appends the record's value. Key, value and each text are cut to `limit` bytes (before base64), and
    /// `truncated` says whether key or value were. `rows`, `first_offset` and `last_offset` are there only for a range, `derived`
    /// only for a derived row; every other field always is, as null where it is not known.
    pub fn encode(&self, limit: usize, out: &mut Vec<u8>) {
        out.push(b'{');
        text("cause", Some(self.cause.as_str()), limit, out);
        text("node", Some(self.node), limit, out);
        text("topic", self.topic, limit, out);
        integer("partition", self.partition.map(i64::from), out);
        integer("offset", self.offset, out);
        integer("timestamp", self.timestamp, out);
        text("message", Some(self.message), limit, out);
        let key_cut = bytes("key_base64", self.key, limit, out);
        let value_cut = bytes("value_base64", self.value, limit, out);
        if let Some(range) = self.range {
            integer("rows", Some(range.rows), out);
            integer("first_offset", Some(range.first_offset), out);
            integer("last_offset", Some(range.last_offset), out);
        }
        if let Some(derived) = self.derived {
            text("derived", Some(derived), limit, out);
        }
        out.extend_from_slice(if key_cut || value_cut {
            b"\"truncated\":true}"
        } else {
            b"\"truncated\":false}"
        });
    }
}

/// Every field ends with a comma: `truncated` is always the last one.
fn name(name: &str, out: &mut Vec<u8>) {
    write_string(name.as_bytes(), out);
    out.push(b':');
}

fn text(field: &str, value: Option<&str>, limit: usize, out: &mut Vec<u8>) {
    name(field, out);
    match value {
        Some(value) => write_string(&value.as_bytes()[..value.floor_char_boundary(limit)], out),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b',');
}

fn integer(field: &str, value: Option<i64>, out: &mut Vec<u8>) {
    name(field, out);
    match value {
        Some(value) => out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes()),
        None => out.extend_from_slice(b"null"),
    }
    out.push(b',');
}

/// Writes the first `limit` bytes in base64; true if there were more.
fn bytes(field: &str, value: Option<&[u8]>, limit: usize, out: &mut Vec<u8>) -> bool {
    name(field, out);
    let Some(value) = value else {
        out.extend_from_slice(b"null,");
        return false;
    };
    let kept = &value[..value.len().min(limit)];
    out.push(b'"');
    out.extend_from_slice(STANDARD.encode(kept).as_bytes());
    out.extend_from_slice(b"\",");
    kept.len() < value.len()
}
