//! The `keyway` program.

use std::process::ExitCode;

use clap::Parser;
use keyway::control::cli::Cli;

/// Measured against the system's allocator; see ARCHITECTURE.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    keyway::control::run(&Cli::parse())
}
