//! One run of redis-benchmark against one subject, and what the subject spent on it.

use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;

use super::figures::{Calls, Sample};
use super::plan::Plan;
use super::scene::Subject;
use super::support::eventually;
use super::support::process::{Folder, Process};
use super::workloads::{CLIENTS, Workload};

/// How long one run may take.
const RUN_DEADLINE: Duration = Duration::from_secs(300);
/// Requests of a run under strace, which slows a proxy tenfold.
const TRACED_REQUESTS: u64 = 16_000;

/// Latency, requests per second and CPU time.
pub fn timed(workload: &Workload, subject: &Subject, plan: &Plan) -> Sample {
    let requests = plan.requests(workload.requests);
    let (user, system) = subject.cpu_time();
    let load = load(workload, subject, requests);
    let (user_after, system_after) = subject.cpu_time();
    let per_request = |spent: Duration| spent.as_secs_f64() * 1e6 / requests as f64;
    Sample {
        requests_per_second: load.requests_per_second,
        p50_ms: load.p50_ms,
        p99_ms: load.p99_ms,
        user_us: per_request(user_after - user),
        system_us: per_request(system_after - system),
    }
}

/// System calls per request, by name.
pub fn calls(workload: &Workload, subject: &Subject, plan: &Plan) -> Calls {
    let requests = plan.requests(TRACED_REQUESTS * workload.pipeline.min(4) as u64);
    let pid = subject.pid().expect("only proxies are traced");
    let folder = Folder::new("strace");
    let (counts, log) = (folder.path().join("counts"), folder.path().join("log"));
    let (pid, file) = (pid.to_string(), counts.display().to_string());
    let mut strace = start(&["strace", "-c", "-f", "-p", &pid, "-o", &file], &log);
    eventually("strace is attached", Duration::from_secs(10), || {
        if let Some(status) = strace.poll_exit() {
            panic!("strace ended with {status}: {}", text(&log));
        }
        text(&log).contains("attached")
    });
    load(workload, subject, requests);
    strace.signal(Signal::INT);
    strace.wait(Duration::from_secs(10));
    Calls::from_strace(&text(&counts), requests)
}

/// Lets the kernel and the subject come to rest.
#[expect(
    clippy::disallowed_methods,
    reason = "nothing tells that a process is at rest"
)]
pub fn settle() {
    std::thread::sleep(Duration::from_millis(500));
}

/// What redis-benchmark says.
struct Load {
    requests_per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
}

fn load(workload: &Workload, subject: &Subject, requests: u64) -> Load {
    let folder = Folder::new("redis-benchmark");
    let log = folder.path().join("log");
    let (host, port) = (
        subject.addr.ip().to_string(),
        subject.addr.port().to_string(),
    );
    let (clients, requests) = (CLIENTS.to_string(), requests.to_string());
    let (pipeline, keys) = (
        workload.pipeline.to_string(),
        workload.keyspace().to_string(),
    );
    let mut program = vec![
        "redis-benchmark",
        "--csv",
        "-h",
        &host,
        "-p",
        &port,
        "-c",
        &clients, //
        "-n",
        &requests,
        "-P",
        &pipeline,
        "-r",
        &keys,
    ];
    let command = workload.command();
    program.extend(command.iter().map(String::as_str));
    let status = start(&program, &log).wait(RUN_DEADLINE);
    let output = text(&log);
    let load = parse(&output).filter(|_| status.success());
    load.unwrap_or_else(|| {
        let (name, subject) = (workload.name, subject.kind.name());
        panic!(
            "redis-benchmark, {name}, {subject}: {status}\n{}",
            end(&output)
        )
    })
}

/// The figures of `--csv`'s one line; none when the run saw an error. The command in the first field
/// may hold anything, so fields are counted from the end:
/// `"name","rps","avg","min","p50","p95","p99","max"`.
fn parse(output: &str) -> Option<Load> {
    if output.contains("Error") {
        return None;
    }
    let line = output.lines().rev().find(|line| line.starts_with('"'))?;
    let fields: Vec<&str> = line
        .rsplitn(8, ',')
        .map(|field| field.trim_matches('"'))
        .collect();
    let number = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some(Load {
        requests_per_second: number(6)?,
        p50_ms: number(3)?,
        p99_ms: number(1)?,
    })
}

fn start(program: &[&str], log: &Path) -> Process {
    let words: Vec<String> = program.iter().map(|word| (*word).to_owned()).collect();
    Process::start(&words, log).unwrap_or_else(|error| panic!("{}: {error}", program[0]))
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// The end of a long output: a large value may stand before it.
fn end(output: &str) -> &str {
    let cut = output.len().saturating_sub(2_000);
    output.get(cut..).unwrap_or(output)
}
