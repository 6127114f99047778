//! JSON: records to rows ([`JsonDecoder`]) and rows to records ([`JsonEncoder`]).
//!
//! Invariant: strict in what is taken (RFC 8259, one object per record, no duplicate keys, no detour through floats
//! for integers and decimals), and never anything but JSON in what is written. This module knows neither Kafka nor SQL.

mod cells;
mod column;
mod decode;
mod encode;
mod escape;
mod layout;
mod number;
mod reader;
mod skip;
mod time;

pub use decode::{JsonDecoder, schema_of};
pub use encode::JsonEncoder;

pub(super) use escape::write_string;
