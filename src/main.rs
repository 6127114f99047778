//! The `millstream` binary: arguments in, exit code out. Everything else stands in the library.
//!
//! Invariant: mimalloc serves the C libraries too (feature `override`): librdkafka on glibc's malloc costs several
//! times the CPU. It gets no huge pages. SIGPIPE stays ignored, as TLS connections need it; `cli` treats a closed stdout as the end.

use clap::Parser;
use millstream::cli::{Cli, logging, say};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Memory comes in small pages. mimalloc asks for huge ones, and a heap of many threads that each use a little of their pages is then
/// several times as large in memory: an idle worker takes 58 MB in place of 127 MB.
fn without_huge_pages() {
    #[cfg(target_os = "linux")]
    // SAFETY: sets a flag of this process; a kernel that does not know it refuses, and nothing is lost.
    unsafe {
        libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0);
    }
}

fn main() -> ExitCode {
    without_huge_pages();
    // clap prints usage errors itself and exits with code 2.
    let cli = Cli::parse();
    if let Err(error) = logging::start() {
        say(&format!("error: {error}"));
        return ExitCode::from(2);
    }
    ExitCode::from(cli.execute())
}
