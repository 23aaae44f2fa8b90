//! The engine against slow and obvious code.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{Denied, Request, User, rules};
use crate::command::{Rights, row_named, supported};
use crate::resp::{with_args, write};

fn user(line: &str) -> User {
    let rules = rules::split(line.as_bytes()).expect("rules");
    User::of_rules("u", rules.iter().map(Vec::as_slice))
        .unwrap_or_else(|error| panic!("{line}: {error:?}"))
}

fn verdict(user: &User, request: &str) -> Result<(), Denied> {
    let mut frame = Vec::new();
    write::command(&mut frame, &request.split(' ').collect::<Vec<_>>());
    let judged = with_args(&frame, |args| {
        let crate::command::Lookup::Found(command) = crate::command::lookup(args) else {
            panic!("no row for {request}");
        };
        let rights = command.rights().unwrap_or(Rights::UNKNOWN);
        user.check(&Request::new(command, rights, args))
    });
    judged.expect("a request")
}

#[test]
fn verdicts() {
    use Denied::{Channel, Command, Key, UnknownKeys};
    for (rules, request, expected) in [
        ("on", "get a", Err(Command)),
        ("on", "auth x", Ok(())),
        ("on +get", "get a", Err(Key(1))),
        ("on +get ~a*", "get ab", Ok(())),
        ("on +get %R~a", "get a", Ok(())),
        ("on +@all %R~a", "set a 1", Err(Key(1))),
        ("on +@all %R~a %W~a", "getset a 1", Ok(())),
        ("on +@all %R~a* %W~ab", "getset ab 1", Err(Key(1))),
        ("on +@all %W~d %R~s", "copy s d", Ok(())),
        ("on +@all %W~d %R~s", "copy d s", Err(Key(1))),
        ("on +@all ~a", "mget a b c", Err(Key(2))),
        (
            "on +@all ~a",
            "xread nonsense streams a 0",
            Err(UnknownKeys),
        ),
        ("on +@all allkeys", "xread nonsense streams a 0", Ok(())),
        ("on +@all ~a", "mset a 1 b", Ok(())),
        ("on +@all ~*", "subscribe a", Err(Channel(1))),
        ("on +@all ~* &a*", "subscribe ab ac b", Err(Channel(3))),
        ("on +@all ~* &a*", "psubscribe a*", Ok(())),
        ("on +@all ~* &a*", "psubscribe ab", Err(Channel(1))),
        ("on +@all", "unsubscribe a", Ok(())),
        ("on +@all &a", "spublish a m", Ok(())),
        ("on -@all +select|0", "select 0", Ok(())),
        ("on -@all +select|0", "select 1", Err(Command)),
        ("on +select|0 +select -select", "select 0", Err(Command)),
        ("on +config|get -config", "config get x", Err(Command)),
        ("on -config +config|get", "config get x", Ok(())),
        ("on +@all -config|set", "config get x", Ok(())),
        ("on +get (~a +set)", "set a 1", Ok(())),
        ("on +get (~a +set)", "set b 1", Err(Key(1))),
        ("on +get ~b (~a +set &x)", "publish x m", Err(Command)),
        ("on (~a +get) (~b +get)", "get b", Ok(())),
    ] {
        assert_eq!(
            verdict(&user(rules), request),
            expected,
            "{rules}: {request}"
        );
    }
}

#[test]
fn what_is_no_rule() {
    for (rule, expected) in [
        ("nonsense", "Syntax error"),
        ("+nosuch", "Unknown command or category name in ACL"),
        ("-nosuch", "Unknown command or category name in ACL"),
        ("+@nosuch", "Unknown command or category name in ACL"),
        ("+config|nosuch", "Unknown command or category name in ACL"),
        ("-select|0", "Unknown command or category name in ACL"),
        ("+select|", "Syntax error"),
        (
            "+config|get|x",
            "Allowing first-arg of a subcommand is not supported",
        ),
        ("%X~a", "Syntax error"),
        ("%RR~a", "Syntax error"),
        (
            "<none",
            "The password you are trying to remove from the user does not exist",
        ),
        (
            "#abc",
            "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters",
        ),
        ("(nonsense)", "Syntax error"),
        ("(on)", "Syntax error"),
    ] {
        let (_, error) = User::of_rules("u", [rule.as_bytes()].into_iter()).expect_err(rule);
        assert_eq!(error.to_string(), expected, "{rule}");
    }
    let (_, error) =
        User::of_rules("u", [&b"~*"[..], b"~a"].into_iter()).expect_err("after all keys");
    assert!(
        error
            .to_string()
            .starts_with("Adding a pattern after the * pattern (or the 'allkeys' flag)")
    );
    let (_, error) =
        User::of_rules("u", [&b"&*"[..], b"&a"].into_iter()).expect_err("after all channels");
    assert!(
        error
            .to_string()
            .starts_with("Adding a pattern after the * pattern (or the 'allchannels' flag)")
    );
}

