//! The same random commands to one server, and through Keyway to another: every reply is compared, and at the end what
//! each database holds.
//!
//! `KEYWAY_TEST_SEED=17` repeats one; `KEYWAY_TEST_COMMANDS=100000` makes it longer.

use super::support::{Client, Flavor, Keyway, Server, each_flavor};

each_flavor!(every_reply_is_one_servers);

/// Commands in an ordinary test run.
const COMMANDS: usize = 6_000;
const CLIENTS: usize = 4;
/// As many indices as have databases, and some more.
const INDICES: &[&str] = &["0", "0", "1", "2", "3", "15", "16", "-1", "x"];
const KEYS: &[&str] = &["a", "b", "c"];

/// A small generator of numbers, the same for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % count
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

/// What one client says in one write.
fn batch(dice: &mut Dice, state: &mut State) -> Vec<String> {
    (0..1 + dice.below(8))
        .map(|_| command(dice, state))
        .collect()
}

/// What has to be known of a client to leave out what Keyway refuses.
#[derive(Default)]
struct State {
    is_in_multi: bool,
    is_watching: bool,
}

fn command(dice: &mut Dice, state: &mut State) -> String {
    let (key, other) = (dice.of(KEYS), dice.of(KEYS));
    let (index, another) = (dice.of(INDICES), dice.of(INDICES));
    let number = dice.below(100);
    let is_bound = state.is_in_multi || state.is_watching;
    match dice.below(30) {
        0..=5 if !is_bound => format!("SELECT {index}"),
        0..=2 => format!("GET {key}"),
        3..=9 => format!("SET {key} {number}"),
        10..=12 => format!("GET {key}"),
        13 => format!("INCR {key}"),
        14 => format!("DEL {key} {other}"),
        15 => format!("MOVE {key} {index}"),
        16 => format!("COPY {key} {other} DB {index} REPLACE"),
        17 => format!("SWAPDB {index} {another}"),
        18 => "DBSIZE".to_owned(),
        19 => format!("MGET {key} {other}"),
        20 => format!("RENAME {key} {other}"),
        21 => {
            format!("EVAL \"redis.call('select', 1) return redis.call('incr', KEYS[1])\" 1 {key}")
        }
        22 if dice.below(4) == 0 => "FLUSHDB".to_owned(),
        22 if dice.below(8) == 0 => "FLUSHALL".to_owned(),
        23 | 24 if !state.is_in_multi => {
            state.is_in_multi = true;
            "MULTI".to_owned()
        }
        23..=26 if state.is_in_multi => {
            (state.is_in_multi, state.is_watching) = (false, false);
            if dice.below(5) == 0 {
                "DISCARD"
            } else {
                "EXEC"
            }
            .to_owned()
        }
        25 if !state.is_in_multi => {
            state.is_watching = true;
            format!("WATCH {key}")
        }
        26 if dice.below(2) == 0 => {
            *state = State::default();
            "RESET".to_owned()
        }
        27 if !state.is_in_multi => {
            state.is_watching = false;
            "UNWATCH".to_owned()
        }
        28 if !state.is_in_multi => format!("HELLO {}", 2 + dice.below(2)),
        29 => format!("SET large:{key} {}", "x".repeat(300_000)),
        _ => format!("STRLEN large:{key}"),
    }
}

fn compare(command: &str, got: &str, want: &str) -> bool {
    // What it says of the server is another's.
    let is_hello = command.starts_with("HELLO") && !got.starts_with('-');
    is_hello || got == want
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// contract: C1 C5 P2
fn every_reply_is_one_servers(flavor: Flavor) {
    let (server, model) = (Server::start(flavor), Server::start(flavor));
    let wanted = variable("KEYWAY_TEST_COMMANDS").map_or(COMMANDS, |count| count as usize);
    let first = variable("KEYWAY_TEST_SEED").unwrap_or(1);
    let mut played = 0;
    for seed in first.. {
        for workers in [1, 2] {
            let keyway = Keyway::before(&[server.addr()])
                .set("proxy.workers", &workers.to_string())
                .start();
            played += play(seed, &keyway, &server, &model);
        }
        if played >= wanted {
            break;
        }
    }
    println!("{}: {played} commands, no difference", flavor.program());
}

fn play(seed: u64, keyway: &Keyway, server: &Server, model: &Server) -> usize {
    for server in [server, model] {
        server.ok("FLUSHALL");
    }
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut ours: Vec<Client> = (0..CLIENTS).map(|_| keyway.client()).collect();
    let mut theirs: Vec<Client> = (0..CLIENTS).map(|_| model.client()).collect();
    let mut states: Vec<State> = (0..CLIENTS).map(|_| State::default()).collect();
    let mut played = 0;
    let mut story = Vec::new();
    for _ in 0..300 {
        let who = dice.below(CLIENTS);
        let commands = batch(&mut dice, &mut states[who]);
        played += commands.len();
        story.push((who, commands.clone()));
        let got = ours[who].pipeline(&commands);
        let want = theirs[who].pipeline(&commands);
        for ((command, got), want) in commands.iter().zip(got).zip(want) {
            let (got, want) = (got.to_string(), want.to_string());
            assert!(
                compare(command, &got, &want),
                "seed {seed}: client {who}, {command:.80}\n  one server {want:.200}\n  keyway     {got:.200}\n{}",
                told(&story)
            );
        }
    }
    for database in 0..16 {
        let held = [server, model].map(|server| held_by(server, database));
        assert_eq!(
            held[0],
            held[1],
            "seed {seed}: database {database}\n{}",
            told(&story)
        );
    }
    played
}

/// The end of what was said.
fn told(story: &[(usize, Vec<String>)]) -> String {
    let last = story.iter().rev().take(12).rev();
    last.map(|(who, commands)| {
        let short = commands
            .iter()
            .map(|command| command.chars().take(60).collect::<String>());
        format!("  {who}: {}\n", short.collect::<Vec<_>>().join(" | "))
    })
    .collect()
}

fn held_by(server: &Server, database: usize) -> Vec<(String, String)> {
    let mut client = server.client();
    client.expect(&format!("SELECT {database}"), "+OK");
    let keys = client.call("KEYS *");
    let mut held: Vec<(String, String)> = keys
        .items()
        .iter()
        .map(|key| {
            let key = key.text();
            let value = client.call(&format!("GET {key}")).to_string();
            (key, value)
        })
        .collect();
    held.sort();
    held
}
