//! Producers that push elements, each once, and consumers that wait for them in every way there is. Each
//! element may be given to one consumer; some consumers leave while they wait.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::super::line::{Answer, Fate, Line, command};
use super::super::marker::Marker;
use super::super::stage::{Kind, Stage};
use super::super::support::Value;
use super::Finished;

const PACE: Duration = Duration::from_millis(4);
/// A producer that is so far ahead waits.
const AHEAD_MAX: i64 = 200;

/// The name of a queue.
pub fn name(queue: u32) -> String {
    format!("chaos:queue:{queue}")
}

/// Pushes to its own queue until the load ends.
pub fn produce(stage: &Stage, queue: u32) -> Finished {
    let mut line = Line::new(stage, queue % 2 == 1);
    let mut writes = Vec::new();
    for version in 1.. {
        if !line.is_open() || stage.is_over() {
            break;
        }
        let marker = Marker {
            key: queue,
            version,
            attempt: 0,
        };
        let answer = line.ask(command(&["RPUSH", &name(queue), &marker.text()]));
        writes.push((marker, Fate::of(&answer)));
        let mut pace = PACE;
        match answer {
            Answer::Reply(Value::Integer(length @ 1..)) if length > AHEAD_MAX => pace *= 20,
            Answer::Reply(reply) if !reply.is_error() && !matches!(reply, Value::Integer(1..)) => {
                line.tally.wrong(format!("RPUSH got {reply}"));
            }
            _ => {}
        }
        stage.pause(pace);
    }
    Finished {
        tally: line.tally,
        registers: Vec::new(),
        writes,
    }
}

/// What a consumer got.
#[derive(Default)]
pub struct Taken {
    /// Elements, and when they came.
    pub elements: Vec<(Marker, Instant)>,
    /// For each queue: requests that may have taken an element without telling.
    pub unknown: BTreeMap<u32, u64>,
}

/// Takes from the queues, one after another, until the load ends.
pub fn consume(stage: &Stage, number: u64, queues: &[u32]) -> (Finished, Taken) {
    let mut random = fastrand::Rng::with_seed(stage.seed ^ number << 40);
    let mut line = Line::new(stage, number % 2 == 1);
    let mut taken = Taken::default();
    while line.is_open() && !stage.is_over() {
        let queue = queues[random.usize(..queues.len())];
        let name = name(queue);
        let request = match random.u8(..8) {
            0..4 => command(&["BLPOP", &name, "1"]),
            4 => command(&["BRPOP", &name, "1"]),
            5 => command(&["BLMPOP", "1", "1", &name, "LEFT"]),
            _ => command(&["LPOP", &name]),
        };
        let is_leaving = random.u8(..40) == 0;
        line.send(&[request]);
        if is_leaving {
            line.leave();
            *taken.unknown.entry(queue).or_default() += 1;
            continue;
        }
        let answer = line.read(Instant::now());
        match element_in(&answer, queue) {
            Ok(Some(marker)) => {
                taken.elements.push((marker, Instant::now()));
                line.tally.delivered += 1;
                stage.progress(Kind::Queues);
            }
            Ok(None) if Fate::of(&answer).is_unknown() => {
                *taken.unknown.entry(queue).or_default() += 1;
            }
            Ok(None) => {}
            Err(reply) => line.tally.wrong(format!("a queue's consumer got {reply}")),
        }
    }
    let finished = Finished {
        tally: line.tally,
        ..Finished::default()
    };
    (finished, taken)
}

/// The element in a reply; an error for what is no reply to it.
fn element_in(answer: &Answer, queue: u32) -> Result<Option<Marker>, String> {
    let reply = match answer {
        Answer::Reply(reply) if !reply.is_error() => reply,
        _ => return Ok(None),
    };
    let element = match reply {
        Value::NilBulk | Value::NilArray | Value::Null => return Ok(None),
        Value::Bulk(_) => Some(reply),
        // Key and element, or key and elements.
        Value::Array(items) => match items.last() {
            Some(Value::Array(elements)) => elements.last(),
            other => other,
        },
        _ => None,
    };
    let marker = element.and_then(Value::bytes).and_then(Marker::parse);
    match marker {
        Some(marker) if marker.key == queue => Ok(Some(marker)),
        _ => Err(reply.to_string()),
    }
}
