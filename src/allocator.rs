//! The allocator of the process, and how much freed memory it keeps for the next use. The only place that names mimalloc.
//!
//! Invariant: settings here change cost and size, never results. mimalloc serves the C libraries too (feature `override`): librdkafka on
//! glibc's malloc costs several times the CPU.

use libmimalloc_sys::{mi_collect, mi_option_get, mi_option_set, mi_option_t};
pub use mimalloc::MiMalloc as Allocator;
use std::ffi::c_long;

/// `mi_option_purge_delay` of mimalloc 3, which the bindings do not name: after how many milliseconds freed pages go back to the system.
const PURGE_DELAY: mi_option_t = 15;
/// mimalloc's default. Another value is somebody's wish (`MIMALLOC_PURGE_DELAY`), or this is another option.
const KEEP: c_long = 1000;
const GIVE_BACK: c_long = 10;

/// Memory comes in small pages. mimalloc asks for huge ones, and a heap of many threads that each use a little of their pages is then
/// several times as large in memory: an idle worker takes 58 MB in place of 127 MB. To be called once, early.
pub fn without_huge_pages() {
    #[cfg(target_os = "linux")]
    // SAFETY: sets a flag of this process; a kernel that does not know it refuses, and nothing is lost.
    unsafe {
        libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0);
    }
}

/// Whether freed pages go back to the system at once, which costs their zeroing when they are used again (a third of the CPU of the
/// fastest topologies), or are kept for a second.
pub fn give_back(at_once: bool) {
    let (from, to) = if at_once {
        (KEEP, GIVE_BACK)
    } else {
        (GIVE_BACK, KEEP)
    };
    // SAFETY: the options are plain numbers that mimalloc reads whenever it needs them.
    unsafe {
        if mi_option_get(PURGE_DELAY) == from {
            mi_option_set(PURGE_DELAY, to);
        }
    }
}

/// Gives back now what was freed and is being kept.
pub fn collect() {
    // SAFETY: may be called by any thread at any time.
    unsafe { mi_collect(true) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_one_that_is_meant() {
        // SAFETY: reads a number.
        let now = || unsafe { mi_option_get(PURGE_DELAY) };
        assert_eq!(now(), KEEP, "mimalloc has renumbered its options");
        give_back(true);
        assert_eq!(now(), GIVE_BACK);
        give_back(false);
        assert_eq!(now(), KEEP);
    }
}
