//! The `millstream` binary: arguments in, exit code out. Everything else stands in the library.
//!
//! Invariant: SIGPIPE stays ignored, as TLS connections need it; `cli` treats a closed stdout as the end.

use clap::Parser;
use millstream::allocator::{self, Allocator};
use millstream::cli::{Cli, logging, say};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: Allocator = Allocator;

fn main() -> ExitCode {
    allocator::without_huge_pages();
    // clap prints usage errors itself and exits with code 2.
    let cli = Cli::parse();
    if let Err(error) = logging::start() {
        say(&format!("error: {error}"));
        return ExitCode::from(2);
    }
    ExitCode::from(cli.execute())
}
