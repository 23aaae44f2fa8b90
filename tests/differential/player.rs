//! Plays a sequence to both sides and compares every reply.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use super::command::Command;
use super::compare::{Rule, is_message, messages_in_order};
use super::differences;
use super::peer::{Peer, Reply, Silence};
use super::plan::{Plan, collect};
use super::stage::Stage;
use super::state::State;
use super::story::{CLIENTS, Turn};
use super::support::Value;

/// The two sides, in this order everywhere: the one server, and Keyway.
const SIDES: [usize; 2] = [0, 1];

/// How long a message may take through the cluster.
const MESSAGE_PATIENCE: Duration = Duration::from_secs(5);

/// Where the two sides differ.
#[derive(Clone, Debug)]
pub struct Difference {
    /// Which turn of the sequence.
    pub turn: usize,
    /// The command, if the reply is one command's.
    pub command: String,
    /// What the one server said, and what Keyway said.
    pub said: [String; 2],
}

impl Difference {
    fn new(command: impl ToString, one: impl ToString, keyway: impl ToString) -> Difference {
        Difference {
            turn: 0,
            command: command.to_string(),
            said: [one.to_string(), keyway.to_string()],
        }
    }

    /// What makes it one of a kind: the command's name, and how Keyway's reply begins.
    pub fn kind(&self) -> (String, String) {
        (self.name(), self.said[1].chars().take(24).collect())
    }

    /// The first word of the command: what stays the same when the sequence is made shorter.
    pub fn name(&self) -> String {
        self.command
            .split(' ')
            .next()
            .unwrap_or_default()
            .to_ascii_uppercase()
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [one, keyway] = &self.said;
        write!(
            out,
            "{}\n    one server: {one}\n    keyway:     {keyway}",
            self.command
        )
    }
}

struct Client {
    peers: [Peer; 2],
    state: State,
    messages: [Vec<Value>; 2],
    /// The last message that was published before it last subscribed to something.
    joined_at: u64,
}

/// Plays one sequence.
pub struct Player<'a> {
    stage: &'a Stage,
    clients: Vec<Client>,
    marks: usize,
    /// The number of the last message that was published.
    published: u64,
    /// How many commands were compared.
    pub commands: usize,
    /// Differences seen before, when they are only counted: the command's name and Keyway's reply.
    pub forgiven: BTreeSet<(String, String)>,
}

