//! Transactions of simulated clients: what each command must be answered, what `EXEC` must say, and what
//! nodes must have done.

use std::collections::BTreeMap;

use fastrand::Rng;
use keyway::resp::reply;

use super::node::{Block, Execution};
use super::request::{Op, Outcome, Request, slot_of, token};

/// What a request is to a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Nothing.
    Plain,
    /// It is answered `QUEUED`, or refused with an error that begins so.
    Queued(Option<&'static str>),
    /// It is answered `QUEUED`, or refused so: how many primaries there are is not known here.
    QueuedOr(&'static str),
    /// It ends one.
    Exec(Closing),
    /// It drops these requests.
    Discard(Vec<usize>),
}

/// What an `EXEC` is about; requests are named by their place among the client's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Closing {
    pub members: Vec<usize>,
    pub is_aborted: bool,
    pub watches: Vec<usize>,
    pub is_split: bool,
}

/// Weighted choice of what is queued.
const QUEUED: &[(Op, usize)] = &[
    (Op::Get, 2),
    (Op::GetRange, 6),
    (Op::ZScore, 4),
    (Op::MGet, 3),
    (Op::Exists, 1),
    (Op::Set, 6),
    (Op::Append, 8),
    (Op::IncrBy, 6),
    (Op::Del, 3),
    (Op::MSet, 4),
    (Op::Eval, 4),
    (Op::EvalAnywhere, 1),
    (Op::Publish, 1),
    (Op::Ping, 1),
    (Op::Echo, 1),
    (Op::ClientId, 1),
];

/// What usually ends a transaction, or cuts it.
const RARE: &[Op] = &[
    Op::WrongArity,
    Op::Unknown,
    Op::CrossSlot,
    Op::DbSize,
    Op::Keys,
    Op::ConfigSet,
    Op::Scan,
    Op::RandomKey,
    Op::ClientList,
];

/// A command for a transaction.
pub fn draw(rng: &mut Rng) -> Op {
    if rng.u8(..20) == 0 {
        return RARE[rng.usize(..RARE.len())];
    }
    let total: usize = QUEUED.iter().map(|(_, weight)| weight).sum();
    let mut left = rng.usize(..total);
    for (op, weight) in QUEUED {
        match left.checked_sub(*weight) {
            Some(rest) => left = rest,
            None => return *op,
        }
    }
    Op::Get
}

/// What Keyway has to think of the commands of a transaction, one after another.
#[derive(Debug, Default)]
pub struct Expectation {
    pub is_split: bool,
    pub is_aborted: bool,
    /// The slot of the first key, or of what is watched.
    pub slot: Option<u16>,
    /// A command may have been refused: from then on a first key counts or does not.
    pub may_be_aborted: bool,
    /// The slot is that of such a key.
    pub is_slot_unsure: bool,
}

impl Expectation {
    /// What a command is answered.
    pub fn of(&mut self, request: &Request) -> Role {
        let slots = request.slots();
        let is_other_slot = match (slots.first(), self.slot) {
            (Some(slot), Some(known)) => slots.len() == 1 && *slot != known,
            _ => false,
        };
        if !self.is_split
            && (is_at_only_primary(request.op) || is_other_slot && self.is_slot_unsure)
        {
            self.may_be_aborted = true;
            return Role::QueuedOr("-CROSSSLOT ");
        }
        let refused = match request.op {
            Op::WrongArity => Some("-ERR wrong number of arguments"),
            Op::Unknown => Some("-ERR unknown command"),
            op if is_for_all(op) && !self.is_split => Some("-CROSSSLOT "),
            Op::CrossSlot if slots.len() > 1 => Some("-CROSSSLOT "),
            _ if self.is_split => None,
            _ if slots.len() > 1 => Some("-CROSSSLOT "),
            _ => match (slots.first(), self.slot) {
                (Some(slot), Some(known)) if *slot != known => Some("-CROSSSLOT "),
                (Some(slot), None) if !self.is_aborted => {
                    self.slot = Some(*slot);
                    self.is_slot_unsure = self.may_be_aborted;
                    None
                }
                _ => None,
            },
        };
        self.is_aborted |= refused.is_some();
        Role::Queued(refused)
    }
}

