//! A sequence of commands, made from a seed alone.

use std::fmt;

use fastrand::Rng;
use keyway::cluster::Slot;
use keyway::command::{Handling, Lookup, Script, key_positions, lookup};
use keyway::resp::with_args;

use super::catalogue::{FAMILIES, Family, Kind};
use super::command::Command;
use super::compare::Rule;
use super::scripts;
use super::state::{Replies, State};
use super::support::Flavor;
use super::words::{TAG, Words};

/// How many clients there are at most.
pub const CLIENTS: usize = 4;

/// What happens next.
#[derive(Clone, Debug)]
pub enum Turn {
    /// One client sends these in one write.
    Batch(usize, Vec<Command>),
    /// Several clients send at once, each with keys of its own.
    Together(Vec<(usize, Vec<Command>)>),
    /// One client walks with `SCAN` or its kin until the cursor is 0 again: the words before and
    /// after the cursor.
    Walk(usize, Vec<&'static str>, Vec<&'static str>, Rule),
    /// The first client waits for what the second brings.
    Served(usize, Command, usize, Vec<Command>),
}

/// One line for each command, as a reader follows it.
impl fmt::Display for Turn {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let batch = |out: &mut fmt::Formatter<'_>, client: usize, commands: &[Command]| {
            for command in commands {
                writeln!(out, "    client {client}: {command}")?;
            }
            Ok(())
        };
        match self {
            Turn::Batch(client, commands) => {
                writeln!(out, "  in one write:")?;
                batch(out, *client, commands)
            }
            Turn::Together(all) => {
                writeln!(out, "  at once:")?;
                all.iter()
                    .try_for_each(|(client, commands)| batch(out, *client, commands))
            }
            Turn::Walk(client, before, after, _) => {
                let (before, after) = (before.join(" "), after.join(" "));
                writeln!(
                    out,
                    "  a walk:\n    client {client}: {before} (cursor) {after}"
                )
            }
            Turn::Served(sleeper, command, waker, commands) => {
                writeln!(out, "  waits:\n    client {sleeper}: {command}")?;
                batch(out, *waker, commands)
            }
        }
    }
}

/// Makes sequences.
pub struct Author<'a> {
    random: Rng,
    flavor: Flavor,
    is_silent: bool,
    kinds: &'a [Kind],
    states: Vec<State>,
    shared: Words,
    own: Vec<Words>,
    entry: u64,
}

/// Of a hundred commands, how many are spoilt.
const SPOILT: u8 = 4;

/// Commands that are spoilt by nothing but lower case.
#[rustfmt::skip]
const DELICATE: &[&str] = &[
    "SPOP", "SRANDMEMBER", "HRANDFIELD", "ZRANDMEMBER", "COMMAND", "XCLAIM", "XAUTOCLAIM", "XPENDING", "SORT", "RESTORE", "EVAL", "EVAL_RO",
    "BLPOP", "BRPOP", "BLMOVE", "BRPOPLPUSH", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "XREAD", "XREADGROUP", "WAIT", "WAITAOF", "CONFIG", "CLIENT",
];

const DEPTHS: [usize; 16] = [1, 1, 1, 1, 2, 2, 3, 4, 5, 6, 8, 10, 15, 20, 40, 120];

/// What a walk may be: words before and after the cursor, and how its elements are compared.
#[rustfmt::skip]
const WALKS: &[(&[&str], &[&str], Rule)] = &[
    (&["SCAN"], &[], Rule::Sorted),
    (&["SCAN"], &["COUNT", "3"], Rule::Sorted),
    (&["SCAN"], &["MATCH", "{t}*", "COUNT", "100"], Rule::Sorted),
    (&["SCAN"], &["MATCH", "*1"], Rule::Sorted),
    (&["SCAN"], &["TYPE", "list"], Rule::Sorted),
    (&["SCAN"], &["COUNT", "0"], Rule::Sorted),
    (&["SCAN"], &["TYPE", "nosuch"], Rule::Sorted),
    (&["SSCAN", "{t}e0"], &[], Rule::Sorted),
    (&["SSCAN", "{t}e1"], &["COUNT", "2", "MATCH", "*"], Rule::Sorted),
    (&["HSCAN", "{t}h0"], &[], Rule::Pairs),
    (&["HSCAN", "{t}h1"], &["COUNT", "1"], Rule::Pairs),
    (&["ZSCAN", "{t}z0"], &["COUNT", "2"], Rule::Pairs),
    (&["ZSCAN", "{t}s0"], &[], Rule::Pairs),
];

