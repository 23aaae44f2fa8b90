//! Publishers of numbered messages, and subscribers that know which comes next.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::line::{Answer, Fate, Line, command};
use super::super::marker::Marker;
use super::super::stage::{Kind, Stage};
use super::super::support::Value;
use super::Finished;

const PACE: Duration = Duration::from_millis(10);
/// How long a subscriber listens before it looks whether the load is over.
const LISTEN: Duration = Duration::from_millis(200);
/// A message that comes again comes soon.
const REMEMBERED: usize = 1_000;

/// The name of a channel.
fn name(channel: u32) -> String {
    format!("chaos:channel:{channel}")
}

/// Publishes on its own channel until the load ends.
pub fn publish(stage: &Stage, channel: u32) -> Finished {
    let mut line = Line::new(stage, false);
    // A message of unknown outcome may still be on its way when the next one is published, on another
    // connection: the order begins anew.
    let mut attempt = 0;
    for version in 1.. {
        if !line.is_open() || stage.is_over() {
            break;
        }
        let marker = Marker {
            key: channel,
            version,
            attempt,
        };
        let answer = line.ask(command(&["PUBLISH", &name(channel), &marker.text()]));
        attempt += u32::from(Fate::of(&answer).is_unknown());
        if let Answer::Reply(reply) = answer
            && !reply.is_error()
            && !matches!(reply, Value::Integer(0..))
        {
            line.tally.wrong(format!("PUBLISH got {reply}"));
        }
        stage.pause(PACE);
    }
    Finished {
        tally: line.tally,
        ..Finished::default()
    }
}

/// Hears all channels until the load ends.
pub fn subscribe(stage: &Stage, channels: &[u32], is_resp3: bool) -> Finished {
    let mut line = Line::new(stage, is_resp3);
    'connected: while line.is_open() && !stage.is_over() {
        let names: Vec<String> = channels.iter().map(|&channel| name(channel)).collect();
        let mut words = vec!["SUBSCRIBE"];
        words.extend(names.iter().map(String::as_str));
        line.send(&[command(&words)]);
        let mut heard = vec![BTreeSet::new(); channels.len()];
        while !stage.is_over() {
            if let Some(value) = line.listen(LISTEN) {
                hear(&mut line, channels, &mut heard, &value);
            } else if !line.is_connected() {
                continue 'connected;
            }
        }
    }
    Finished {
        tally: line.tally,
        ..Finished::default()
    }
}

fn hear(line: &mut Line<'_>, channels: &[u32], heard: &mut [BTreeSet<Marker>], value: &Value) {
    let (Value::Array(items) | Value::Push(items)) = value else {
        line.tally.wrong(format!("a subscriber got {value}"));
        return;
    };
    let words: Vec<&[u8]> = items.iter().filter_map(Value::bytes).collect();
    match words[..] {
        [b"subscribe", _] => return,
        [b"message", channel, payload] => {
            let marker = Marker::parse(payload);
            let of = |marker: &Marker| channels.iter().position(|&one| one == marker.key);
            let place = marker.as_ref().and_then(of);
            if let (Some(marker), Some(place)) = (marker, place)
                && channel == name(marker.key).as_bytes()
            {
                line.tally.messages += 1;
                count(line, &mut heard[place], marker);
                return;
            }
        }
        _ => {}
    }
    line.tally.wrong(format!("a subscriber got {value}"));
}

fn count(line: &mut Line<'_>, heard: &mut BTreeSet<Marker>, marker: Marker) {
    let last = heard.last().copied();
    let is_new = heard.insert(marker);
    match last {
        Some(_) if !is_new => line.tally.twice += 1,
        Some(last) if marker.version < last.version => {
            line.tally.missed = line.tally.missed.saturating_sub(1);
            if marker.attempt == last.attempt {
                line.tally.overtaken += 1;
                line.tally
                    .note(format!("{marker:?} was heard after {last:?}"));
            }
        }
        Some(last) => {
            line.tally.missed += u64::from(marker.version - last.version - 1);
            line.stage.progress(Kind::Channels);
        }
        None => line.stage.progress(Kind::Channels),
    }
    if heard.len() > REMEMBERED {
        heard.pop_first();
    }
}