/// Whether it goes to all primaries.
fn is_for_all(op: Op) -> bool {
    matches!(
        op,
        Op::DbSize | Op::Keys | Op::ConfigSet | Op::Scan | Op::RandomKey | Op::ScriptLoad
    )
}

/// Whether it is in the block where there is one primary.
fn is_at_only_primary(op: Op) -> bool {
    matches!(op, Op::DbSize | Op::Keys | Op::RandomKey)
}

/// Whether its number reaches a node within a block.
fn is_in_block(request: &Request) -> bool {
    let mut arguments = request.args.iter().skip(1);
    arguments.any(|argument| token(argument.as_bytes()).is_some())
}

/// The reply to a command inside a transaction.
pub fn judge_queued(refused: Option<&str>, reply: &[u8]) -> Result<Outcome, String> {
    let text = String::from_utf8_lossy(reply);
    match refused {
        None if text == "+QUEUED\r\n" => Ok(Outcome::Open),
        Some(beginning) if text.starts_with(beginning) => Ok(Outcome::NotExecuted),
        expected => Err(format!("expected {expected:?}")),
    }
}

/// The reply to a command that may be refused, inside a transaction.
pub fn judge_queued_or(refused: &str, reply: &[u8]) -> Result<Outcome, String> {
    judge_queued(None, reply).or_else(|_| judge_queued(Some(refused), reply))
}

/// The reply to an `EXEC`: what became of its members.
pub fn judge_exec(
    closing: &Closing,
    requests: &[Request],
    reply: &[u8],
) -> Result<Vec<(usize, Outcome)>, String> {
    let text = String::from_utf8_lossy(reply);
    let all = |outcome: Outcome| {
        let members = closing.members.iter();
        Ok(members.map(|member| (*member, outcome.clone())).collect())
    };
    let mut members = closing.members.iter().map(|member| &requests[*member]);
    let is_refused = members.any(|member| member.outcome == Outcome::NotExecuted);
    if closing.is_aborted || is_refused {
        return match &*text {
            "-EXECABORT Transaction discarded because of previous errors.\r\n" => {
                all(Outcome::NotExecuted)
            }
            _ => Err("expected EXECABORT".to_owned()),
        };
    }
    if text == "*-1\r\n" || text == "_\r\n" {
        if closing.watches.is_empty() {
            return Err("nil, and nothing was watched".to_owned());
        }
        return all(Outcome::NotExecuted);
    }
    if text.starts_with('-') {
        return all(judge_error(closing, requests, &text)?);
    }
    let elements: Vec<&[u8]> = reply::elements(reply).ok_or("no array")?.collect();
    if elements.len() != closing.members.len() {
        return Err(format!("expected {} elements", closing.members.len()));
    }
    let members = closing.members.iter().zip(elements);
    members
        .map(|(member, element)| {
            let request = &requests[*member];
            let judged = match element.first() {
                // What goes to all primaries may give up for itself.
                Some(b'-') if is_for_all(request.op) => Ok(Outcome::Partly),
                _ => request.judge(element),
            };
            let complain = |what| format!("element for {}: {what}", request.args.join(" "));
            Ok((*member, judged.map_err(complain)?))
        })
        .collect()
}

