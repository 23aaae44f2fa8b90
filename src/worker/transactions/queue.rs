//! From `MULTI` on: each command is looked at as a server would, and kept.

use super::Place;
use crate::client::Bound;
use crate::cluster::{Database, Slot};
use crate::command::{
    self, Command, Handling, KeysError, Local, Script, Subscription, Transaction as Verb,
};
use crate::config::CrossSlotTransactions;
use crate::pipeline::ClientKey;
use crate::resp::scan::parse_integer;
use crate::resp::{Args, Protocol, with_args, write};
use crate::telemetry::worker_tallies::ErrorKind;
use crate::worker::core::Core;
use crate::worker::requests::Taken;

/// Why a command is not queued.
struct Refusal(ErrorKind, Vec<u8>);

impl Core {
    /// `MULTI`, `EXEC` and `DISCARD` of a client that is not in a transaction.
    pub(in crate::worker) fn plan_verb(
        &mut self,
        key: ClientKey,
        verb: Verb,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Taken {
        match verb {
            Verb::Multi => {
                if let Some(client) = self.clients.get(key) {
                    client.transaction = Some(Box::default());
                }
                self.answer_simple(key, "OK")
            }
            Verb::Exec => self.refuse_without_abort(key, "ERR EXEC without MULTI"),
            Verb::Discard => self.refuse_without_abort(key, "ERR DISCARD without MULTI"),
            Verb::Watch => self.plan_watch(key, command, args),
            Verb::Unwatch => self.plan_unwatch(key),
        }
    }

    /// Decides about a request of a client in a transaction; `None` when it is planned as any other.
    pub(in crate::worker) fn decide_in_transaction(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Option<Taken> {
        Some(match command.handling {
            Handling::Transaction(Verb::Exec) => self.plan_exec(key),
            Handling::Transaction(Verb::Discard) => {
                self.end_transaction(key);
                self.answer_simple(key, "OK")
            }
            Handling::Transaction(verb @ (Verb::Multi | Verb::Watch)) => {
                self.refuse_inside(key, verb, command, args)
            }
            // At once, as a server.
            Handling::Local(Local::Quit | Local::Reset) => return None,
            _ if command.is_kept_out_of_multi() => {
                let text = self.not_inside(command);
                self.refuse_request(key, args, ErrorKind::Refused, |_| text)
            }
            Handling::Refused | Handling::Container => return None,
            _ => self.queue(key, command, args),
        })
    }

    /// `MULTI` and `WATCH` inside `MULTI`: since Valkey 8 that is the end of the transaction.
    fn refuse_inside(
        &mut self,
        key: ClientKey,
        verb: Verb,
        command: &Command,
        args: &Args<'_>,
    ) -> Taken {
        let topology = self.nodes.topology();
        if topology.is_some_and(|topology| topology.is_valkey(8)) {
            let text = self.not_inside(command);
            return self.refuse_request(key, args, ErrorKind::Transaction, |_| text);
        }
        self.refuse_without_abort(
            key,
            match verb {
                Verb::Watch => "ERR WATCH inside MULTI is not allowed",
                _ => "ERR MULTI calls can not be nested",
            },
        )
    }

    /// In the servers' words: Valkey 9 names the command.
    fn not_inside(&self, command: &Command) -> Vec<u8> {
        let topology = self.nodes.topology();
        let name = match topology.is_some_and(|topology| topology.is_valkey(9)) {
            true => format!(" '{}'", command.name),
            false => String::new(),
        };
        format!("ERR Command{name} not allowed inside a transaction").into_bytes()
    }

    /// Keeps a command for `EXEC`.
    fn queue(&mut self, key: ClientKey, command: &'static Command, args: &Args<'_>) -> Taken {
        // What is executed cannot be mended any more: a call by name always has its body (contract: T4).
        if let Some((command, bytes)) = self.with_body(command, args) {
            let taken = with_args(&bytes, |args| self.queue(key, command, args));
            return taken.unwrap_or(Taken::Yes);
        }
        if let Some(refused) = self.refuse_own_setting(key, command, args) {
            return refused;
        }
        if command.handling == Handling::Script(Script::Eval) {
            self.note_script(args.get(1));
        }
        let place = match self.place_of(key, command, args) {
            Ok(place) => place,
            Err(Refusal(kind, text)) => return self.refuse_request(key, args, kind, |_| text),
        };
        let limit = self.limits.transaction_bytes;
        let Some(client) = self.clients.get(key) else {
            return Taken::Yes;
        };
        let Some(transaction) = &mut client.transaction else {
            return Taken::Yes;
        };
        if !transaction.is_aborted {
            if transaction.held_bytes() + args.frame().len() > limit {
                let text = format!(
                    "ERR the transaction is larger than {limit} bytes (limits.transaction_bytes)"
                );
                return self.refuse_request(key, args, ErrorKind::Limit, |_| text.into_bytes());
            }
            transaction.queue.push(command, place, args.frame());
        }
        self.answer_simple(key, "QUEUED")
    }

    /// Where a command of this transaction is carried out.
    fn place_of(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Result<Place, Refusal> {
        if let Some(text) = self.forbidden_sort(key, command, args) {
            // As the servers, which see it when they run the command.
            return Ok(Place::Fails(text.into_bytes().into()));
        }
        match command.handling {
            // PUBLISH has no key, SPUBLISH has its channel.
            Handling::Keyed
            | Handling::Blocking
            | Handling::Publish
            | Handling::Script(Script::Eval | Script::EvalSha) => {
                self.place_by_keys(key, command, args)
            }
            Handling::Split(merge) => match self.place_by_keys(key, command, args) {
                Err(Refusal(ErrorKind::CrossSlot, _)) if self.is_splitting() => {
                    Ok(Place::Slots(merge))
                }
                place => place,
            },
            // A subscriber gets another reply than a node would give.
            Handling::Local(Local::Ping) if self.is_subscribing(key) => {
                Ok(Place::Here(Local::Ping))
            }
            Handling::Anywhere
            | Handling::Wait
            | Handling::Local(Local::Ping | Local::Echo)
            | Handling::Transaction(_) => Ok(Place::Anywhere),
            Handling::HashArgument(at) => {
                let named = args.get(usize::from(at)).unwrap_or_default();
                self.place_in(key, Slot::of_key(named))
            }
            Handling::SlotArgument(at) => {
                let number = args.get(usize::from(at)).and_then(parse_integer);
                match number.and_then(|number| Slot::new(u16::try_from(number).ok()?)) {
                    Some(slot) => self.place_in(key, slot),
                    None => Ok(Place::Anywhere),
                }
            }
            Handling::Primaries(_) | Handling::RandomKey | Handling::Script(Script::Exists)
                if self.may_be_at_only_primary() =>
            {
                Ok(Place::OnlyPrimary)
            }
            Handling::Primaries(_)
            | Handling::Nodes(_)
            | Handling::Script(_)
            | Handling::Census(_)
            | Handling::Scan
            | Handling::RandomKey => self.place_everywhere(command),
            Handling::Local(Local::Hello) if self.switches_protocol(key, args) => {
                let text = "ERR HELLO with another protocol version is not possible inside MULTI through \
                     Keyway: send it before";
                Err(Refusal(ErrorKind::Refused, text.into()))
            }
            Handling::Local(Local::ClientTracking) => {
                let text = "ERR CLIENT TRACKING is not possible inside MULTI through Keyway: send it before";
                Err(Refusal(ErrorKind::Refused, text.into()))
            }
            // What follows would be for another database than the one its block is sent to.
            Handling::Local(Local::Select) if self.selects_another(key, args) => {
                let text = Bound::Transaction.text_for_select();
                Err(Refusal(ErrorKind::Refused, text.into()))
            }
            Handling::Local(local) => Ok(Place::Here(local)),
            // As the servers answer them in `EXEC`.
            Handling::Subscription(Subscription::SSubscribe) => Ok(Place::Fails(
                b"ERR SSUBSCRIBE isn't allowed for a DENY BLOCKING client"[..].into(),
            )),
            Handling::Monitor => Ok(Place::Fails(
                b"ERR MONITOR isn't allowed for DENY BLOCKING client"[..].into(),
            )),
            Handling::Subscription(subscription) => Ok(Place::Subscribes(subscription)),
            Handling::Refused | Handling::Container => Ok(Place::Anywhere),
        }
    }

    fn place_by_keys(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Result<Place, Refusal> {
        match command::key_positions(command, args) {
            Ok(positions) => {
                let mut slots = positions
                    .iter()
                    .map(|at| Slot::of_key(args.get(at).unwrap_or_default()));
                match slots.next() {
                    _ if self.nodes.is_standalone() => Ok(Place::Anywhere),
                    None => Ok(Place::Anywhere),
                    Some(slot) if slots.all(|other| other == slot) => self.place_in(key, slot),
                    Some(_) => Err(crossslot("")),
                }
            }
            Err(KeysError::Pairs) => Ok(Place::Fails(command::errors::wrong_arity(command).into())),
            Err(KeysError::Asked) => match self.known_slot(command, args) {
                Some(slot) => self.place_in(key, slot),
                None => Ok(Place::Anywhere),
            },
            // The server has the right words for arguments that make no sense.
            Err(_) => Ok(Place::Anywhere),
        }
    }

    fn place_in(&mut self, key: ClientKey, slot: Slot) -> Result<Place, Refusal> {
        if self.nodes.is_standalone() {
            return Ok(Place::Anywhere);
        }
        if self.is_splitting() {
            return Ok(Place::Slot(slot));
        }
        let known = self.clients.get(key).and_then(|client| {
            let own = client.transaction.as_ref()?.queue.slot;
            own.or(client.watch.as_ref().map(|watch| watch.slot))
        });
        match known {
            Some(known) if known != slot => Err(crossslot(
                ": a transaction keeps to one; compatibility.cross_slot_transactions = \"split\" makes \
                 one of each",
            )),
            _ => Ok(Place::Slot(slot)),
        }
    }

    fn place_everywhere(&self, command: &Command) -> Result<Place, Refusal> {
        if self.nodes.is_standalone() {
            return Ok(Place::Anywhere);
        }
        if self.is_splitting() {
            return Ok(Place::Everywhere);
        }
        Err(crossslot(&format!(
            ": '{}' goes to several nodes; send it outside MULTI, or set \
             compatibility.cross_slot_transactions = \"split\"",
            command.name
        )))
    }

    /// Whether what goes to all primaries can go along with the rest of a transaction. Not where it needs replicas,
    /// or this Keyway, as well.
    fn may_be_at_only_primary(&self) -> bool {
        !self.nodes.is_standalone() && !self.is_splitting() && self.has_only_primary()
    }

    fn is_splitting(&self) -> bool {
        self.local.cross_slot_transactions == CrossSlotTransactions::Split
    }

    fn switches_protocol(&mut self, key: ClientKey, args: &Args<'_>) -> bool {
        let asked = match args.get(1).and_then(parse_integer) {
            Some(2) => Protocol::Resp2,
            Some(3) => Protocol::Resp3,
            _ => return false,
        };
        asked != self.protocol_of(key)
    }

    /// Whether this is the index of another database than the client's; there may be none with it.
    fn selects_another(&mut self, key: ClientKey, args: &Args<'_>) -> bool {
        let index = args.get(1).and_then(parse_integer);
        let index = index.and_then(|index| i32::try_from(index).ok());
        let client = self.clients.get(key);
        let own = client.map(|client| client.session.database());
        index.is_some_and(|index| own != Some(Database(index)))
    }

    /// Whether the client may be a subscriber when its transaction is carried out.
    fn is_subscribing(&mut self, key: ClientKey) -> bool {
        let client = self.clients.get(key);
        let transaction = client.and_then(|client| client.transaction.as_ref());
        transaction.is_some_and(|transaction| transaction.queue.is_subscribing)
    }

    /// Forgets a transaction, and what is watched for it.
    pub(in crate::worker) fn end_transaction(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get(key) {
            client.transaction = None;
        }
        self.end_watch(key);
    }

    /// Answers with a status.
    pub(in crate::worker) fn answer_simple(&mut self, key: ClientKey, text: &str) -> Taken {
        self.tallies.replies.increment();
        if let Some(client) = self.clients.get(key) {
            let is_muted = client.session.next_is_muted();
            client
                .replies
                .answer(is_muted, |out| write::simple(out, text));
        }
        Taken::Yes
    }

    /// Answers with an error that does not spoil the transaction.
    pub(super) fn refuse_without_abort(&mut self, key: ClientKey, text: &str) -> Taken {
        self.tallies.failed(ErrorKind::Transaction);
        self.tallies.replies.increment();
        if let Some(client) = self.clients.get(key) {
            let is_muted = client.session.next_is_muted();
            client
                .replies
                .answer(is_muted, |out| write::error(out, text));
        }
        Taken::Yes
    }
}

fn crossslot(more: &str) -> Refusal {
    let text = format!("CROSSSLOT Keys in request don't hash to the same slot{more}");
    Refusal(ErrorKind::CrossSlot, text.into_bytes())
}
