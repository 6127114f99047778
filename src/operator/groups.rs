//! Group keys and the hash index over them: what the sending and the receiving half of an aggregation share.
//!
//! Invariant: groups are numbered in the order in which their keys were first seen; an index entry is 8 bytes and
//! names a group by its number, so that a look-up in a large table touches few cache lines. Neither of them ever
//! copies what is large in order to grow. The hash is for this process only: it is never written anywhere.

mod index;
mod keys;
#[cfg(test)]
mod tests;

pub(super) use index::{Index, tag};
pub(super) use keys::Keys;