fn judge_error(closing: &Closing, requests: &[Request], text: &str) -> Result<Outcome, String> {
    let mut members = closing.members.iter().map(|member| &requests[*member]);
    let is_repeatable = members.all(Request::is_repeatable);
    if text.contains("[of the parts") {
        return match closing.is_split {
            true => Ok(Outcome::Partly),
            false => Err("it has no parts".to_owned()),
        };
    }
    if text.contains("outcome unknown") {
        return match is_repeatable {
            true => Err("outcome unknown for what may be repeated".to_owned()),
            false => Ok(Outcome::Unknown),
        };
    }
    if text.contains("did not answer") && is_repeatable {
        return Ok(Outcome::Unknown);
    }
    let is_refused = ["OOM", "WRONGTYPE"].iter().any(|word| {
        text.starts_with(&format!(
            "-EXECABORT Transaction discarded because of: {word}"
        ))
    });
    let mut members = closing.members.iter().map(|member| &requests[*member]);
    let is_of_all = !closing.is_split && members.any(|member| is_at_only_primary(member.op));
    let begins = "-EXECABORT Transaction discarded because of: CROSSSLOT";
    if is_of_all && text.starts_with(begins) {
        return Ok(Outcome::NotExecuted);
    }
    if is_refused || text.contains("not executed") || text.contains("was tried for") {
        return Ok(Outcome::NotExecuted);
    }
    Err("an error the client must not see".to_owned())
}

/// What nodes made of an `EXEC`: its commands together, in order, nobody else's among them, and what was
/// watched on the connection it went over (contract: T1 T2 T3).
///
/// # Errors
/// What does not fit.
pub fn check_blocks(
    closing: &Closing,
    requests: &[Request],
    blocks: &[Block],
    by_request: &BTreeMap<u64, Vec<&Execution>>,
) -> Result<(), String> {
    // Commands for all primaries cut a transaction into stages.
    let mut stage = 0;
    let mut stages = BTreeMap::new();
    for member in &closing.members {
        let request = &requests[*member];
        if is_for_all(request.op) && closing.is_split {
            stage += 1;
        } else if is_in_block(request) {
            stages.insert(request.id, (stage, request));
        }
    }
    let mine = |block: &&Block| block.ids.iter().any(|id| stages.contains_key(id));
    for block in blocks.iter().filter(mine) {
        let complain = |what: &str| Err(format!("{what}: {block:?}"));
        let Some((stage, _)) = block.ids.first().and_then(|id| stages.get(id)) else {
            return complain("a foreign command in a block");
        };
        if !block.ids.iter().all(|id| stages.contains_key(id)) {
            return complain("a foreign command in a block");
        }
        if !block.ids.is_sorted() {
            return complain("commands out of order");
        }
        let keyed = block.ids.iter().map(|id| stages[id].1.slots());
        let slot = keyed
            .filter(|slots| slots.len() == 1)
            .find_map(|slots| slots.first().copied());
        for (id, (of, request)) in &stages {
            let belongs = match (closing.is_split, slot) {
                (true, Some(slot)) => of == stage && request.slots().contains(&slot),
                (true, None) => false,
                (false, _) => true,
            };
            if belongs && !block.ids.contains(id) {
                return complain(&format!("half a block, {id} is missing"));
            }
        }
        let watches = closing.watches.iter().map(|watch| &requests[*watch]);
        let mut watches = watches
            .filter(|watch| matches!(watch.outcome, Outcome::Answered(_)))
            .map(|watch| watch.id);
        let is_guarded = |watch: u64| {
            let guards = blocks.iter().filter(|other| match closing.is_split {
                true => other.serial <= block.serial,
                false => other.serial == block.serial,
            });
            guards
                .into_iter()
                .any(|other| other.watches.contains(&watch))
        };
        if !watches.all(is_guarded) {
            return complain("executed where nothing was watched");
        }
        // One of its slots, one of its executions.
        for id in &block.ids {
            let executions = by_request.get(id).into_iter().flatten();
            let here = executions.filter(|one| one.block == Some(block.serial));
            if here.count() > 1 {
                return complain("a command twice in a block");
            }
        }
    }
    Ok(())
}

/// The slot a tag stands for.
pub fn slot_of_tag(tag: char) -> u16 {
    slot_of(&format!("{{{tag}}}"))
}
