//! `WATCH GET MULTI SET EXEC` by several clients on the same keys: each version of a key is committed once
//! at most, by one of them, on each history of its node. The nodes' logs show that (`audit.rs`).

use std::time::{Duration, Instant};

use super::super::line::{Answer, Fate, Line, command};
use super::super::marker::Marker;
use super::super::stage::{Kind, Stage};
use super::super::support::Value;
use super::Finished;

const PACE: Duration = Duration::from_millis(4);

/// Runs until the load ends; the keys are shared by all watchers.
pub fn run(stage: &Stage, number: u64, keys: &[u32]) -> Finished {
    let mut random = fastrand::Rng::with_seed(stage.seed ^ number << 32);
    let mut line = Line::new(stage, number % 2 == 1);
    let mut writes = Vec::new();
    // Attempts are counted so that no two of them write the same.
    let mut attempt = number as u32;
    while line.is_open() && !stage.is_over() {
        let key = keys[random.usize(..keys.len())];
        let name = name(key);
        let answers = line.batch(&[command(&["WATCH", &name]), command(&["GET", &name])]);
        let is_watching = answers[0] == Answer::Reply(Value::Simple("OK".to_owned()));
        let version = version_in(&mut line, key, &answers[1]);
        if let Some(version) = version.filter(|_| is_watching) {
            attempt += 100;
            let marker = Marker {
                key,
                version: version + 1,
                attempt,
            };
            let fate = commit(&mut line, &name, marker);
            if fate == Fate::Done {
                stage.progress(Kind::Watchers);
            }
            writes.push((marker, fate));
        } else {
            line.ask(command(&["UNWATCH"]));
        }
        stage.pause(PACE);
    }
    Finished {
        tally: line.tally,
        registers: Vec::new(),
        writes,
    }
}

/// The name of a watched key.
pub fn name(key: u32) -> String {
    format!("chaos:watched:{key}")
}

fn version_in(line: &mut Line<'_>, key: u32, answer: &Answer) -> Option<u32> {
    match answer {
        Answer::Reply(Value::NilBulk | Value::Null) => Some(0),
        Answer::Reply(reply) if !reply.is_error() => {
            let marker = reply.bytes().and_then(Marker::parse);
            let marker = marker.filter(|marker| marker.key == key);
            if marker.is_none() {
                line.tally.wrong(format!("a watched key holds {reply}"));
            }
            marker.map(|marker| marker.version)
        }
        _ => None,
    }
}

fn commit(line: &mut Line<'_>, name: &str, marker: Marker) -> Fate {
    let block = [
        command(&["MULTI"]),
        command(&["SET", name, &marker.text()]),
        command(&["EXEC"]),
    ];
    line.send(&block);
    let asked = Instant::now();
    for expected in ["+OK", "+QUEUED"] {
        if let Answer::Reply(reply) = line.read(asked)
            && !reply.is_error()
            && reply.to_string() != expected
        {
            line.tally
                .wrong(format!("{reply} in a transaction, not {expected}"));
        }
    }
    let answer = line.read(asked);
    match &answer {
        // Aborted: somebody else wrote the key, or the watching connection is gone.
        Answer::Reply(Value::NilArray | Value::Null) => {
            line.tally.aborted += 1;
            return Fate::Refused;
        }
        Answer::Reply(reply) if !reply.is_error() && reply.to_string() != "[+OK]" => {
            line.tally.wrong(format!("EXEC of one SET got {reply}"));
        }
        _ => {}
    }
    let fate = Fate::of(&answer);
    line.tally.transactions += u64::from(fate == Fate::Done);
    fate
}
