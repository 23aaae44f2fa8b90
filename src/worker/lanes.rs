//! What keeps one client's requests on one slot in order while they are sent again (contract: R13).

use std::collections::HashMap;

use super::nodes::ConnectionKey;
use crate::cluster::Slot;
use crate::command::{self, Command, KeysError};
use crate::resp::with_args;

/// Where the lanes of one client lead while its requests are sent again.
pub struct Lanes {
    /// How many requests are on their way in each lane.
    on_their_way: HashMap<Slot, usize>,
    /// Lanes in which a request was met, and the connection that took it, if one did.
    met: HashMap<Slot, Option<ConnectionKey>>,
}

impl Lanes {
    /// `waiting` are the lanes of everything that is not answered, `parked` those of what waits to be
    /// sent again.
    pub fn new(waiting: impl Iterator<Item = Slot>, parked: impl Iterator<Item = Slot>) -> Lanes {
        let mut on_their_way = HashMap::new();
        for lane in waiting {
            *on_their_way.entry(lane).or_insert(0) += 1;
        }
        for lane in parked {
            if let Some(count) = on_their_way.get_mut(&lane) {
                *count = usize::saturating_sub(*count, 1);
            }
        }
        Lanes {
            on_their_way,
            met: HashMap::new(),
        }
    }

    /// Whether nothing in this lane is on its way, or waits and comes earlier.
    pub fn is_open(&self, lane: Option<Slot>) -> bool {
        lane.is_none_or(|lane| {
            self.on_their_way.get(&lane).is_none_or(|count| *count == 0)
                && self.met.get(&lane).is_none_or(Option::is_some)
        })
    }

    /// Whether a request of this lane may go to this connection: what came earlier went there, too.
    pub fn takes(&self, lane: Option<Slot>, connection: ConnectionKey) -> bool {
        let taken = lane.and_then(|lane| self.met.get(&lane).copied().flatten());
        taken.is_none_or(|earlier| earlier == connection)
    }

    /// A request of this lane was met; `sent` is the connection that took it.
    pub fn pass(&mut self, lane: Option<Slot>, sent: Option<ConnectionKey>) {
        if let Some(lane) = lane {
            self.met.insert(lane, sent);
        }
    }
}

/// Whether two requests on one slot, as they go over the wire, have a key in common, as far as can be
/// told.
pub fn share_key(one: (&Command, &[u8]), other: (&Command, &[u8])) -> bool {
    match (keys_of(one.0, one.1), keys_of(other.0, other.1)) {
        (Some(keys), Some(others)) => others.iter().any(|key| keys.contains(key)),
        // Only a node could tell.
        _ => true,
    }
}

/// The keys of a request as it goes over the wire; `None` when only a node could tell.
pub fn keys_of(command: &Command, bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
    if command.is_block() {
        return command::block_keys(bytes);
    }
    let keys = with_args(bytes, |args| {
        match command::key_positions(command, args) {
            Ok(positions) => {
                let keys = positions.iter().filter_map(|at| args.get(at));
                Some(keys.map(<[u8]>::to_vec).collect())
            }
            Err(KeysError::Asked) => None,
            // It is wrong, and every node says so.
            Err(_) => Some(Vec::new()),
        }
    });
    keys.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Lookup, lookup};
    use crate::resp::write;

    fn slot(number: u16) -> Slot {
        Slot::new(number).expect("the tests use real slots")
    }

    /// contract: R13
    #[test]
    fn a_lane_is_closed_while_something_is_on_its_way() {
        let (busy, free) = (slot(1), slot(2));
        let mut lanes = Lanes::new([busy, busy, free].into_iter(), [busy, free].into_iter());
        assert!(!lanes.is_open(Some(busy)));
        assert!(lanes.is_open(Some(free)));
        assert!(lanes.is_open(None));
        lanes.pass(Some(free), Some(ConnectionKey(7)));
        assert!(lanes.is_open(Some(free)));
        assert!(lanes.takes(Some(free), ConnectionKey(7)));
        assert!(!lanes.takes(Some(free), ConnectionKey(8)));
        lanes.pass(Some(free), None);
        assert!(!lanes.is_open(Some(free)), "what comes earlier stays");
    }

    #[test]
    fn requests_that_share_a_key() {
        let check = |one: &[&str], other: &[&str], expected: bool| {
            let frame = |words: &[&str]| {
                let mut out = Vec::new();
                write::command(&mut out, words);
                out
            };
            let row = |words: &[&str]| {
                let found = with_args(&frame(words), lookup);
                match found.expect("a request") {
                    Lookup::Found(row) => row,
                    Lookup::Unknown | Lookup::UnknownSubcommand(_) => panic!("no row"),
                }
            };
            let shared = share_key((row(one), &frame(one)), (row(other), &frame(other)));
            assert_eq!(shared, expected, "{one:?} {other:?}");
        };
        check(&["GET", "a"], &["SET", "a", "b"], true);
        check(&["GET", "b"], &["SET", "a", "b"], false);
        check(&["MSET", "a", "1", "b", "2"], &["DEL", "c", "b"], true);
        check(&["EVAL", "a", "1", "k"], &["GET", "a"], false);
        check(&["EVAL", "s", "0"], &["EVAL", "s", "0"], false);
    }
}