/// A rule about commands.
fn any_rule() -> impl Strategy<Value = String> {
    let names: Vec<&str> = supported().map(|row| row.name).collect();
    let categories = [
        "@read",
        "@write",
        "@admin",
        "@dangerous",
        "@slow",
        "@fast",
        "@pubsub",
        "@scripting",
        "@all",
    ];
    let name = prop_oneof![
        3 => proptest::sample::select(names),
        2 => proptest::sample::select(categories.to_vec()),
    ];
    (any::<bool>(), name)
        .prop_map(|(grants, name)| format!("{}{name}", if grants { '+' } else { '-' }))
}

/// What the rules make of each row, by going through all rows for each rule.
fn slowly(rules: &[String]) -> BTreeMap<&'static str, bool> {
    let mut granted: BTreeMap<&str, bool> = supported().map(|row| (row.name, false)).collect();
    for rule in rules {
        let (grants, name) = (rule.starts_with('+'), &rule[1..]);
        for row in supported() {
            let container = row
                .name
                .split('|')
                .next()
                .and_then(row_named)
                .unwrap_or(row);
            let is_in = |row: &crate::command::Command, category: &str| {
                let rights = row.rights().expect("a row of the table");
                rights.categories.names().any(|own| own == category)
            };
            let is_named = match name.strip_prefix('@') {
                Some("all") => true,
                Some(category) => is_in(row, category) || is_in(container, category),
                None => row.name == name || container.name == name,
            };
            if is_named {
                granted.insert(row.name, grants);
            }
        }
    }
    granted
}

proptest! {
    #[test]
    fn bits_are_what_the_rules_say(rules in proptest::collection::vec(any_rule(), 0..8)) {
        let words = rules.iter().map(String::as_bytes).chain([&b"~*"[..], b"&*"]);
        let user = User::of_rules("u", words).expect("the rules exist");
        let expected = slowly(&rules);
        let frame = b"*1\r\n$1\r\nx\r\n";
        for row in supported().filter(|row| !User::needs_no_user(row)) {
            let rights = row.rights().expect("a row of the table");
            let judged = with_args(frame, |args| user.check(&Request::new(row, rights, args)));
            prop_assert_eq!(judged, Some(match expected[row.name] {
                true => Ok(()),
                false => Err(Denied::Command),
            }), "{:?} {}", rules, row.name);
        }
        // What is shown makes the same user.
        let shown = user.describe();
        let shown = String::from_utf8(shown).expect("text");
        let again = self::user(shown.strip_prefix("user u ").expect("its name"));
        prop_assert_eq!(again.describe(), user.describe());
        for row in supported() {
            let rights = row.rights().expect("a row of the table");
            let both = [&user, &again].map(|user| {
                with_args(frame, |args| user.check(&Request::new(row, rights, args)))
            });
            prop_assert_eq!(both[0], both[1], "{:?} {}", rules, row.name);
        }
    }

    /// contract: F8
    #[test]
    fn nothing_panics(line in proptest::collection::vec(any::<u8>(), 0..60), text in "[-+~%&<>#!()|@a-z* ]{0,40}") {
        for line in [&line[..], text.as_bytes()] {
            if let Ok(rules) = rules::split(line) {
                let _ = User::of_rules("u", rules.iter().map(Vec::as_slice));
            }
            let _ = super::read_file(line);
        }
    }
}
