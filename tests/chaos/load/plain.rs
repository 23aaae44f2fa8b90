//! Strings and hashes, one key and several, one request or many at a time.

use std::time::Duration;

use super::super::line::{Answer, Command, Fate, Line, command};
use super::super::marker::Marker;
use super::super::register::Register;
use super::super::stage::{Kind, Stage};
use super::super::support::Value;
use super::Finished;

/// What a client does.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Number of the client, for its random choices.
    pub number: u64,
    /// How many requests it sends before it reads.
    pub pipeline: usize,
    /// Whether it says `HELLO 3`.
    pub is_resp3: bool,
}

/// Keys of one client; half of them strings, half of them hashes.
const KEYS: usize = 12;
/// Length of values.
const BYTES: usize = 40;
/// Between two batches.
const PACE: Duration = Duration::from_millis(2);

enum Operation {
    Get(usize),
    Set(usize, u32),
    HashGet(usize),
    HashSet(usize, u32),
    GetMany(Vec<usize>),
    SetMany(Vec<(usize, u32)>),
    Echo(String),
}

/// Runs until the load ends.
pub fn run(stage: &Stage, plan: Plan) -> Finished {
    let registers = (0..KEYS).map(|_| {
        let number = stage.new_key();
        Register::new(number, format!("chaos:{number}"), BYTES)
    });
    let mut player = Player {
        line: Line::new(stage, plan.is_resp3),
        registers: registers.collect(),
        random: fastrand::Rng::with_seed(stage.seed ^ plan.number << 8),
        kind: if plan.pipeline > 1 {
            Kind::Pipelined
        } else {
            Kind::Plain
        },
        echoes: 0,
    };
    while player.line.is_open() && !stage.is_over() {
        let operations: Vec<_> = (0..plan.pipeline).map(|_| player.choose()).collect();
        player.play(&operations);
        if let [Operation::Set(key, version)] = operations[..]
            && player.random.u8(..16) == 0
        {
            player.wait(key, version);
        }
        stage.pause(PACE);
    }
    Finished {
        tally: player.line.tally,
        registers: player.registers,
        writes: Vec::new(),
    }
}

struct Player<'a> {
    line: Line<'a>,
    registers: Vec<Register>,
    random: fastrand::Rng,
    kind: Kind,
    echoes: u64,
}