impl<'a> Author<'a> {
    /// For sequences of these kinds of commands.
    pub fn new(seed: u64, flavor: Flavor, kinds: &'a [Kind], payloads: &[Vec<u8>]) -> Author<'a> {
        let own = |client| Words::new(format!("{TAG}c{client}:"), payloads.to_vec(), 0);
        Author {
            random: Rng::with_seed(seed),
            flavor,
            is_silent: flavor == Flavor::Valkey || flavor.is_since(7, 2),
            kinds,
            states: (0..CLIENTS).map(|_| State::new(flavor)).collect(),
            shared: Words::new(TAG.to_owned(), payloads.to_vec(), seed * 10_000),
            own: (0..CLIENTS).map(own).collect(),
            entry: 0,
        }
    }

    /// A sequence of about so many commands.
    pub fn write(mut self, commands: usize) -> Vec<Turn> {
        let mut turns = Vec::new();
        for client in 0..CLIENTS {
            if self.random.bool() {
                let mut hello = Command::exact(&["HELLO", "3"]);
                hello.rule = Rule::Numbers;
                self.note(client, std::slice::from_ref(&hello));
                turns.push(Turn::Batch(client, vec![hello]));
            }
        }
        let mut count = 0;
        while count < commands {
            let turn = self.turn();
            count += match &turn {
                Turn::Batch(_, commands) => commands.len(),
                Turn::Together(all) => all.iter().map(|(_, commands)| commands.len()).sum(),
                Turn::Walk(..) => 1,
                Turn::Served(_, _, _, commands) => 1 + commands.len(),
            };
            turns.push(turn);
        }
        turns
    }

    fn turn(&mut self) -> Turn {
        let client = self.random.usize(..CLIENTS);
        let is_plain = self.states[client].is_plain();
        match self.random.u8(..100) {
            0..8 => self.together().unwrap_or_else(|| self.batch(client)),
            8..12 if is_plain => {
                let (before, after, rule) = &WALKS[self.random.usize(..WALKS.len())];
                Turn::Walk(client, before.to_vec(), after.to_vec(), rule.clone())
            }
            12..14 if is_plain && self.kinds.contains(&Kind::Blocking) => {
                self.served(client).unwrap_or_else(|| self.batch(client))
            }
            _ => self.batch(client),
        }
    }

    fn batch(&mut self, client: usize) -> Turn {
        let depth = DEPTHS[self.random.usize(..DEPTHS.len())];
        let mut commands = Vec::new();
        while commands.len() < depth && !self.states[client].is_closed {
            let command = self.command(client);
            let publishes = command.name().ends_with("PUBLISH");
            let (is_subscribed, in_transaction) = {
                let state = &self.states[client];
                (state.is_subscribed(), state.queue.is_some())
            };
            // Its messages go round through the cluster: what a client does to its subscriptions in
            // the same write may come before them.
            let is_in_time = commands.is_empty() || in_transaction;
            if heals(&commands, &command) || publishes && is_subscribed && !is_in_time {
                continue;
            }
            self.note(client, std::slice::from_ref(&command));
            commands.push(command);
            // What follows could not be told apart.
            let state = &self.states[client];
            if state.is_unsure && state.queue.is_none() || publishes && is_subscribed {
                break;
            }
        }
        self.settle(client);
        Turn::Batch(client, commands)
    }

    fn together(&mut self) -> Option<Turn> {
        let mut all = Vec::new();
        for client in 0..CLIENTS {
            if !self.states[client].is_plain() {
                continue;
            }
            let depth = self.random.usize(1..30);
            let commands = (0..depth).map(|_| self.own_command(client)).collect();
            all.push((client, commands));
        }
        (all.len() > 1).then_some(Turn::Together(all))
    }

    /// A wait that ends.
    fn served(&mut self, sleeper: usize) -> Option<Turn> {
        let waker =
            (0..CLIENTS).find(|client| *client != sleeper && self.states[*client].is_plain())?;
        let words = |line: &str| Command::exact(&line.split(' ').collect::<Vec<_>>());
        let (wait, bring): (&str, &[&str]) = [
            (
                "BLPOP {t}w {t}w2 0",
                &["RPUSH {t}w2 1 2 3", "LRANGE {t}w2 0 -1"][..],
            ),
            (
                "BRPOP {t}w 0",
                &["SET {t}w x", "DEL {t}w", "RPUSH {t}w a b", "LLEN {t}w"],
            ),
            (
                "BLMOVE {t}w {t}w2 LEFT RIGHT 0",
                &["LPUSH {t}w 1", "LRANGE {t}w2 0 -1"],
            ),
            (
                "BRPOPLPUSH {t}w {t}w2 0",
                &["RPUSH {t}w3 1 2", "RENAME {t}w3 {t}w", "LLEN {t}w"],
            ),
            (
                "BLMPOP 0 2 {t}w {t}w2 RIGHT COUNT 2",
                &["RPUSH {t}w 1 2 3", "LLEN {t}w"],
            ),
            ("BZPOPMIN {t}wz 0", &["ZADD {t}wz 1.5 a 2 b", "ZCARD {t}wz"]),
            (
                "BZPOPMAX {t}wz {t}wz2 0",
                &["ZADD {t}wz2 1.5 a 2 b", "ZCARD {t}wz2"],
            ),
            (
                "BZMPOP 0 1 {t}wz MAX COUNT 5",
                &["ZADD {t}wz 1.5 a 2 b", "EXISTS {t}wz"],
            ),
            (
                "XREAD BLOCK 0 STREAMS {t}ws $",
                &["XADD {t}ws (id) f v", "XLEN {t}ws"],
            ),
            ("BLPOP {t}w 0.02", &["PING"]),
        ][self.random.usize(..10)];
        let mut commands = vec![words("DEL {t}w {t}w2 {t}w3 {t}wz {t}wz2 {t}ws")];
        if self.random.bool() {
            commands.clear();
        }
        // Greater than all before: who waits knows the last one of a stream that is gone.
        self.entry += 1;
        let id = format!("{}-1", self.entry);
        commands.extend(bring.iter().map(|line| words(&line.replace("(id)", &id))));
        Some(Turn::Served(sleeper, words(wait), waker, commands))
    }

    fn own_command(&mut self, client: usize) -> Command {
        loop {
            let family = self.family(|kind| kind == Kind::Data);
            let template = self
                .random
                .choice(family.templates())
                .expect("families have lines");
            let own = &mut self.own[client];
            let words =
                template.expand(&mut self.random, &mut |random, name| own.fill(random, name));
            let command = Command {
                words,
                raw: None,
                rule: template.rule.clone(),
            };
            if keys_share_the_slot(&command) {
                return command;
            }
        }
    }

    fn command(&mut self, client: usize) -> Command {
        loop {
            let state = &self.states[client];
            let (in_transaction, is_restricted) = (state.queue.is_some(), state.is_restricted());
            let family = match self.random.u8(..100) {
                0..20 if in_transaction => self.family(|kind| kind == Kind::Transactions),
                0..50 if is_restricted => self.family(|kind| kind == Kind::Subscriptions),
                _ => self.family(|_| true),
            };
            let template = self
                .random
                .choice(family.templates())
                .expect("families have lines");
            let (shared, mut raw) = (&mut self.shared, None);
            let words = template.expand(&mut self.random, &mut |random, name| match name {
                "raw" => {
                    raw = Some(Command::raw(random));
                    Vec::new()
                }
                _ => shared.fill(random, name),
            });
            let mut command = Command {
                words,
                raw: None,
                rule: template.rule.clone(),
            };
            if let Some(raw) = raw {
                command = raw;
            } else if self.random.u8(..100) < SPOILT {
                self.spoil(&mut command);
            }
            // Keyway keeps a body as soon as it passes, a server when it runs: what may not be run is
            // a script of its own, never asked for by its digest.
            if matches!(&*command.name(), "EVAL" | "EVAL_RO") && !self.states[client].is_plain() {
                command.words[1].extend(b" -- perhaps");
            }
            // In a transaction the node's own count is passed on.
            let is_counted_by_node = in_transaction && command.name().ends_with("PUBLISH");
            if command.name() == "HELLO" || is_counted_by_node {
                command.rule = Rule::Numbers;
            }
            if self.may_send(client, &command) {
                return command;
            }
        }
    }

    fn family(&mut self, wanted: impl Fn(Kind) -> bool) -> &'static Family {
        let kinds = self.kinds;
        let fits = |family: &&Family| wanted(family.kind) && kinds.contains(&family.kind);
        let all: Vec<&'static Family> = FAMILIES.iter().filter(fits).collect();
        if all.is_empty() {
            return &FAMILIES[0];
        }
        let sum: u32 = all.iter().map(|family| family.weight).sum();
        let mut at = self.random.u32(..sum);
        for family in &all {
            match at.checked_sub(family.weight) {
                None => return family,
                Some(rest) => at = rest,
            }
        }
        all[0]
    }

