//! Bytes from a client become requests, and each request a plan.

use tracing::warn;

use super::clients::Phase;
use super::core::Core;
use super::uploads::Begun;
use crate::cluster::Slot;
use crate::command::{self, Command, Handling, Local, Lookup};
use crate::pipeline::ClientKey;
use crate::resp::scan::{Limits, ProtocolError, RequestScanner, Scanned};
use crate::resp::{Args, inline, with_args, write};
use crate::routing::Target;
use crate::telemetry::worker_tallies::ErrorKind;

/// So many requests of one client are taken on in one turn; then others have theirs.
const REQUESTS_PER_TURN: usize = 1024;

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was answered or is on its way.
    Yes,
    /// Not now: the client waits for earlier replies or for room.
    NotYet,
}

/// What became of the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processed {
    /// Bytes that are done with.
    pub consumed: usize,
    /// Bytes that the next request needs in all, as far as that is known.
    pub wanted: usize,
    /// The turn's share is used up and there may be more.
    pub is_cut_short: bool,
}

impl Core {
    /// Takes on the requests in `bytes`, which start where a request starts.
    pub fn process(&mut self, key: ClientKey, bytes: &[u8]) -> Processed {
        let Some(client) = self.clients.get(key) else {
            return Processed {
                consumed: bytes.len(),
                wanted: 0,
                is_cut_short: false,
            };
        };
        client.is_stalled = false;
        if client.upload.is_some() {
            return self.process_upload(key, bytes);
        }
        let mut scanner = std::mem::take(&mut client.scanner);
        let processed = self.process_with(key, bytes, &mut scanner);
        if let Some(client) = self.clients.get(key) {
            client.scanner = scanner;
        }
        processed
    }

    fn process_with(
        &mut self,
        key: ClientKey,
        bytes: &[u8],
        scanner: &mut RequestScanner,
    ) -> Processed {
        let mut consumed = 0;
        let mut wanted = 0;
        for _ in 0..REQUESTS_PER_TURN {
            let Some(client) = self.clients.get(key) else {
                break;
            };
            if client.phase == Phase::Leaving {
                // Contract P7: bytes behind a QUIT are ignored.
                consumed = bytes.len();
                return Processed {
                    consumed,
                    wanted,
                    is_cut_short: false,
                };
            }
            let limits = Limits {
                bulk_bytes_max: self.limits.argument_bytes,
                request_bytes_max: self.limits.request_bytes,
                is_authenticated: client.session.is_authenticated(),
            };
            let rest = &bytes[consumed..];
            let taken = match scanner.scan(rest, &limits) {
                Ok(Scanned::Request { len }) => {
                    let taken = self.take(key, &Args::new(&rest[..len], scanner.spans()));
                    if taken == Taken::Yes {
                        consumed += len;
                    }
                    taken
                }
                Ok(Scanned::Incomplete { wanted: needed }) => {
                    let is_large = needed - rest.len() > self.limits.upload_threshold_bytes;
                    if is_large && !matches!(self.begin_upload(key, rest, scanner), Begun::No) {
                        scanner.reset();
                        return Processed {
                            consumed,
                            wanted,
                            is_cut_short: false,
                        };
                    }
                    wanted = needed;
                    return Processed {
                        consumed,
                        wanted,
                        is_cut_short: false,
                    };
                }
                Ok(Scanned::Empty { len }) => {
                    consumed += len;
                    self.skip_nothing(key)
                }
                Ok(Scanned::Inline { text, len }) => {
                    let taken = self.take_inline(key, &rest[..text]);
                    if taken == Taken::Yes {
                        consumed += len;
                    }
                    taken
                }
                Err(error) => {
                    self.refuse_protocol(key, error);
                    Taken::Yes
                }
            };
            scanner.reset();
            if taken == Taken::NotYet {
                if let Some(client) = self.clients.get(key) {
                    client.is_stalled = true;
                }
                return Processed {
                    consumed,
                    wanted,
                    is_cut_short: false,
                };
            }
        }
        Processed {
            consumed,
            wanted,
            is_cut_short: consumed < bytes.len(),
        }
    }

    /// A line of words (contract: P3). It goes on as the array it stands for.
    #[cold]
    fn take_inline(&mut self, key: ClientKey, text: &[u8]) -> Taken {
        let words = match inline::split(text) {
            Ok(words) => words,
            Err(error) => {
                self.refuse_protocol(key, error);
                return Taken::Yes;
            }
        };
        if words.is_empty() {
            return self.skip_nothing(key);
        }
        let mut frame = Vec::new();
        write::command(&mut frame, &words);
        with_args(&frame, |args| self.take(key, args)).unwrap_or(Taken::Yes)
    }

    /// What is no request is never answered, but as in Redis it uses up a `CLIENT REPLY SKIP`.
    #[cold]
    fn skip_nothing(&mut self, key: ClientKey) -> Taken {
        if let Some(client) = self.clients.get(key) {
            client.session.next_is_muted();
        }
        Taken::Yes
    }

    /// The client broke the protocol: it is told so after its earlier replies, and leaves
    /// (contract: P5).
    #[cold]
    pub(super) fn refuse_protocol(&mut self, key: ClientKey, error: ProtocolError) {
        self.tallies.failed(ErrorKind::Protocol);
        let Some(client) = self.clients.get(key) else {
            return;
        };
        client.phase = Phase::Leaving;
        let is_muted = client.session.next_is_muted();
        client
            .replies
            .answer(is_muted, |out| write::error(out, error.reply()));
    }