impl Player<'_> {
    fn choose(&mut self) -> Operation {
        let string = self.random.usize(..KEYS / 2);
        let hash = KEYS / 2 + self.random.usize(..KEYS / 2);
        match self.random.u8(..100) {
            0..25 => Operation::Get(string),
            25..50 => Operation::Set(string, self.registers[string].next()),
            50..65 => Operation::HashGet(hash),
            65..80 => Operation::HashSet(hash, self.registers[hash].next()),
            80..88 => Operation::GetMany(self.several()),
            88..95 => {
                let keys = self.several().into_iter();
                Operation::SetMany(keys.map(|key| (key, self.registers[key].next())).collect())
            }
            _ => {
                self.echoes += 1;
                Operation::Echo(format!("echo {}", self.echoes))
            }
        }
    }

    fn several(&mut self) -> Vec<usize> {
        let mut keys: Vec<usize> = (0..KEYS / 2).collect();
        self.random.shuffle(&mut keys);
        keys.truncate(4);
        keys
    }

    fn command(&self, operation: &Operation) -> Command {
        let name = |key: &usize| self.registers[*key].name.clone().into_bytes();
        let value = |key: &usize, version: &u32| self.registers[*key].value(*version);
        match operation {
            Operation::Get(key) => vec![b"GET".to_vec(), name(key)],
            Operation::Set(key, version) => vec![b"SET".to_vec(), name(key), value(key, version)],
            Operation::HashGet(key) => vec![b"HGET".to_vec(), name(key), b"field".to_vec()],
            Operation::HashSet(key, version) => vec![
                b"HSET".to_vec(),
                name(key),
                b"field".to_vec(),
                value(key, version),
            ],
            Operation::GetMany(keys) => {
                let names = keys.iter().map(name);
                std::iter::once(b"MGET".to_vec()).chain(names).collect()
            }
            Operation::SetMany(writes) => {
                let pairs = writes
                    .iter()
                    .flat_map(|(key, version)| [name(key), value(key, version)]);
                std::iter::once(b"MSET".to_vec()).chain(pairs).collect()
            }
            Operation::Echo(text) => command(&["ECHO", text]),
        }
    }

    fn play(&mut self, operations: &[Operation]) {
        let commands: Vec<_> = operations.iter().map(|one| self.command(one)).collect();
        let answers = self.line.batch(&commands);
        for (operation, answer) in operations.iter().zip(&answers) {
            let wrong = self.line.tally.wrong;
            if self.judge(operation, answer) {
                self.line.stage.progress(self.kind);
            }
            if self.line.tally.wrong > wrong && self.answers_another(operations, answer) {
                self.line.tally.reordered += 1;
            }
        }
    }

    /// Learns from an answer; true when it is a right reply.
    fn judge(&mut self, operation: &Operation, answer: &Answer) -> bool {
        match operation {
            Operation::Set(key, version) | Operation::HashSet(key, version) => {
                let fate = Fate::of(answer);
                self.registers[*key].told(*version, fate);
                let is_fitting = match answer {
                    Answer::Reply(Value::Simple(text)) => text == "OK",
                    Answer::Reply(Value::Integer(added)) => {
                        matches!(operation, Operation::HashSet(..)) && (0..=1).contains(added)
                    }
                    _ => false,
                };
                self.fits(is_fitting, answer)
            }
            Operation::SetMany(writes) => {
                let fate = Fate::of_several(answer);
                for (key, version) in writes {
                    self.registers[*key].told(*version, fate);
                }
                let is_ok = *answer == Answer::Reply(Value::Simple("OK".to_owned()));
                self.fits(is_ok, answer)
            }
            Operation::Echo(text) => {
                let is_it = *answer == Answer::Reply(Value::bulk(text));
                self.fits(is_it, answer)
            }
            Operation::Get(key) | Operation::HashGet(key) => match answer {
                Answer::Reply(reply) if !reply.is_error() => {
                    self.registers[*key].judge(reply, &mut self.line.tally)
                }
                _ => false,
            },
            Operation::GetMany(keys) => match answer {
                Answer::Reply(Value::Array(items)) if items.len() == keys.len() => {
                    let mut is_right = true;
                    for (key, item) in keys.iter().zip(items) {
                        is_right &= self.registers[*key].judge(item, &mut self.line.tally);
                    }
                    is_right
                }
                _ => self.fits(false, answer),
            },
        }
    }

    /// Counts an answer that is neither an error nor fitting.
    fn fits(&mut self, is_fitting: bool, answer: &Answer) -> bool {
        match answer {
            Answer::Reply(reply) if !reply.is_error() && !is_fitting => {
                self.line
                    .tally
                    .wrong(format!("a write or ECHO got {reply}"));
            }
            _ => {}
        }
        is_fitting
    }

    /// Whether what came would have been right for another request of the batch.
    fn answers_another(&self, operations: &[Operation], answer: &Answer) -> bool {
        let Answer::Reply(Value::Bulk(bytes)) = answer else {
            return false;
        };
        let marker = Marker::parse(bytes);
        operations.iter().any(|operation| match operation {
            Operation::Get(key) | Operation::HashGet(key) => {
                marker.is_some_and(|marker| marker.key == self.registers[*key].number)
            }
            Operation::Echo(text) => text.as_bytes() == bytes,
            _ => false,
        })
    }

    /// Asks whether a replica has the write.
    fn wait(&mut self, key: usize, version: u32) {
        let is_done = Register::fates(&self.registers[key])
            .any(|(marker, fate)| marker.version == version && fate == Fate::Done);
        let answer = self.line.ask(command(&["WAIT", "1", "500"]));
        match answer {
            Answer::Reply(Value::Integer(count)) if count >= 0 => {
                if is_done && count >= 1 {
                    self.line.tally.waited += 1;
                    self.registers[key].waited(version);
                }
            }
            other => {
                self.fits(false, &other);
            }
        }
    }
}
