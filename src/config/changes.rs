//! Which settings differ from those at start: a reload takes over some of them, and tells of the others.

use super::resolve::{Effective, Given};
use super::settings::{KEYS, LISTEN, LISTENERS};

/// Keys that are read anew while Keyway runs, besides [[users]]. All secrets are among them, so that no other value is
/// hidden in what is compared here.
const READ_ANEW: &[&str] = &[
    "listen.username",
    "listen.password",
    "listen.deny",
    "listen.allow",
    "acl.file",
    "upstream.username",
    "upstream.password",
    "upstream.second_password",
    "admin.token",
];

impl Effective {
    /// The keys that have other values here than at `start` and count only after a restart. `followed` says of
    /// each further listener at start which one here is the same.
    pub fn changes_since(&self, start: &Effective, followed: &[Option<usize>]) -> Vec<String> {
        let mut changes: Vec<String> = differences(&start.given, &self.given)
            .map(|key| KEYS[key].path())
            .collect();
        let started = start.listeners.iter().zip(followed);
        for (number, (before, followed)) in (1..).zip(started) {
            let Some(now) = followed.and_then(|index| self.listeners.get(index)) else {
                changes.push(format!("{LISTENERS}[{number}]"));
                continue;
            };
            let of_listener = differences(before, now).filter(|key| KEYS[*key].section == LISTEN);
            changes
                .extend(of_listener.map(|key| format!("{LISTENERS}[{number}].{}", KEYS[key].name)));
        }
        let is_new = |index: &usize| !followed.contains(&Some(*index));
        let new = (0..self.listeners.len()).filter(is_new);
        changes.extend(new.map(|index| format!("{LISTENERS}[{}]", index + 1)));
        changes.sort();
        changes.dedup();
        changes
    }
}

/// The places in [`KEYS`] of those that differ and are read at start only.
fn differences<'a>(
    before: &'a [Option<Given>],
    now: &'a [Option<Given>],
) -> impl Iterator<Item = usize> + 'a {
    let text = |given: &'a Option<Given>| given.as_ref().map_or("", |given| given.text.as_str());
    let pairs = before.iter().zip(now).enumerate();
    pairs
        .filter(move |(_, (before, now))| text(before) != text(now))
        .map(|(key, _)| key)
        .filter(|key| !READ_ANEW.contains(&KEYS[*key].path().as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Environment, resolve_text};

    fn resolved(more: &str) -> Effective {
        let text = format!("[cluster]\nseeds = [\"a:1\"]\n{more}");
        resolve_text(Some(("file", &text)), &Environment::default()).expect("allowed")
    }

    #[test]
    fn what_is_read_anew_is_known_and_holds_all_secrets() {
        for path in READ_ANEW {
            assert!(KEYS.iter().any(|key| key.path() == *path), "{path}");
        }
        for key in KEYS.iter().filter(|key| key.is_secret) {
            assert!(READ_ANEW.contains(&key.path().as_str()), "{}", key.path());
        }
    }

    #[test]
    fn keys_are_named() {
        let second = "[[listeners]]\nname = \"b\"\naddress = \"127.0.0.1:2\"\n";
        let third = "[[listeners]]\nname = \"c\"\naddress = \"127.0.0.1:3\"\n";
        for (before, after, followed, expected) in [
            ("", "", &[][..], &[][..]),
            (
                "",
                "[limits]\nmax_clients = 5\n",
                &[],
                &["limits.max_clients"],
            ),
            ("", "[limits]\nmax_clients = 10000\n", &[], &[]),
            (
                "[admin]\ntoken = \"a\"\n",
                "[admin]\ntoken = \"b\"\n",
                &[],
                &[],
            ),
            (
                "",
                "[listen]\npassword = \"p\"\nbacklog = 7\n",
                &[],
                &["listen.backlog"],
            ),
            (second, "", &[None], &["listeners[1]"]),
            ("", second, &[], &["listeners[1]"]),
            (
                second,
                &format!("{third}{second}"),
                &[Some(1)],
                &["listeners[1]"],
            ),
            (
                second,
                &format!("{second}deny = [\"get\"]\n"),
                &[Some(0)],
                &[],
            ),
            (
                second,
                &format!("{second}backlog = 7\n"),
                &[Some(0)],
                &["listeners[1].backlog"],
            ),
        ] {
            let changes = resolved(after).changes_since(&resolved(before), followed);
            assert_eq!(changes, expected, "{before} -> {after}");
        }
    }
}
