//! `MULTI SET a SET b EXEC` on two keys of one slot: whoever reads both sees the same version in both.

use std::time::Duration;

use super::super::line::{Answer, Fate, Line, command};
use super::super::register::Register;
use super::super::stage::{Kind, Stage};
use super::super::support::Value;
use super::Finished;

const PAIRS: usize = 4;
const BYTES: usize = 24;
const PACE: Duration = Duration::from_millis(3);

/// Runs until the load ends.
pub fn run(stage: &Stage, number: u64) -> Finished {
    let pair = |_| {
        let (first, second) = (stage.new_key(), stage.new_key());
        let tag = format!("{{chaos:{first}}}");
        [
            Register::new(first, format!("{tag}:a"), BYTES),
            Register::new(second, format!("{tag}:b"), BYTES),
        ]
    };
    let mut pairs: Vec<[Register; 2]> = (0..PAIRS).map(pair).collect();
    let mut random = fastrand::Rng::with_seed(stage.seed ^ number << 24);
    let mut line = Line::new(stage, number % 2 == 1);
    while line.is_open() && !stage.is_over() {
        let pair = &mut pairs[random.usize(..PAIRS)];
        let is_right = if random.bool() {
            write(&mut line, pair)
        } else {
            read(&mut line, pair)
        };
        if is_right {
            stage.progress(Kind::Transactions);
        }
        stage.pause(PACE);
    }
    Finished {
        tally: line.tally,
        registers: pairs.into_iter().flatten().collect(),
        writes: Vec::new(),
    }
}

fn write(line: &mut Line<'_>, pair: &mut [Register; 2]) -> bool {
    let versions = [pair[0].next(), pair[1].next()];
    let set = |at: usize| {
        let register: &Register = &pair[at];
        let name = register.name.clone().into_bytes();
        vec![b"SET".to_vec(), name, register.value(versions[at])]
    };
    let block = [command(&["MULTI"]), set(0), set(1), command(&["EXEC"])];
    let answers = line.batch(&block);
    let expected = ["+OK", "+QUEUED", "+QUEUED", "[+OK +OK]"];
    for (answer, expected) in answers.iter().zip(expected) {
        if let Answer::Reply(reply) = answer
            && !reply.is_error()
            && reply.to_string() != expected
        {
            line.tally
                .wrong(format!("{reply} in a transaction, not {expected}"));
        }
    }
    let fate = Fate::of(&answers[3]);
    for (register, version) in pair.iter_mut().zip(versions) {
        register.told(version, fate);
    }
    line.tally.transactions += u64::from(fate == Fate::Done);
    fate == Fate::Done
}

fn read(line: &mut Line<'_>, pair: &mut [Register; 2]) -> bool {
    match line.ask(command(&["MGET", &pair[0].name, &pair[1].name])) {
        Answer::Reply(Value::Array(items)) if items.len() == 2 => {
            let versions = [pair[0].version_in(&items[0]), pair[1].version_in(&items[1])];
            if versions[0] != versions[1] {
                let text = format!("half a transaction: {} holds {versions:?}", pair[0].name);
                line.tally.wrong(text);
            }
            let [first, second] = pair;
            let is_right = first.judge(&items[0], &mut line.tally);
            second.judge(&items[1], &mut line.tally) && is_right
        }
        Answer::Reply(reply) if !reply.is_error() => {
            line.tally.wrong(format!("MGET of two keys got {reply}"));
            false
        }
        _ => false,
    }
}
