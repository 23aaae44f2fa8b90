//! The figures of a run, raw and as medians.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::plan::Plan;
use super::scene::Kind;
use super::workloads::Workload;

/// One timed run.
#[derive(Clone, Copy)]
pub struct Sample {
    /// As the load generator saw it.
    pub requests_per_second: f64,
    /// Half of the replies came within this time, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 replies came within this time, in milliseconds.
    pub p99_ms: f64,
    /// The proxy's CPU time per request in user space, in microseconds.
    pub user_us: f64,
    /// The proxy's CPU time per request in the kernel, in microseconds.
    pub system_us: f64,
}

impl Sample {
    /// The proxy's CPU time per request, in microseconds.
    pub fn cpu_us(&self) -> f64 {
        self.user_us + self.system_us
    }
}

/// System calls per request.
pub struct Calls {
    /// All together.
    pub all: f64,
    /// By name, the most frequent first.
    pub by_name: Vec<(String, f64)>,
}

impl Calls {
    /// Reads what `strace -c` wrote: `% time, seconds, usecs/call, calls, [errors,] syscall`.
    pub fn from_strace(table: &str, requests: u64) -> Calls {
        let mut by_name: Vec<(String, f64)> = table
            .lines()
            .filter_map(|line| {
                let fields: Vec<&str> = line.split_whitespace().collect();
                let (calls, name) = (fields.get(3)?.parse::<u64>().ok()?, fields.last()?);
                (*name != "total").then(|| ((*name).to_owned(), calls as f64 / requests as f64))
            })
            .collect();
        by_name.sort_by(|one, other| other.1.total_cmp(&one.1));
        Calls {
            all: by_name.iter().map(|(_, calls)| calls).sum(),
            by_name,
        }
    }
}

/// Resident memory of a process.
pub struct Memory {
    /// Just started.
    pub fresh_bytes: u64,
    /// While this many clients are connected and silent.
    pub with_clients_bytes: u64,
    /// How many.
    pub clients: usize,
}

impl Memory {
    /// What each client adds.
    pub fn bytes_per_client(&self) -> f64 {
        let added = self.with_clients_bytes as f64 - self.fresh_bytes as f64;
        added / self.clients as f64
    }
}

/// All runs of one workload.
pub struct Row {
    /// Which.
    pub workload: Workload,
    samples: BTreeMap<Kind, Vec<Sample>>,
    calls: BTreeMap<Kind, Calls>,
}

impl Row {
    /// The median over the rounds.
    pub fn median(&self, kind: Kind, figure: impl Fn(&Sample) -> f64) -> f64 {
        let samples = self.samples.get(&kind).into_iter().flatten();
        median(samples.map(figure).collect())
    }

    /// How many times `against`'s figure this one's is: the median of each round's ratio, so that
    /// what disturbed a round counts for both.
    pub fn ratio(&self, kind: Kind, against: Kind, figure: impl Fn(&Sample) -> f64) -> f64 {
        let of = |kind: Kind| self.samples.get(&kind).into_iter().flatten();
        let pairs = of(kind).zip(of(against));
        median(
            pairs
                .map(|(one, other)| figure(one) / figure(other))
                .collect(),
        )
    }

    /// System calls per request.
    pub fn calls(&self, kind: Kind) -> Option<&Calls> {
        self.calls.get(&kind)
    }
}

/// Everything one run of the bench found.
pub struct Figures {
    /// In the order of the plan.
    pub rows: Vec<Row>,
    /// Of the proxies.
    pub memory: BTreeMap<Kind, Memory>,
}

impl Figures {
    /// Room for the plan's workloads.
    pub fn new(plan: &Plan) -> Figures {
        let row = |workload: &Workload| Row {
            workload: *workload,
            samples: BTreeMap::new(),
            calls: BTreeMap::new(),
        };
        Figures {
            rows: plan.workloads.iter().map(row).collect(),
            memory: BTreeMap::new(),
        }
    }

    /// Takes one timed run.
    pub fn add_sample(&mut self, workload: &Workload, kind: Kind, sample: Sample) {
        self.row(workload)
            .samples
            .entry(kind)
            .or_default()
            .push(sample);
    }

    /// Takes one run's system calls.
    pub fn add_calls(&mut self, workload: &Workload, kind: Kind, calls: Calls) {
        self.row(workload).calls.insert(kind, calls);
    }

    /// Takes one subject's memory.
    pub fn add_memory(&mut self, kind: Kind, memory: Memory) {
        self.memory.insert(kind, memory);
    }

    fn row(&mut self, workload: &Workload) -> &mut Row {
        let row = self
            .rows
            .iter_mut()
            .find(|row| row.workload.name == workload.name);
        row.expect("there is a row for each workload of the plan")
    }

    /// Every single run, for whoever wants to compute something else.
    pub fn raw(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let samples = row.samples.iter().map(|(kind, samples)| {
                let rounds: Vec<Value> = samples.iter().map(raw_sample).collect();
                (kind.name().to_owned(), Value::from(rounds))
            });
            let calls = row.calls.iter().map(|(kind, calls)| {
                let by_name = calls.by_name.iter().cloned();
                let by_name: BTreeMap<String, f64> = by_name.collect();
                (kind.name().to_owned(), json!(by_name))
            });
            json!({
                "workload": row.workload.name,
                "requests_per_run": row.workload.requests,
                "rounds": Value::Object(samples.collect()),
                "system_calls_per_request": Value::Object(calls.collect()),
            })
        });
        let memory = self.memory.iter().map(|(kind, memory)| {
            let value = json!({
                "fresh_bytes": memory.fresh_bytes,
                "with_clients_bytes": memory.with_clients_bytes,
                "clients": memory.clients,
            });
            (kind.name().to_owned(), value)
        });
        json!({
            "workloads": rows.collect::<Vec<Value>>(),
            "memory": Value::Object(memory.collect()),
        })
    }
}

fn raw_sample(sample: &Sample) -> Value {
    json!({
        "requests_per_second": sample.requests_per_second,
        "p50_ms": sample.p50_ms,
        "p99_ms": sample.p99_ms,
        "cpu_user_us": sample.user_us,
        "cpu_system_us": sample.system_us,
    })
}

/// 0 of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        len if len % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}
