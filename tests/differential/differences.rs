//! Where Keyway differs from one server, and why. This table is the whole list: what it does not
//! name is compared byte for byte, or by the mark on the command's line in the catalogue.

use super::support::Value;

/// A difference that is there and stays.
struct Known {
    /// The command, the one server's reply and Keyway's, each with `*` for anything.
    command: &'static str,
    one: &'static str,
    keyway: &'static str,
    /// Why.
    #[expect(dead_code, reason = "it is for who reads the table")]
    why: &'static str,
}

#[rustfmt::skip]
const KNOWN: &[Known] = &[
    Known {
        command: "CLIENT SETINFO*",
        one: "-ERR unknown subcommand*",
        keyway: "*",
        why: "Keyway answers CLIENT itself and knows what newer servers have: libraries send it to any server",
    },
    Known {
        command: "CLIENT NO-TOUCH*",
        one: "-ERR unknown subcommand*",
        keyway: "*",
        why: "as CLIENT SETINFO",
    },
    Known {
        command: "CLIENT HELP",
        one: "[*",
        keyway: "[*",
        why: "Keyway tells what its own CLIENT does",
    },
    Known {
        command: "WAITAOF*",
        one: "-ERR unknown command*",
        keyway: "-ERR *",
        why: "Keyway knows it, and asks a server that does not with the time that is left",
    },
    Known {
        command: "HELLO * AUTH * * *",
        one: "-WRONGPASS*",
        keyway: "-ERR Syntax error in HELLO option*",
        why: "wrong password and wrong option: Redis 7.0 complains of the first, newer servers and Keyway of the option",
    },
    Known {
        command: "SELECT *",
        one: "*",
        keyway: "-ERR SELECT is not allowed in cluster mode",
        why: "a cluster has one database (contract: C5)",
    },
    Known {
        command: "EXEC",
        one: "[*DB index is out of range*",
        keyway: "[*SELECT is not allowed in cluster mode*",
        why: "as SELECT, inside a transaction",
    },
];

/// Whether the table names this difference.
pub fn explains(command: &str, one: &Value, keyway: &Value) -> bool {
    let (one, keyway) = (one.to_string(), keyway.to_string());
    KNOWN.iter().any(|known| {
        let upper = command.to_ascii_uppercase();
        matches(known.command, &upper) && matches(known.one, &one) && matches(known.keyway, &keyway)
    })
}

fn matches(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match text.find(part) {
            Some(at) => text = &text[at + part.len()..],
            None => return false,
        }
    }
    text.ends_with(last)
}