    /// Makes it wrong in one of the ways clients do.
    fn spoil(&mut self, command: &mut Command) {
        let random = &mut self.random;
        let words = &mut command.words;
        let at = random.usize(..words.len());
        // With other arguments its result would be one of chance or of time.
        let name = String::from_utf8_lossy(&words[0]).to_uppercase();
        let kind = if DELICATE.contains(&&*name) {
            4
        } else {
            random.u8(..7)
        };
        match kind {
            0 => {
                words.truncate(at.max(1));
            }
            1 if at > 0 => {
                words.remove(at);
            }
            2 => words.push(b"more".to_vec()),
            3 if at > 0 => words[at] = self.shared.fill(random, "value").remove(0),
            4 => words[0] = words[0].to_ascii_lowercase(),
            5 if at > 0 => words.insert(at, words[at].clone()),
            6 if at > 1 => words.swap(at, at - 1),
            _ => {}
        }
    }

    /// Leaves out what cannot be compared; each reason is a row of `differences`.
    fn may_send(&self, client: usize, command: &Command) -> bool {
        let state = &self.states[client];
        let (name, option) = (command.name(), command.word(1));
        if state.queue.is_some() && !self.may_queue(client, command) {
            return false;
        }
        // The first client never subscribes, so that it may publish from transactions.
        if client == 0 && name.ends_with("SUBSCRIBE") && !name.contains("UNSUB") {
            return false;
        }
        // Newer servers do not answer a failing login of a user when replies are pending.
        let user = match &*name {
            "AUTH" if command.argc() == 3 => command.words.get(1),
            "HELLO" if command.word(2) == "AUTH" && command.argc() > 4 => command.words.get(3),
            _ => None,
        };
        let logs_in_wrongly = self.is_silent && user.is_some_and(|user| user != b"default");
        let is_valkey = self.flavor == Flavor::Valkey;
        // After a line of spaces Valkey 8.0 takes the next array for inline lines.
        let is_blank = is_valkey && command.raw == Some(b"   \r\n");
        // Valkey 8.0.1 alone refuses to end subscriptions of a client that has none.
        let ends_nothing = is_valkey && name.ends_with("UNSUBSCRIBE") && !state.is_subscribed();
        // The servers close when the last reply is written; if replies are off, they may not. Newer Redis may forget
        // a breach behind a command that blocks.
        let forgets = self.is_silent && !is_valkey && command.raw.is_some();
        let leaves_unheard = command.closes() && (forgets || state.replies != Replies::On);
        if logs_in_wrongly || is_blank || ends_nothing || leaves_unheard {
            return false;
        }
        // Redis 7.0 takes one argument less: told before or after other refusals.
        let is_longer = matches!(&*name, "ZRANK" | "ZREVRANK") && command.argc() > 3;
        if is_longer && self.flavor == Flavor::Redis && !state.is_plain() {
            return false;
        }
        let waits_for_ever = name == "CLIENT" && option == "PAUSE" || name == "MONITOR";
        !waits_for_ever && keys_share_the_slot(command)
    }

