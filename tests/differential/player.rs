//! Plays a sequence to both sides and compares every reply.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use super::command::Command;
use super::compare::{Rule, is_message, messages_in_order};
use super::differences;
use super::peer::{Peer, Reply, Silence};
use super::stage::Stage;
use super::state::{Replies, State};
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
}

/// How it is known that all replies have come.
enum Ending {
    /// The other side closes.
    Closed,
    /// `PING` with this argument was sent, and after it so many commands that are answered.
    Mark(Vec<u8>, usize),
    /// In a transaction each command is answered once.
    Count(usize),
}

/// A batch as it is sent.
struct Plan {
    bytes: Vec<u8>,
    ending: Ending,
    /// For each reply that is expected: which command's, and how it is compared.
    owners: Vec<(usize, Rule)>,
    has_messages: bool,
    /// The number of replies is not known.
    is_unsure: bool,
}

/// Plays one sequence.
pub struct Player<'a> {
    stage: &'a Stage,
    clients: Vec<Client>,
    marks: usize,
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
        });
        Player {
            stage,
            clients: clients.collect(),
            marks: 0,
            commands: 0,
            forgiven: BTreeSet::new(),
        }
    }

    /// Plays it to its end or to the first difference.
    pub fn play(&mut self, turns: &[Turn]) -> Result<(), Difference> {
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
        let plan = self.plan(client, commands);
        for side in SIDES {
            self.clients[client].peers[side].send(&plan.bytes);
        }
        self.commands += commands.len();
        plan
    }

    fn plan(&mut self, client: usize, commands: &[Command]) -> Plan {
        self.marks += 1;
        let mark = format!("mark {}", self.marks).into_bytes();
        let ping = Command::exact(&[b"PING", &mark[..]]).wire();
        let state = &mut self.clients[client].state;
        let mut has_messages = state.is_subscribed();
        let (mut bytes, mut owners, mut opened) = (Vec::new(), Vec::new(), None);
        let mut send = |state: &mut State, index: usize, command: &Command, bytes: &mut Vec<u8>| {
            let mut rules = Vec::new();
            state.send(command, &mut rules);
            owners.extend(rules.into_iter().map(|rule| (index, rule)));
            bytes.extend(command.wire());
            owners.len()
        };
        let mut count = 0;
        for (index, command) in commands.iter().enumerate() {
            let (was_open, at, before) = (state.queue.is_some(), bytes.len(), count);
            count = send(state, index, command, &mut bytes);
            has_messages |= command.name().contains("SUBSCRIBE");
            match (was_open, state.queue.is_some()) {
                (false, true) => opened = Some((at, before)),
                (_, false) => opened = None,
                (true, true) => {}
            }
        }
        let (last, is_unsure) = (commands.len(), state.is_unsure);
        let ending = if state.is_closed {
            Ending::Closed
        } else if state.must_reset() {
            send(state, last, &Command::exact(&["RESET"]), &mut bytes);
            bytes.extend(&ping);
            Ending::Mark(mark, 0)
        } else if state.queue.is_some() {
            match opened {
                // A mark inside would be queued: it stands before the MULTI.
                Some((at, before)) => {
                    bytes.splice(at..at, ping.iter().copied());
                    Ending::Mark(mark, count - before)
                }
                None => Ending::Count(count),
            }
        } else {
            match state.replies {
                Replies::On => {}
                Replies::Off => {
                    let on = Command::exact(&["CLIENT", "REPLY", "ON"]);
                    send(state, last, &on, &mut bytes);
                }
                Replies::SkipNext => {
                    send(state, last, &Command::exact(&["PING"]), &mut bytes);
                }
            }
            bytes.extend(&ping);
            Ending::Mark(mark, 0)
        };
        Plan {
            bytes,
            ending,
            owners,
            has_messages,
            is_unsure,
        }
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
        let is_closed = matches!(plan.ending, Ending::Closed);
        let [one_said, keyway_said] = &said;
        // Which reply is whose is known if as many came as were expected.
        let is_known =
            one_said.len() == plan.owners.len() || is_closed && one_said.len() <= plan.owners.len();
        for index in 0..one_said.len().max(keyway_said.len()) {
            let owner = plan.owners.get(index).filter(|_| is_known);
            let (at, rule) = owner.map_or((None, &Rule::Exact), |(at, rule)| (Some(*at), rule));
            let command = at.and_then(|at| commands.get(at));
            let text = match command {
                Some(command) => command.to_string(),
                None => format!(
                    "reply {index} of {} and {}, not {}, to {}",
                    one_said.len(),
                    keyway_said.len(),
                    plan.owners.len(),
                    commands
                        .iter()
                        .map(Command::to_string)
                        .collect::<Vec<_>>()
                        .join("; ")
                ),
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
        if !is_known && !plan.is_unsure && one_said.len() == keyway_said.len() {
            // Not Keyway's fault, but the comparison is less exact than it could be.
            let all = commands
                .iter()
                .map(Command::to_string)
                .collect::<Vec<_>>()
                .join("; ");
            let text = format!(
                "harness: {} replies, {} expected, to {all}",
                one_said.len(),
                plan.owners.len()
            );
            return Err(Difference::new(text, "", ""));
        }
        if ends[0] != ends[1] || ends[0].is_some() != is_closed {
            let all = commands
                .iter()
                .map(Command::to_string)
                .collect::<Vec<_>>()
                .join("; ");
            return Err(Difference::new(all, describe(ends[0]), describe(ends[1])));
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
                peers, messages, ..
            } = &mut self.clients[client];
            let deadline = Instant::now() + MESSAGE_PATIENCE;
            while messages[1].len() < messages[0].len() && Instant::now() < deadline {
                match peers[1].next_soon(MESSAGE_PATIENCE) {
                    Ok(reply) if is_message(&reply.value) => messages[1].push(reply.value),
                    Ok(reply) => return Err(Difference::new("a message", "", reply.value)),
                    Err(_) => break,
                }
            }
            let [one, keyway] = [0, 1].map(|side| messages_in_order(&messages[side]));
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

/// Reads until all replies are there.
fn collect(
    peer: &mut Peer,
    plan: &Plan,
    replies: &mut Vec<Reply>,
    messages: &mut Vec<Value>,
) -> Result<(), Silence> {
    let (mut mark, mut left) = match &plan.ending {
        Ending::Closed => (None, usize::MAX),
        Ending::Mark(mark, after) => (Some(&mark[..]), *after),
        Ending::Count(count) => (None, *count),
    };
    while mark.is_some() || left > 0 {
        let reply = peer.next()?;
        let is_push = matches!(reply.value, Value::Push(_));
        if is_message(&reply.value) && (is_push || plan.has_messages) {
            messages.push(reply.value);
        } else if mark.is_some_and(|mark| is_mark(&reply.value, mark)) {
            mark = None;
        } else {
            if mark.is_none() {
                left -= 1;
            }
            replies.push(reply);
        }
    }
    Ok(())
}

/// The answer to `PING mark`, in either form.
fn is_mark(value: &Value, mark: &[u8]) -> bool {
    match value {
        Value::Bulk(bytes) => bytes == mark,
        Value::Array(items) => items.len() == 2 && items[1].bytes() == Some(mark),
        _ => false,
    }
}

fn describe(silence: Option<Silence>) -> &'static str {
    match silence {
        None => "all replies came",
        Some(Silence::Closed) => "closed",
        Some(Silence::Late) => "nothing came in time",
        Some(Silence::Garbage) => "what came is no reply",
    }
}
