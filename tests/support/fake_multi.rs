//! `MULTI` on a fake node: commands are queued, and `EXEC` answers them, as on a real one.
//!
//! A rule that answers a queued command with an error refuses it at once; any other reply of a rule
//! is its element in `EXEC`'s array. A rule for `EXEC` replaces that array.

use super::fake_script::{Action, Request};
use super::fake_view::array;

/// What one connection of a fake node queued.
#[derive(Debug, Default)]
pub(super) struct Multi {
    queued: Option<Vec<Element>>,
    is_refused: bool,
}

/// What a queued command will answer.
#[derive(Debug)]
enum Element {
    Default(Request),
    Reply(Vec<u8>),
}

impl Multi {
    /// What the node does with a command, given what its rules say (`Action::Default` without one).
    pub(super) fn decide(
        &mut self,
        request: &Request,
        rule: Action,
        default: impl Fn(&Request) -> Vec<u8>,
    ) -> Action {
        let name = request.text(0).to_ascii_uppercase();
        match (name.as_str(), &mut self.queued) {
            ("MULTI", queued) => {
                if !is_error(&rule) {
                    *queued = Some(Vec::new());
                    self.is_refused = false;
                }
                rule
            }
            ("EXEC", Some(_)) => {
                let queued = self.queued.take().unwrap_or_default();
                match rule {
                    Action::Default => Action::Reply(self.exec(queued, default)),
                    Action::After(gate, then) if matches!(*then, Action::Default) => {
                        Action::After(gate, Box::new(Action::Reply(self.exec(queued, default))))
                    }
                    other => other,
                }
            }
            ("DISCARD", queued) => {
                *queued = None;
                rule
            }
            (_, Some(queued)) => match rule {
                Action::Default => {
                    queued.push(Element::Default(request.clone()));
                    Action::line("+QUEUED")
                }
                Action::Reply(reply) if reply.starts_with(b"-") => {
                    self.is_refused = true;
                    Action::Reply(reply)
                }
                Action::Reply(reply) => {
                    queued.push(Element::Reply(reply));
                    Action::line("+QUEUED")
                }
                other => other,
            },
            (_, None) => rule,
        }
    }

    fn exec(&self, queued: Vec<Element>, default: impl Fn(&Request) -> Vec<u8>) -> Vec<u8> {
        if self.is_refused {
            return b"-EXECABORT Transaction discarded because of previous errors.\r\n".to_vec();
        }
        let elements = queued.into_iter().map(|element| match element {
            Element::Default(request) => default(&request),
            Element::Reply(reply) => reply,
        });
        array(&elements.collect::<Vec<_>>())
    }
}

fn is_error(action: &Action) -> bool {
    matches!(action, Action::Reply(reply) if reply.starts_with(b"-"))
}
