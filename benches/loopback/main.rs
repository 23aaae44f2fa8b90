//! What does Keyway cost beside the alternatives, on one machine and in one run?
//!
//! `make bench` starts a cluster of six nodes and one plain Redis, puts Keyway before the former,
//! nutcracker and haproxy before the latter, and drives each with redis-benchmark. Everything is on
//! loopback at the same priority, and ends with this program. benches/README.md says how to read
//! the figures.
//!
//! 1. [`scene`]: the servers, filled with keys, and the subjects before them.
//! 2. Memory of each subject, in a process of its own: fresh, then with idle clients ([`idle`]).
//! 3. Rounds of [`workloads`], subject by subject, so that a disturbance meets all alike.
//! 4. One more round under strace, for counts only: strace slows what it watches.
//! 5. [`report`]: a table with the targets in the terminal, the same and raw figures in `results/`.

#[path = "../../tests/support/mod.rs"]
mod support;

mod chart;
mod figures;
mod idle;
mod measure;
mod plan;
mod report;
mod scene;
mod workloads;

use std::process::ExitCode;

use figures::{Figures, Memory};
use plan::Plan;
use scene::{Scene, Subject};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, addr, count] = &arguments[..]
        && word == idle::WORD
    {
        return idle::hold(addr, count);
    }
    plan::raise_file_limit();
    let plan = Plan::from_environment();
    let figures = measure_all(&plan);
    match report::publish(&plan, &figures) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot write the results: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure_all(plan: &Plan) -> Figures {
    eprintln!("starting a cluster of six nodes and a plain redis");
    let scene = Scene::start(plan.program.clone(), plan.baseline.clone());
    let mut figures = Figures::new(plan);
    for kind in plan.subjects() {
        if kind.is_proxy() {
            eprintln!("memory: {}", kind.name());
            figures.add_memory(kind, memory(&scene, kind, plan));
        }
    }

    let subjects: Vec<Subject> = plan
        .subjects()
        .map(|kind| scene.start_subject(kind))
        .collect();
    for round in 0..plan.rounds {
        for workload in &plan.workloads {
            eprintln!("round {} of {}: {}", round + 1, plan.rounds, workload.name);
            for subject in &subjects {
                figures.add_sample(
                    workload,
                    subject.kind,
                    measure::timed(workload, subject, plan),
                );
            }
        }
    }
    for workload in &plan.workloads {
        eprintln!("system calls: {}", workload.name);
        for subject in subjects.iter().filter(|subject| subject.kind.is_proxy()) {
            figures.add_calls(
                workload,
                subject.kind,
                measure::calls(workload, subject, plan),
            );
        }
    }
    figures
}

/// Memory is measured on a process that has served nothing yet.
fn memory(scene: &Scene, kind: scene::Kind, plan: &Plan) -> Memory {
    let subject = scene.start_subject(kind);
    measure::settle();
    let fresh_bytes = subject.resident_bytes();
    let clients = plan.idle_clients.min(kind.clients_max());
    let idle = idle::Clients::start(subject.addr, clients);
    measure::settle();
    let with_clients_bytes = subject.resident_bytes();
    drop(idle);
    Memory {
        fresh_bytes,
        with_clients_bytes,
        clients,
    }
}
