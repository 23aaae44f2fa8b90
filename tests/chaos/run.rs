//! One run: a cluster, Keyway before it, the load, faults until the time is over, and the reckoning.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::aof;
use super::audit::Audit;
use super::crowd::Crowd;
use super::faults::Patient;
use super::line::{Answer, Fate, Line, command};
use super::load::probes::Probes;
use super::load::{Finished, queues};
use super::marker::Marker;
use super::pops;
use super::queues_check::{self, Known};
use super::register::shorten;
use super::report::Report;
use super::schedule::{Fault, Schedule};
use super::stage::{REQUEST_TIMEOUT, Stage};
use super::support::{Cluster, ClusterOptions, Flavor, Keyway, Value};

/// Right replies of each kind of load between two faults.
const CALM_REPLIES: u64 = 10;

/// Runs it, and prints and gives the report.
pub fn run(flavor: Flavor, seed: u64, time: Duration) -> Report {
    let cluster = Cluster::start_with(ClusterOptions {
        config: aof::node_config(),
        ..ClusterOptions::of(flavor)
    });
    let keyway = Keyway::before(&cluster.seeds())
        .set("proxy.workers", "2")
        .set(
            "timeouts.request",
            &format!("\"{}s\"", REQUEST_TIMEOUT.as_secs()),
        )
        .set("timeouts.drain", "\"3s\"")
        .start();
    let stage = Arc::new(Stage::new(keyway.addr(), seed));
    let crowd = Crowd::start(&stage);
    let probes = Probes::start(keyway.addr());
    let pause = |time: Duration| stage.pause(time);
    let mut schedule = Schedule::new(seed);
    let mut patient = Patient::new(cluster, &keyway, seed, &pause);
    let mut report = Report::new(flavor, seed);
    let began = Instant::now();
    stage.wait_for_progress(CALM_REPLIES);
    let mut lossy = Vec::new();
    let (mut verdicts, mut looked_at) = (patient.verdicts(), began);
    while began.elapsed() < time {
        let fault = schedule.next();
        probes.begin();
        let from = Instant::now();
        let whom = patient.suffer(fault);
        stage.wait_for_progress(CALM_REPLIES);
        let gap = probes.longest_gap();
        println!(
            "{:6.1} s  {}: {whom}; interruption {gap:.1?}, all well after {:.1?}",
            began.elapsed().as_secs_f64(),
            fault.name(),
            from.elapsed(),
        );
        let verdicts_before = std::mem::replace(&mut verdicts, patient.verdicts());
        let is_unasked = verdicts > verdicts_before && !fault.is_lossy();
        report.unasked += usize::from(is_unasked);
        if fault.is_lossy() || is_unasked {
            lossy.push((looked_at, Instant::now()));
        }
        looked_at = Instant::now();
        report.faults.entry(fault).or_default().push(gap);
    }
    drop(probes);
    report.ran = began.elapsed();
    stage.end();
    let queues = crowd.queues.clone();
    let (mut finished, taken) = crowd.leave();
    let again = Again {
        cluster: &patient.cluster,
        stage: &Stage::new(keyway.addr(), seed),
    };
    let left = again.read_all(&mut finished, &queues, &mut report);
    let mut writes = Vec::new();
    for one in finished {
        for register in &one.registers {
            writes.extend(register.fates());
        }
        writes.extend(one.writes);
        report.tally.add(one.tally);
    }
    report.audit = Audit::of(&patient.cluster, &writes);
    let pushes = writes.into_iter();
    let pushes: HashMap<Marker, Fate> = pushes
        .filter(|(marker, _)| queues.contains(&marker.key))
        .collect();
    let taken: Vec<_> = taken.into_iter().filter(Crowd::is_consumer).collect();
    let cuts = [Fault::KillConnections, Fault::MoveSlots, Fault::HalfMove];
    let cuts = cuts.map(|fault| report.faults.get(&fault).map_or(0, Vec::len) as u64 * 10);
    report.elements = queues_check::judge(
        &taken,
        &Known {
            writes: &pushes,
            left: &left,
            pops: &pops::of(&patient.cluster, &queues),
            lossy: &lossy,
            cuts: cuts.iter().sum(),
        },
    );
    report.log_faults = log_faults(&keyway);
    report
}

/// Reads every key once more, when all is calm.
struct Again<'a> {
    cluster: &'a Cluster,
    /// One of its own: that of the load is over.
    stage: &'a Stage,
}

impl Again<'_> {
    /// Through Keyway, and at the node that owns it now, which must say the same. Returns what is left in the
    /// queues.
    fn read_all(
        &self,
        finished: &mut [Finished],
        queues: &[u32],
        report: &mut Report,
    ) -> Vec<Marker> {
        let mut line = Line::new(self.stage, false);
        assert!(line.is_open(), "Keyway lets one more client in");
        for register in finished.iter_mut().flat_map(|one| &mut one.registers) {
            let name = register.name.clone();
            let mut ask = command(&["GET", &name]);
            let mut answer = line.ask(ask.clone());
            if let Answer::Reply(reply) = &answer
                && reply.to_string().starts_with("-WRONGTYPE")
            {
                ask = command(&["HGET", &name, "field"]);
                answer = line.ask(ask.clone());
            }
            let direct = self.cluster.client_of_key(&name).call_args(&ask);
            match answer {
                Answer::Reply(reply) if !reply.is_error() => {
                    register.judge(&reply, &mut report.tally);
                    if reply != direct {
                        let (one, other) = (shorten(&reply), shorten(&direct));
                        let text = format!("{name}: {one} through Keyway, {other} at its node");
                        report.tally.wrong(text);
                    }
                }
                other => report
                    .tally
                    .wrong(format!("{name} when all is calm: {other:?}")),
            }
        }
        let mut left = Vec::new();
        for &queue in queues {
            let answer = line.ask(command(&["LRANGE", &queues::name(queue), "0", "-1"]));
            match answer {
                Answer::Reply(Value::Array(items)) => {
                    let markers = items.iter().filter_map(Value::bytes);
                    left.extend(markers.filter_map(Marker::parse));
                }
                other => report
                    .tally
                    .wrong(format!("queue {queue} when all is calm: {other:?}")),
            }
        }
        left
    }
}

/// What must never stand in Keyway's log.
fn log_faults(keyway: &Keyway) -> Vec<String> {
    let log = keyway.log();
    let lines = log.lines().filter(|line| line.contains("panicked"));
    lines.map(str::to_owned).collect()
}

/// Interruptions by fault.
pub type Interruptions = BTreeMap<Fault, Vec<Duration>>;
