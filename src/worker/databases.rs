//! One server has several databases, and Keyway's clients share its connections, which stay in database 0: what a
//! client put into another one it could not reach any more. So before one server Keyway looks like a server with
//! `databases 1` (contract: C5). `SELECT` is answered here; whatever else names another database goes out with an
//! index that is out of range everywhere, and the server says so in its own words and in its turn, also in `EXEC`.
//! A cluster has its own errors for them, and gets what the client sent.

use super::core::Core;
use crate::cluster::Mode;
use crate::command::Command;
use crate::resp::scan::parse_integer;
use crate::resp::{Args, write};

/// No server has this database.
const NOWHERE: &[u8] = b"-1";

impl Core {
    /// What is sent in place of a request that names another database than the one that is served.
    #[inline]
    pub(super) fn kept_in_database(
        &self,
        command: &'static Command,
        args: &Args<'_>,
    ) -> Option<Vec<u8>> {
        match command.name {
            "copy" | "move" | "swapdb" => self.without_databases(command, args),
            _ => None,
        }
    }

    #[cold]
    fn without_databases(&self, command: &'static Command, args: &Args<'_>) -> Option<Vec<u8>> {
        // While nobody knows what answers, it may be one server.
        let topology = self.nodes.topology();
        if topology.is_some_and(|topology| topology.mode == Mode::Cluster) {
            return None;
        }
        let mut words: Vec<&[u8]> = args.iter().collect();
        let mut is_changed = false;
        for at in database_places(command, args) {
            let number = args.get(at).and_then(parse_integer);
            // What is no index is refused in other words.
            if number.is_some_and(|number| (1..=i64::from(i32::MAX)).contains(&number)) {
                words[at] = NOWHERE;
                is_changed = true;
            }
        }
        is_changed.then(|| {
            let mut bytes = Vec::new();
            write::command(&mut bytes, &words);
            bytes
        })
    }
}

/// Which arguments are indices of databases. A server looks at `COPY`'s options in their order and stops at the first
/// that it does not know; what stands behind that does not matter.
fn database_places(command: &Command, args: &Args<'_>) -> Vec<usize> {
    match command.name {
        "move" => vec![2],
        "swapdb" => vec![1, 2],
        _ => {
            let mut places = Vec::new();
            let mut at = 3;
            while let Some(option) = args.get(at) {
                if option.eq_ignore_ascii_case(b"db") && at + 1 < args.len() {
                    places.push(at + 1);
                    at += 1;
                }
                at += 1;
            }
            places
        }
    }
}