    /// The same, of what is sent between `MULTI` and `EXEC`.
    fn may_queue(&self, client: usize, command: &Command) -> bool {
        let (name, option) = (command.name(), command.word(1));
        let state = &self.states[client];
        // With confirmations inside it is not known which element of EXEC's reply is whose.
        let queue = state.queue.as_deref().unwrap_or_default();
        let is_exact = |rule: &Rule| *rule == Rule::Exact;
        if state.is_unsure && !is_exact(&command.rule)
            || name.contains("SUBSCRIBE") && !queue.iter().all(is_exact)
        {
            return false;
        }
        let changes_replies = name == "CLIENT" && option == "REPLY";
        let differs = name == "CLIENT" && option == "HELP";
        let changes_version = name == "HELLO" && command.argc() > 1;
        let publishes = name == "PUBLISH" || name == "SPUBLISH";
        // Where one server does not know it, it spoils the transaction.
        let is_newer = name == "CLIENT" && (option == "SETINFO" || option == "NO-TOUCH")
            || name == "WAITAOF"
            || name == "COMMAND";
        let selects_other = name == "SELECT" && option != "0";
        let goes_everywhere = with_args(&command.wire(), |args| match lookup(args) {
            Lookup::Found(row) => matches!(
                row.handling,
                Handling::Primaries(_)
                    | Handling::Nodes(_)
                    | Handling::Scan
                    | Handling::RandomKey
                    | Handling::Census(_)
                    | Handling::Script(
                        Script::Load | Script::Exists | Script::Flush | Script::Kill
                    )
            ),
            _ => false,
        });
        !(changes_replies
            || selects_other
            || differs
            || changes_version
            || name == "AUTH"
            || publishes && client != 0
            || is_newer && self.flavor == Flavor::Redis
            || goes_everywhere == Some(true))
    }

