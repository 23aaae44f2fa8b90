//! The fuzz targets without a fuzzer: small inputs that one found worth keeping, and changed ones.
//!
//! A fuzzer is guided by what the code does and finds more (`make fuzz`); this needs no C++ compiler
//! and sees at once that something once found is back. `KEYWAY_FUZZ_SECONDS` (2) is the time for each
//! target, `KEYWAY_TEST_SEED` (1) says how inputs are changed; a failure prints the input.

#[path = "../fuzz/src/lib.rs"]
#[allow(clippy::expect_used)]
mod targets;

use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::time::{Duration, Instant};

use fastrand::Rng;

/// Inputs do not grow beyond this, in bytes.
const LEN_MAX: usize = 4096;

fn seconds() -> u64 {
    let given = std::env::var("KEYWAY_FUZZ_SECONDS").ok();
    given.map_or(2, |text| {
        text.parse().expect("KEYWAY_FUZZ_SECONDS is a number")
    })
}

/// The inputs that are kept for a target.
fn kept(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    assert!(files.len() > 3, "{} has few inputs", folder.display());
    let inputs = files
        .iter()
        .map(|file| std::fs::read(file).expect("a readable file"));
    inputs.collect()
}

/// A few small changes: bytes turned, cut out, repeated, or taken from another input.
fn change(input: &mut Vec<u8>, others: &[Vec<u8>], rng: &mut Rng) {
    for _ in 0..rng.usize(1..=4) {
        let at = rng.usize(0..=input.len());
        let end = rng.usize(at..=input.len()).min(at + 64);
        match rng.u8(0..6) {
            0 if at < input.len() => input[at] ^= 1 << rng.u8(0..8),
            1 if at < input.len() => {
                input[at] = *rng.choice(b"0123456789\r\n$*-+:>{} \x00\xff").expect("one")
            }
            2 => drop(input.drain(at..end)),
            3 => {
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
            4 => input.insert(at, rng.u8(..)),
            _ => {
                let other = rng.choice(others).expect("inputs are kept");
                let from = rng.usize(0..=other.len());
                let to = rng.usize(from..=other.len()).min(from + 256);
                input.splice(at..end, other[from..to].iter().copied());
            }
        }
    }
    input.truncate(LEN_MAX);
}

fn try_out(target: &str, run: fn(&[u8]), input: &[u8]) {
    if let Err(panic) = panic::catch_unwind(AssertUnwindSafe(|| run(input))) {
        eprintln!("fuzz target {target}, input: {}", input.escape_ascii());
        panic::resume_unwind(panic);
    }
}

fn fuzz(target: &str, run: fn(&[u8])) {
    let seed = std::env::var("KEYWAY_TEST_SEED").ok();
    let seed = seed.map_or(1, |text| {
        text.parse().expect("KEYWAY_TEST_SEED is a number")
    });
    println!("KEYWAY_TEST_SEED={seed}");
    let mut rng = Rng::with_seed(seed);
    let mut inputs = kept(target);
    for input in &inputs {
        try_out(target, run, input);
    }
    let until = Instant::now() + Duration::from_secs(seconds());
    let mut count = 0u64;
    while Instant::now() < until {
        let mut input = rng.choice(&inputs).expect("inputs are kept").clone();
        change(&mut input, &inputs, &mut rng);
        try_out(target, run, &input);
        count += 1;
        // Changes add up.
        if rng.u8(..) == 0 {
            let place = rng.usize(0..inputs.len());
            inputs[place] = input;
        }
    }
    println!("{target}: {count} inputs");
    assert!(count > 0);
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            fuzz(stringify!($name), targets::$name::run);
        })*
    };
}

targets! { requests replies views commands config addresses proxy_header users session }
