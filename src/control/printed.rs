//! What the command line prints: mistakes, the settings, the answer of a health check.
//!
//! `println!` and `eprintln!` would panic where nothing can be written. The status says all that matters, even where
//! nobody reads the words.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::config::{Effective, Environment, admin_port, resolve};

/// Tells what is wrong, on standard error.
pub(super) fn mistakes(error: &dyn std::error::Error) {
    let mut told = io::stderr().lock();
    for line in error.to_string().lines() {
        let _ = writeln!(told, "keyway: {line}");
    }
}

/// Prints the settings.
///
/// # Errors
/// They cannot be printed. (Who reads the beginning only, `| head`, has seen enough.)
pub(super) fn settings(effective: &Effective) -> io::Result<()> {
    match print(&effective.to_string()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// Asks whoever runs at the admin port. A configuration that is wrong, or not the one that the asked Keyway runs with
/// (a container's health check is not given its arguments), does not make it unhealthy.
pub(super) fn health(file: Option<&Path>, environment: &Environment) -> ExitCode {
    let (admin, is_tls) = admin_port(file, environment);
    let (line, code) = match super::health::check(admin, is_tls) {
        Ok(line) => (line, ExitCode::SUCCESS),
        Err(line) => {
            // This may be why.
            if let Err(wrong) = resolve(file, environment) {
                mistakes(&wrong);
            }
            (line, ExitCode::FAILURE)
        }
    };
    let _ = print(&format!("{line}\n"));
    code
}

fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
