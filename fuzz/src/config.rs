//! A configuration file: it is taken, or refused with a message that does not tell a secret.

use keyway::config::{Environment, resolve_text};

/// One input.
pub fn run(data: &[u8]) {
    // Names of files would be opened.
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if text.contains("_file") {
        return;
    }
    match resolve_text(Some(("keyway.toml", text)), &Environment::of(&[])) {
        Ok(effective) => drop(effective),
        Err(errors) => assert!(!errors.to_string().is_empty()),
    }
}