    fn note(&mut self, client: usize, commands: &[Command]) {
        for command in commands {
            self.states[client].send(command, &mut Vec::new());
        }
    }

    /// What is done after a batch; see `Player::batch`.
    fn settle(&mut self, client: usize) {
        let state = &mut self.states[client];
        if state.must_reset() {
            *state = State::new(self.flavor);
        }
        state.replies = Replies::On;
    }
}

/// Whether it brings a script that was asked for by its digest before, in the same write: Keyway
/// answers that with the script's result once it has seen the script.
fn heals(before: &[Command], command: &Command) -> bool {
    let body = match (&*command.name(), &*command.word(1)) {
        ("EVAL" | "EVAL_RO", _) => command.words.get(1),
        ("SCRIPT", "LOAD") => command.words.get(2),
        _ => None,
    };
    body.and_then(|body| scripts::digest_of(body))
        .is_some_and(|digest| before.iter().any(|earlier| earlier.words.contains(&digest)))
}

/// Whether all its keys are in the slot of the tag.
fn keys_share_the_slot(command: &Command) -> bool {
    let wanted = Slot::of_key(TAG.as_bytes());
    let share = with_args(&command.wire(), |args| match lookup(args) {
        Lookup::Found(row) => match key_positions(row, args) {
            Ok(keys) => keys
                .iter()
                .all(|at| args.get(at).is_some_and(|key| Slot::of_key(key) == wanted)),
            Err(_) => true,
        },
        _ => true,
    });
    share.unwrap_or(true)
}
