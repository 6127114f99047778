//! Keys of window state in stores and changelogs: the window's end, then the group key.
//!
//! Invariant: the order of the bytes is the order of (window end, group key), and all rows of a window share a prefix
//! that no row of another window has: firing is a scan of one prefix, closing a window clears it.

/// Length of the part that all rows of a window share.
pub const PREFIX_LEN: usize = 8;

/// What the keys of all rows of the window begin with. `window_end` is exclusive, in ms.
pub fn window_prefix(window_end: i64) -> [u8; PREFIX_LEN] {
    // The flipped sign bit puts negative ends before positive ones.
    ((window_end as u64) ^ (1 << 63)).to_be_bytes()
}

/// Key of the row of a group in a window.
pub fn window_key(window_end: i64, group_key: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(PREFIX_LEN + group_key.len());
    put_window_key(window_end, group_key, &mut key);
    key
}

/// Appends the key of the row of a group in a window.
pub fn put_window_key(window_end: i64, group_key: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(&window_prefix(window_end));
    out.extend_from_slice(group_key);
}

/// The window's end and the group key. `None` where the key is too short to be a window key.
pub fn split_window_key(key: &[u8]) -> Option<(i64, &[u8])> {
    let (end, group_key) = key.split_first_chunk::<PREFIX_LEN>()?;
    Some(((u64::from_be_bytes(*end) ^ (1 << 63)) as i64, group_key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::hex;
    use expect_test::expect_file;
    use proptest::prelude::*;

    #[test]
    fn golden_bytes_stay_what_they_are() {
        let mut text = String::new();
        for end in [i64::MIN, -1, 0, 15_000, 1_767_225_600_000, i64::MAX] {
            text += &hex::line(
                &format!("window end {end}, key 'k'"),
                &window_key(end, b"k"),
            );
        }
        expect_file!["golden/window_keys.v1.txt"].assert_eq(&text);
    }

    #[test]
    fn a_key_shorter_than_a_window_end_is_none() {
        assert_eq!(split_window_key(&[0; 7]), None);
        assert_eq!(split_window_key(&window_prefix(-5)), Some((-5, &[][..])));
    }

    proptest! {
        #[test]
        fn order_is_window_end_then_group_key(
            a in (any::<i64>(), prop::collection::vec(any::<u8>(), 0..5)),
            b in (any::<i64>(), prop::collection::vec(any::<u8>(), 0..5)),
        ) {
            let (x, y) = (window_key(a.0, &a.1), window_key(b.0, &b.1));
            prop_assert_eq!(x.cmp(&y), a.cmp(&b));
            prop_assert_eq!(split_window_key(&x), Some((a.0, &a.1[..])));
        }
    }
}
