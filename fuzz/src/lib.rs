//! What is fuzzed: each module takes any bytes, and panics when what it promises does not hold.
//!
//! `fuzz_targets/` gives them to libFuzzer. `tests/fuzzing.rs` gives them the inputs in `seeds/`, and
//! changed ones, with any compiler.

pub mod addresses;
pub mod commands;
pub mod config;
pub mod proxy_header;
pub mod replies;
pub mod requests;
pub mod session;
pub mod users;
pub mod views;