    /// A browser that was lured into speaking to this port would say `POST` and `Host:`; as Redis, the
    /// connection is closed before anything that follows is read as a command.
    #[cold]
    pub(super) fn refuse_http(&mut self, key: ClientKey) -> Taken {
        self.tallies.failed(ErrorKind::Protocol);
        if let Some(client) = self.clients.get(key) {
            if let Some(others) = self.told_http.tell(self.now_us) {
                warn!(
                    client = %client.session.address,
                    others_since_then = others,
                    "closed a client that speaks HTTP: a cross-protocol attack, or a wrong port"
                );
            }
            client.phase = Phase::Leaving;
        }
        Taken::Yes
    }

    /// Takes a request on, if that is possible now.
    #[inline]
    fn take(&mut self, key: ClientKey, args: &Args<'_>) -> Taken {
        let taken = self.decide(key, args);
        if taken == Taken::Yes {
            self.tallies.requests.increment();
        }
        taken
    }

    /// Decides what happens with one request.
    #[inline]
    fn decide(&mut self, key: ClientKey, args: &Args<'_>) -> Taken {
        let Some(client) = self.clients.get(key) else {
            return Taken::Yes;
        };
        if client.replies.pending() >= self.limits.requests_in_flight_per_client
            || (client.replies.expected_bytes() >= self.limits.client_output_soft_bytes
                && (!client.is_settled() || !client.replies.output().is_empty()))
        {
            return Taken::NotYet;
        }
        let is_in_mode = client.has_mode();
        // Its requests are not even refused before their turn.
        if is_in_mode && client.is_held() && !client.may_wait_too(args) {
            return Taken::NotYet;
        }
        let command = match command::lookup(args) {
            Lookup::Found(command) => command,
            missed => match self.learnt.look_up(missed, args) {
                Lookup::Found(command) => command,
                missed => return self.refuse_unknown(key, missed, args),
            },
        };
        if !command.accepts(args.len()) {
            return self.refuse_arity(key, command, args);
        }
        if !client.session.is_free()
            && let Some(taken) = self.judge(key, command, args)
        {
            return taken;
        }
        let Some(client) = self.clients.get(key) else {
            return Taken::Yes;
        };
        client.session.last_command_us = self.now_us;
        client.session.last_command = Some(command);
        if self.scrutiny.is_on() {
            return self.decide_under_scrutiny(key, command, args, is_in_mode);
        }
        self.decide_as_usual(key, command, args, is_in_mode)
    }

    /// Decides about a request of a client that may do more than authenticate.
    #[inline]
    pub(super) fn decide_as_usual(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
        is_in_mode: bool,
    ) -> Taken {
        if is_in_mode && let Some(taken) = self.decide_in_mode(key, command, args) {
            return taken;
        }
        self.plan(key, command, args)
    }

    #[inline]
    pub(super) fn plan(
        &mut self,
        key: ClientKey,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Taken {
        match command.handling {
            Handling::Keyed => self.plan_keyed(key, command, args),
            Handling::Split(merge) => self.plan_split(key, command, args, merge),
            Handling::Blocking if !command.blocks(args) => self.plan_keyed(key, command, args),
            Handling::Nodes(_) if let Some(taken) = self.refuse_own_setting(key, command, args) => {
                taken
            }
            Handling::Anywhere
            | Handling::Primaries(_)
            | Handling::Nodes(_)
            | Handling::SlotArgument(_)
            | Handling::Census(_)
            | Handling::Scan
            | Handling::RandomKey => self.plan_whole(key, command, args),
            Handling::Local(Local::ClientTracking) => self.plan_tracking(key, command, args),
            Handling::HashArgument(at) => {
                let slot = Slot::of_key(args.get(usize::from(at)).unwrap_or_default());
                self.forward(key, command, Target::Slot(slot), args.frame())
            }
            Handling::Script(script) => self.plan_script(key, command, args, script),
            Handling::Publish => self.plan_publish(key, command, args),
            Handling::Subscription(subscription) => self.plan_subscription(key, subscription, args),
            Handling::Local(local) if self.asks_nodes_for(local) => {
                self.forward(key, command, Target::Any, args.frame())
            }
            Handling::Local(local) => self.answer_locally(key, local, args),
            Handling::Monitor => self.plan_monitor(key),
            Handling::Blocking => self.plan_blocking(key, command, args),
            Handling::Wait => self.plan_wait(key, command, args),
            Handling::Transaction(verb) => self.plan_verb(key, verb, command, args),
            // The lookup finds the sub-command's row; a container alone fails its arity.
            Handling::Container | Handling::Refused => self.plan_refused(key, command, args),
        }
    }

    /// Answers a request with an error, in its turn.
    #[cold]
    pub fn refuse_request(
        &mut self,
        key: ClientKey,
        args: &Args<'_>,
        kind: ErrorKind,
        text: impl FnOnce(&Args<'_>) -> Vec<u8>,
    ) -> Taken {
        self.tallies.failed(kind);
        self.tallies.replies.increment();
        self.forget_caching(key);
        if let Some(client) = self.clients.get(key) {
            if let Some(transaction) = &mut client.transaction {
                transaction.abort();
            }
            let is_muted = client.session.next_is_muted();
            let text = text(args);
            client
                .replies
                .answer(is_muted, |out| write::error(out, &text));
        }
        Taken::Yes
    }
}
