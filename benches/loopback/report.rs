//! The table, the targets, and the files in `results/`.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::{fs, io};

use serde_json::json;

use super::chart;
use super::figures::{Figures, Row, Sample};
use super::plan::Plan;
use super::scene::Kind;

/// Targets that hold for every workload; see benches/README.md.
const REQUESTS_RATIO_MIN: f64 = 1.0;
const P99_RATIO_MAX: f64 = 1.0;
/// Target for a GET or SET at pipeline 1.
const CALLS_MAX: f64 = 2.6;
const CALLS_WORKLOAD: &str = "64 B, pipeline 1";
/// Target for 10,000 idle clients.
const IDLE_BYTES_MAX: u64 = 40 << 20;
const BYTES_PER_CLIENT_MAX: f64 = 2048.0;

/// Prints the table and writes `results/loopback.{txt,json,svg}`.
///
/// # Errors
/// The files cannot be written.
pub fn publish(plan: &Plan, figures: &Figures) -> io::Result<()> {
    let text = [heading(plan), table(plan, figures), targets(plan, figures)].concat();
    println!("\n{text}");
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("results");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("loopback.txt"), &text)?;
    let mut raw = figures.raw();
    raw["machine"] = json!(machine());
    raw["is_quick"] = json!(plan.is_quick);
    fs::write(folder.join("loopback.json"), format!("{raw:#}\n"))?;
    fs::write(
        folder.join("loopback.svg"),
        chart::draw(plan, figures, &machine()),
    )?;
    println!("written to results/loopback.txt, .json (every round) and .svg");
    Ok(())
}

fn heading(plan: &Plan) -> String {
    let mut text = format!(
        "{}\n{} rounds, interleaved; medians; 50 clients; one worker thread each\n\
         keyway: before a cluster of 3 primaries and 3 replicas; the others: before one redis\n",
        machine(),
        plan.rounds,
    );
    if plan.is_quick {
        text.push_str("QUICK RUN: shows that everything works; the figures mean little\n");
    }
    text
}

/// Processor, count of CPUs, server version, load: what a reader must know to compare.
fn machine() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let name = |line: &str| {
        Some(
            line.strip_prefix("model name")?
                .split_once(": ")?
                .1
                .to_owned(),
        )
    };
    let processor = processors.lines().find_map(name);
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let version = Command::new("redis-server").arg("--version").output();
    let version = version.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let version = version.unwrap_or_default();
    let word = |word: &str| word.strip_prefix("v=").map(str::to_owned);
    let redis = version.split_whitespace().find_map(word);
    format!(
        "{}, {cpus} CPUs, redis {}",
        processor.unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        redis.unwrap_or_default(),
    )
}

fn table(plan: &Plan, figures: &Figures) -> String {
    let mut text = String::new();
    for row in &figures.rows {
        let _ = writeln!(
            text,
            "\n{:<24}{:>10} {:>8} {:>8}   {:>8} {:>6} {:>7} {:>10} {:>9}",
            row.workload.name,
            "requests/s",
            "p50 ms",
            "p99 ms",
            "CPU us",
            "user",
            "system",
            "x nutcr.",
            "syscalls",
        );
        for kind in plan.subjects() {
            text.push_str(&line(row, kind));
        }
    }
    let _ = writeln!(
        text,
        "\n{:<24}{:>10} {:>17} {:>16}",
        "resident memory", "fresh", "idle clients", "bytes per client"
    );
    for (kind, memory) in &figures.memory {
        let mebibytes = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
        let _ = writeln!(
            text,
            "  {:<22}{:>10} {:>6}: {:>9} {:>16.0}",
            kind.name(),
            mebibytes(memory.fresh_bytes),
            memory.clients,
            mebibytes(memory.with_clients_bytes),
            memory.bytes_per_client(),
        );
    }
    text
}

fn line(row: &Row, kind: Kind) -> String {
    let median = |figure: fn(&Sample) -> f64| row.median(kind, figure);
    let mut text = format!(
        "  {:<22}{:>10.0} {:>8.2} {:>8.2}",
        kind.name(),
        median(|sample| sample.requests_per_second),
        median(|sample| sample.p50_ms),
        median(|sample| sample.p99_ms),
    );
    if kind.is_proxy() {
        let calls = row.calls(kind).map_or(0.0, |calls| calls.all);
        let _ = write!(
            text,
            "   {:>8.2} {:>6.2} {:>7.2} {:>10.2} {calls:>9.2}",
            median(Sample::cpu_us),
            median(|sample| sample.user_us),
            median(|sample| sample.system_us),
            row.ratio(kind, Kind::Nutcracker, Sample::cpu_us),
        );
    }
    text.push('\n');
    text
}

/// One line for each target: what was measured, the limit, and by how much it is missed.
fn targets(plan: &Plan, figures: &Figures) -> String {
    if plan.is_quick {
        return "\ntargets are not judged in a quick run\n".to_owned();
    }
    let mut text = String::from("\ntargets\n");
    let mut met = (0, 0);
    let mut check = |what: &str, name: &str, value: f64, limit: f64, at_most: bool| {
        let is_met = if at_most {
            value <= limit
        } else {
            value >= limit
        };
        let missed_by = (value / limit - 1.0).abs() * 100.0;
        let verdict = if is_met {
            "met".to_owned()
        } else {
            format!("missed by {missed_by:.0}%")
        };
        let bound = if at_most { "at most" } else { "at least" };
        let _ = writeln!(
            text,
            "  {name:<24}{what:<26}{value:>8.2}  {bound:<8} {limit:>7.2}  {verdict}"
        );
        met = (met.0 + usize::from(is_met), met.1 + 1);
    };
    for row in &figures.rows {
        let (name, keyway) = (row.workload.name, Kind::Keyway);
        let ratio = |against: Kind, figure: fn(&Sample) -> f64| row.ratio(keyway, against, figure);
        let cpu = ratio(Kind::Nutcracker, Sample::cpu_us);
        check(
            "CPU / nutcracker's",
            name,
            cpu,
            row.workload.cpu_ratio_max,
            true,
        );
        let requests = ratio(Kind::Nutcracker, |sample| sample.requests_per_second);
        check(
            "requests/s / nutcracker's",
            name,
            requests,
            REQUESTS_RATIO_MIN,
            false,
        );
        let p99 = ratio(Kind::Haproxy, |sample| sample.p99_ms);
        check("p99 / haproxy's", name, p99, P99_RATIO_MAX, true);
        if name.ends_with(CALLS_WORKLOAD) {
            let calls = row.calls(keyway).map_or(0.0, |calls| calls.all);
            check("system calls per request", name, calls, CALLS_MAX, true);
        }
    }
    if let Some(memory) = figures.memory.get(&Kind::Keyway) {
        let mebibytes = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let name = format!("{} idle clients", memory.clients);
        let (all, each) = (
            mebibytes(memory.with_clients_bytes),
            memory.bytes_per_client(),
        );
        check("MiB in all", &name, all, mebibytes(IDLE_BYTES_MAX), true);
        check("bytes per client", &name, each, BYTES_PER_CLIENT_MAX, true);
    }
    let _ = writeln!(text, "  {} of {} met", met.0, met.1);
    text
}
