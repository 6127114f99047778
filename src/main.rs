//! The `millstream` binary: arguments in, exit code out. Everything else stands in the library.
//!
//! Invariant: mimalloc serves the C libraries too (feature `override`): librdkafka on glibc's malloc costs several
//! times the CPU. SIGPIPE stays ignored, as TLS connections need it; `cli` treats a closed stdout as the end.

use clap::Parser;
use millstream::cli::{Cli, logging, say};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // clap prints usage errors itself and exits with code 2.
    let cli = Cli::parse();
    if let Err(error) = logging::start() {
        say(&format!("error: {error}"));
        return ExitCode::from(2);
    }
    ExitCode::from(cli.execute())
}
