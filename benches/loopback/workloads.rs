//! What redis-benchmark sends.

/// How many clients send.
pub const CLIENTS: usize = 50;
/// Keys `small:000000000000` and on, with a value of [`SMALL_BYTES`].
pub const SMALL_KEYS: usize = 100_000;
/// Keys `large:000000000000` and on, with a value of [`LARGE_BYTES`].
pub const LARGE_KEYS: usize = 1_000;
/// Length of a small value.
pub const SMALL_BYTES: usize = 64;
/// Length of a large value.
pub const LARGE_BYTES: usize = 16 * 1024;

/// One row of the table.
#[derive(Clone, Copy)]
pub struct Workload {
    /// What readers call it.
    pub name: &'static str,
    what: What,
    /// Requests that a client sends before it waits for their replies.
    pub pipeline: usize,
    /// Requests of one run: one to two seconds' worth, so that hundredths of a second of CPU time
    /// are fine enough a measure.
    pub requests: u64,
    /// The target: Keyway's CPU time per request at most so many times nutcracker's.
    pub cpu_ratio_max: f64,
}

#[derive(Clone, Copy)]
enum What {
    Get,
    Set,
    GetLarge,
    SetLarge,
    MgetTen,
    MsetTen,
}

const fn row(
    name: &'static str,
    what: What,
    pipeline: usize,
    requests: u64,
    cpu_ratio_max: f64,
) -> Workload {
    Workload {
        name,
        what,
        pipeline,
        requests,
        cpu_ratio_max,
    }
}

/// All of them. Keys are random, so that they lie in every slot.
#[rustfmt::skip]
pub const WORKLOADS: &[Workload] = &[
    row("GET 64 B, pipeline 1",   What::Get,       1,  80_000, 1.0),
    row("SET 64 B, pipeline 1",   What::Set,       1,  80_000, 1.0),
    row("GET 64 B, pipeline 16",  What::Get,      16, 600_000, 0.8),
    row("SET 64 B, pipeline 16",  What::Set,      16, 600_000, 0.8),
    row("GET 16 KiB, pipeline 1", What::GetLarge,  1,  40_000, 1.0),
    row("SET 16 KiB, pipeline 1", What::SetLarge,  1,  40_000, 1.0),
    row("MGET of 10 keys",        What::MgetTen,   1,  40_000, 1.2),
    row("MSET of 10 keys",        What::MsetTen,   1,  40_000, 1.2),
];

impl Workload {
    /// The command, with redis-benchmark's `__rand_int__` where the key's number stands.
    pub fn command(&self) -> Vec<String> {
        let mut words = vec![self.what.name().to_owned()];
        let keys = match self.what {
            What::MgetTen | What::MsetTen => 10,
            What::Get | What::Set | What::GetLarge | What::SetLarge => 1,
        };
        for _ in 0..keys {
            match self.what {
                What::Get | What::MgetTen => words.push("small:__rand_int__".to_owned()),
                What::GetLarge => words.push("large:__rand_int__".to_owned()),
                What::Set | What::MsetTen => {
                    words.push("small:__rand_int__".to_owned());
                    words.push(value(SMALL_BYTES));
                }
                What::SetLarge => {
                    words.push("large:__rand_int__".to_owned());
                    words.push(value(LARGE_BYTES));
                }
            }
        }
        words
    }

    /// How many different keys there are.
    pub fn keyspace(&self) -> usize {
        match self.what {
            What::Get | What::Set | What::MgetTen | What::MsetTen => SMALL_KEYS,
            What::GetLarge | What::SetLarge => LARGE_KEYS,
        }
    }
}

impl What {
    fn name(self) -> &'static str {
        match self {
            What::Get | What::GetLarge => "GET",
            What::Set | What::SetLarge => "SET",
            What::MgetTen => "MGET",
            What::MsetTen => "MSET",
        }
    }
}

/// The key redis-benchmark writes for this number.
pub fn key(prefix: &str, number: usize) -> String {
    format!("{prefix}:{number:012}")
}

/// A value of this length.
pub fn value(bytes: usize) -> String {
    "v".repeat(bytes)
}
