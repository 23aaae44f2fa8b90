//! What to measure and how often, from the environment.

use std::env;
use std::path::PathBuf;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::scene::Kind;
use super::workloads::{WORKLOADS, Workload};

/// How often each workload is run against each subject.
const ROUNDS: usize = 5;
/// Clients that connect and stay silent, for the memory figures.
const IDLE_CLIENTS: usize = 10_000;
/// A quick run makes this part of the requests; its figures mean little.
const QUICK_DIVISOR: u64 = 40;

/// The plan of one run.
pub struct Plan {
    /// `BENCH_QUICK=1`: whether this is only to see that everything works.
    pub is_quick: bool,
    /// `BENCH_ROUNDS`
    pub rounds: usize,
    /// `BENCH_ONLY`: those whose name contains this text.
    pub workloads: Vec<Workload>,
    /// `BENCH_PROGRAM`: the Keyway to measure; cargo's own build by default.
    pub program: PathBuf,
    /// `BENCH_BASELINE`: another Keyway program, measured beside this one.
    pub baseline: Option<PathBuf>,
    /// How many idle clients hold connections while memory is measured.
    pub idle_clients: usize,
}

impl Plan {
    /// Reads the `BENCH_` variables; panics on one that makes no sense.
    pub fn from_environment() -> Plan {
        let is_quick = text("BENCH_QUICK").is_some_and(|value| value != "0");
        let rounds = text("BENCH_ROUNDS").map(|value| match value.parse() {
            Ok(rounds) if rounds > 0 => rounds,
            _ => panic!("BENCH_ROUNDS is a number of rounds, not '{value}'"),
        });
        let only = text("BENCH_ONLY").unwrap_or_default();
        let workloads: Vec<Workload> = WORKLOADS
            .iter()
            .filter(|workload| workload.name.contains(&only))
            .copied()
            .collect();
        assert!(!workloads.is_empty(), "no workload is called '{only}'");
        let program = text("BENCH_PROGRAM").map_or_else(
            || {
                if cfg!(debug_assertions) {
                    panic!("a debug build would be measured: `make bench`");
                }
                PathBuf::from(env!("CARGO_BIN_EXE_keyway"))
            },
            PathBuf::from,
        );
        let baseline = text("BENCH_BASELINE").map(PathBuf::from);
        for program in baseline.iter().chain([&program]) {
            assert!(program.is_file(), "no program at {}", program.display());
        }
        Plan {
            is_quick,
            rounds: rounds.unwrap_or(if is_quick { 1 } else { ROUNDS }),
            workloads,
            program,
            baseline,
            idle_clients: if is_quick { 100 } else { IDLE_CLIENTS },
        }
    }

    /// Everything that is measured, in the order of the tables.
    pub fn subjects(&self) -> impl Iterator<Item = Kind> + use<> {
        let baseline = self.baseline.is_some().then_some(Kind::Baseline);
        [Kind::Direct, Kind::Nutcracker, Kind::Haproxy, Kind::Alone]
            .into_iter()
            .chain(baseline)
            .chain([Kind::Keyway])
    }

    /// How many requests one run of this many makes.
    pub fn requests(&self, full: u64) -> u64 {
        if self.is_quick {
            full / QUICK_DIVISOR
        } else {
            full
        }
    }
}

/// A variable that is set and not empty.
fn text(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// Ten thousand clients need as many files; what this process starts inherits the limit.
pub fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        eprintln!("the limit of open files stays as it is: {error}");
    }
}

/// How many files a process may have open.
pub fn file_limit() -> usize {
    let current = getrlimit(Resource::Nofile).current;
    current.map_or(usize::MAX, |limit| limit as usize)
}
