//! Values of some megabytes.

use std::time::Duration;

use super::super::line::{Answer, Fate, Line};
use super::super::register::Register;
use super::super::stage::{Kind, Stage};
use super::Finished;

const KEYS: usize = 3;
/// Values have this length, up to nearly twice.
const BYTES: usize = 1_100_000;
/// Every value written stays in the nodes' logs, so there must not be too many.
const PACE: Duration = Duration::from_millis(250);

/// Runs until the load ends.
pub fn run(stage: &Stage, number: u64) -> Finished {
    let registers = (0..KEYS).map(|_| {
        let number = stage.new_key();
        Register::new(number, format!("chaos:{number}"), BYTES)
    });
    let mut registers: Vec<_> = registers.collect();
    let mut random = fastrand::Rng::with_seed(stage.seed ^ number << 16);
    let mut line = Line::new(stage, number % 2 == 1);
    while line.is_open() && !stage.is_over() {
        let register = &mut registers[random.usize(..KEYS)];
        let name = register.name.clone().into_bytes();
        if random.u8(..4) == 0 {
            let version = register.next();
            let value = register.value(version);
            line.tally.large_bytes += value.len() as u64;
            let answer = line.ask(vec![b"SET".to_vec(), name, value]);
            let fate = Fate::of(&answer);
            register.told(version, fate);
            if fate == Fate::Done {
                stage.progress(Kind::Large);
            }
            stage.pause(PACE);
        } else if let Answer::Reply(reply) = line.ask(vec![b"GET".to_vec(), name])
            && !reply.is_error()
        {
            line.tally.large_bytes += reply.bytes().map_or(0, <[u8]>::len) as u64;
            if register.judge(&reply, &mut line.tally) {
                stage.progress(Kind::Large);
            }
        }
        stage.pause(PACE / 5);
    }
    Finished {
        tally: line.tally,
        registers,
        writes: Vec::new(),
    }
}
