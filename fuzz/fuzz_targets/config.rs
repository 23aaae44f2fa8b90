//! A configuration file: it is taken, or refused with a message that does not tell a secret.
#![no_main]

use keyway::config::{Environment, resolve_text};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    // Names of files would be opened.
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.contains("_file") {
        return;
    }
    match resolve_text(Some(("keyway.toml", text)), &Environment::of(&[])) {
        Ok(effective) => drop(effective),
        Err(errors) => assert!(!errors.to_string().is_empty()),
    }
});