impl<'a> Player<'a> {
    /// New clients, before empty servers.
    pub fn new(stage: &'a Stage) -> Player<'a> {
        stage.clear();
        let clients = (0..CLIENTS).map(|_| Client {
            peers: stage.addrs().map(Peer::connect),
            state: State::new(stage.flavor),
            messages: [Vec::new(), Vec::new()],
            joined_at: 0,
        });
        Player {
            stage,
            clients: clients.collect(),
            marks: 0,
            published: 0,
            commands: 0,
            forgiven: BTreeSet::new(),
        }
    }

    /// Plays it to its end or to the first difference.
    pub fn play(&mut self, turns: &[Turn]) -> Result<(), Difference> {
        // What another sequence published a moment ago may be on its way through the cluster yet.
        let numbers = turns.iter().filter_map(|turn| match turn {
            Turn::Batch(_, commands) => numbers_in(commands).min(),
            _ => None,
        });
        self.published = numbers.min().map_or(0, |first| first - 1);
        for client in &mut self.clients {
            client.joined_at = self.published;
        }
        for (index, turn) in turns.iter().enumerate() {
            self.turn(turn).map_err(|difference| Difference {
                turn: index,
                ..difference
            })?;
        }
        Ok(())
    }

    fn turn(&mut self, turn: &Turn) -> Result<(), Difference> {
        match turn {
            Turn::Batch(client, commands) => {
                let plan = self.start(*client, commands);
                self.finish(*client, commands, &plan)?;
                self.drain(commands)
            }
            Turn::Together(all) => {
                let plans: Vec<Plan> = all
                    .iter()
                    .map(|(client, commands)| self.start(*client, commands))
                    .collect();
                for ((client, commands), plan) in all.iter().zip(&plans) {
                    self.finish(*client, commands, plan)?;
                }
                Ok(())
            }
            Turn::Walk(client, before, after, rule) => {
                // When a sequence is made shorter, the client may be in another state.
                if !self.clients[*client].state.is_plain() {
                    return Ok(());
                }
                self.walk(*client, before, after, rule)
            }
            Turn::Served(sleeper, command, waker, commands) => {
                let plain = |client: &usize| self.clients[*client].state.is_plain();
                if !plain(sleeper) || !plain(waker) {
                    return Ok(());
                }
                self.served(*sleeper, command, *waker, commands)
            }
        }
    }

    fn start(&mut self, client: usize, commands: &[Command]) -> Plan {
        self.marks += 1;
        let plan = Plan::new(&mut self.clients[client].state, commands, self.marks);
        self.published = numbers_in(commands).fold(self.published, u64::max);
        if commands
            .iter()
            .any(|command| command.name().ends_with("SUBSCRIBE") || command.name() == "EXEC")
        {
            self.clients[client].joined_at = self.published;
        }
        for side in SIDES {
            self.clients[client].peers[side].send(&plan.bytes);
        }
        self.commands += commands.len();
        plan
    }

    /// Reads both sides' replies and compares them.
    fn finish(
        &mut self,
        client: usize,
        commands: &[Command],
        plan: &Plan,
    ) -> Result<(), Difference> {
        let mut said = [Vec::new(), Vec::new()];
        let mut ends = [None, None];
        let who = &mut self.clients[client];
        for side in SIDES {
            let messages = &mut who.messages[side];
            ends[side] = collect(&mut who.peers[side], plan, &mut said[side], messages).err();
        }
        let [one_said, keyway_said] = &said;
        for index in 0..one_said.len().max(keyway_said.len()) {
            let (command, rule) = plan.owner(index, one_said.len());
            let text = match command.and_then(|command| commands.get(command)) {
                Some(command) => command.to_string(),
                None => format!("reply {index} to {}", all_of(commands)),
            };
            let (Some(one), Some(keyway)) = (one_said.get(index), keyway_said.get(index)) else {
                let show = |side: usize| match said[side].get(index) {
                    Some(reply) => reply.value.to_string(),
                    None => format!("no reply ({})", describe(ends[side])),
                };
                return Err(Difference::new(text, show(0), show(1)));
            };
            let is_same = one.bytes == keyway.bytes
                || *rule != Rule::Exact && rule.accepts(&one.value, &keyway.value)
                || differences::explains(&text, &one.value, &keyway.value);
            if !is_same {
                let found = Difference::new(text, &one.value, &keyway.value);
                if !self.forgiven.contains(&found.kind()) {
                    return Err(found);
                }
            }
        }
        if plan.is_miscounted(one_said.len()) {
            // Not Keyway's fault, but the comparison is less exact than it could be.
            let (came, expected) = (one_said.len(), plan.owners.len());
            let text = format!(
                "harness: {came} replies, {expected} expected, to {}",
                all_of(commands)
            );
            return Err(Difference::new(text, "", ""));
        }
        let is_closed = plan.closes();
        if ends[0] != ends[1] || ends[0].is_some() != is_closed {
            return Err(Difference::new(
                all_of(commands),
                describe(ends[0]),
                describe(ends[1]),
            ));
        }
        if is_closed {
            who.peers = self.stage.addrs().map(Peer::connect);
            who.state = State::new(self.stage.flavor);
            who.messages = [Vec::new(), Vec::new()];
        }
        Ok(())
    }

    /// After something was published: all clients have got the same messages.
    fn drain(&mut self, commands: &[Command]) -> Result<(), Difference> {
        let publishes =
            |command: &Command| command.name().contains("PUBLISH") || command.name() == "EXEC";
        if !commands.iter().any(publishes) {
            return Ok(());
        }
        for client in 0..CLIENTS {
            let state = &self.clients[client].state;
            if !state.is_subscribed() || state.queue.is_some() {
                continue;
            }
            let plan = self.start(client, &[]);
            self.finish(client, &[], &plan)?;
            let Client {
                peers,
                messages,
                joined_at,
                ..
            } = &mut self.clients[client];
            // A message that is on its way through the cluster when the client subscribes may still
            // reach it, as `differences` says.
            let [one, keyway] = messages;
            let came_early = |message: &Value| {
                let number = message
                    .items()
                    .last()
                    .and_then(Value::bytes)
                    .and_then(number_of);
                number.is_some_and(|number| number <= *joined_at) && !one.contains(message)
            };
            let deadline = Instant::now() + MESSAGE_PATIENCE;
            loop {
                keyway.retain(|message| !came_early(message));
                if keyway.len() >= one.len() || Instant::now() >= deadline {
                    break;
                }
                match peers[1].next_soon(MESSAGE_PATIENCE) {
                    Ok(reply) if is_message(&reply.value) => keyway.push(reply.value),
                    Ok(reply) => return Err(Difference::new("a message", "", reply.value)),
                    Err(_) => break,
                }
            }
            let [one, keyway] = [one, keyway].map(|messages| messages_in_order(messages));
            if one != keyway {
                let show = |messages: &[Value]| Value::Array(messages.to_vec()).to_string();
                let what = format!("PUBLISH, as client {client} sees it");
                return Err(Difference::new(what, show(&one), show(&keyway)));
            }
            messages.iter_mut().for_each(Vec::clear);
        }
        Ok(())
    }

    /// Both sides walk to the end; what they found is the same, in whatever order.
    fn walk(
        &mut self,
        client: usize,
        before: &[&str],
        after: &[&str],
        rule: &Rule,
    ) -> Result<(), Difference> {
        let text = format!("{} (cursor) {}", before.join(" "), after.join(" "));
        let mut found = [Value::Null, Value::Null];
        for side in SIDES {
            let mut cursor = b"0".to_vec();
            let mut seen = BTreeSet::new();
            found[side] = loop {
                let mut words: Vec<&[u8]> = before.iter().map(|word| word.as_bytes()).collect();
                words.push(&cursor);
                words.extend(after.iter().map(|word| word.as_bytes()));
                let peer = &mut self.clients[client].peers[side];
                peer.send(&Command::exact(&words).wire());
                let reply = match peer.next() {
                    Ok(reply) => reply.value,
                    Err(silence) => return Err(Difference::new(text, "", describe(Some(silence)))),
                };
                let Value::Array(parts) = &reply else {
                    break reply;
                };
                let step = if *rule == Rule::Pairs { 2 } else { 1 };
                seen.extend(
                    parts[1]
                        .items()
                        .chunks(step)
                        .map(|item| Value::Array(item.to_vec()).to_string()),
                );
                cursor = parts[0].bytes().unwrap_or_default().to_vec();
                if cursor == b"0" {
                    break Value::Array(seen.iter().map(Value::bulk).collect());
                }
            };
        }
        self.commands += 1;
        if found[0] != found[1] {
            return Err(Difference::new(text, &found[0], &found[1]));
        }
        Ok(())
    }

    /// The sleeper's command blocks on both sides (or is answered at once), then the others' come.
    fn served(
        &mut self,
        sleeper: usize,
        command: &Command,
        waker: usize,
        commands: &[Command],
    ) -> Result<(), Difference> {
        let all = std::slice::from_ref(command);
        let plan = self.start(sleeper, all);
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut rest = [false, false];
        let mut early: [Vec<Reply>; 2] = Default::default();
        while !rest.iter().all(|is_done| *is_done) {
            let blocked = self.stage.blocked();
            for side in SIDES {
                if let Ok(reply) =
                    self.clients[sleeper].peers[side].next_soon(Duration::from_millis(1))
                {
                    early[side].push(reply);
                }
                rest[side] |= blocked[side] > 0 || !early[side].is_empty();
            }
            if Instant::now() > deadline {
                let show = |side: usize| format!("blocked or answered: {}", rest[side]);
                return Err(Difference::new(command, show(0), show(1)));
            }
        }
        for side in SIDES {
            self.clients[sleeper].peers[side].put_back(std::mem::take(&mut early[side]));
        }
        let others = self.start(waker, commands);
        self.finish(waker, commands, &others)?;
        self.finish(sleeper, all, &plan)
    }
}

fn numbers_in(commands: &[Command]) -> impl Iterator<Item = u64> {
    let words = commands.iter().flat_map(|command| &command.words);
    words.filter_map(|word| number_of(word))
}

/// The number of the message a payload is.
fn number_of(payload: &[u8]) -> Option<u64> {
    let number = payload.strip_prefix(b"message ")?;
    std::str::from_utf8(number).ok()?.parse().ok()
}

fn all_of(commands: &[Command]) -> String {
    commands
        .iter()
        .map(Command::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

fn describe(silence: Option<Silence>) -> &'static str {
    match silence {
        None => "all replies came",
        Some(Silence::Closed) => "closed",
        Some(Silence::Late) => "nothing came in time",
        Some(Silence::Garbage) => "what came is no reply",
    }
}
