//! Where Keyway differs from one server, and why. This table is the whole list: what it does not
//! name is compared byte for byte, or by the mark on the command's line in the catalogue, which
//! stands for chance, time, identity or the order of a hash table.

use super::support::Value;

/// A difference that is there and stays.
struct Known {
    /// What a client does. With [`Seen::Replies`], the command with `*` for anything.
    command: &'static str,
    seen: Seen,
    /// Why.
    why: &'static str,
}

enum Seen {
    /// It is sent, and these replies count as the same; `*` for anything.
    Replies {
        one: &'static str,
        keyway: &'static str,
    },
    /// The sequences leave it out, because what follows would differ as well.
    LeftOut,
}

use Seen::{LeftOut, Replies};

#[rustfmt::skip]
const KNOWN: &[Known] = &[
    // What a cluster cannot do.
    Known { command: "keys of several slots in one command", seen: LeftOut, why: "CROSSSLOT (contract: M2); also where a wrong number of keys makes keys of other words" },
    Known { command: "SORT with BY or GET and a pattern", seen: LeftOut, why: "the nodes of a cluster refuse it" },
    Known { command: "SWAPDB, MOVE, SELECT n in a transaction", seen: LeftOut, why: "most clusters have one database (contract: C5); where there are several, SELECT of another one in a transaction is refused" },
    Known { command: "SELECT *", seen: Replies { one: "*", keyway: "-ERR SELECT is not allowed in cluster mode" }, why: "most clusters have one database (contract: C5)" },
    Known { command: "CLUSTER, READONLY, READWRITE, ASKING", seen: LeftOut, why: "one server says that cluster support is disabled; Keyway serves them (contract: C4)" },
    Known { command: "DBSIZE, KEYS, FLUSHALL, SCRIPT, FUNCTION, CONFIG, PUBSUB ... inside MULTI", seen: LeftOut, why: "they go to many nodes: CROSSSLOT when queued (contract: T2); where a cluster has one primary, DBSIZE, KEYS, FLUSHALL, INFO, SCRIPT EXISTS and the like are queued, and what they answer is the node's own" },
    Known { command: "DEBUG, SHUTDOWN, REPLICAOF and other operator commands", seen: LeftOut, why: "refused (contract: C7)" },
    // What Keyway answers itself.
    Known { command: "CLIENT SETINFO*", seen: Replies { one: "-ERR unknown subcommand*", keyway: "*" }, why: "Keyway knows what newer servers have: libraries send it to any server" },
    Known { command: "CLIENT NO-TOUCH*", seen: Replies { one: "-ERR unknown subcommand*", keyway: "*" }, why: "as CLIENT SETINFO" },
    Known { command: "CLIENT KILL ID *", seen: Replies { one: "-ERR syntax error", keyway: "-ERR client-id should be greater than 0" }, why: "Valkey 8.1 has other words for what is no number" },
    Known { command: "CLIENT LIST ID *", seen: Replies { one: "-ERR syntax error", keyway: "-ERR Invalid client ID" }, why: "as CLIENT KILL" },
    Known { command: "CLIENT LIST ID *", seen: Replies { one: "-ERR client-id should be greater than 0", keyway: "*" }, why: "Valkey 8.1; elsewhere it is a client that is not there" },
    Known { command: "CLIENT PAUSE * * *", seen: Replies { one: "+OK", keyway: "-ERR *" }, why: "Valkey 8.1 does not mind a word too many" },
    Known { command: "CLIENT NO-TOUCH ON, then reads (newer servers)", seen: LeftOut, why: "it is accepted and shown in CLIENT LIST, but reads still touch keys (OBJECT IDLETIME, eviction): they go over shared connections" },
    Known { command: "CLIENT HELP", seen: Replies { one: "[*", keyway: "[*" }, why: "Keyway tells what its own CLIENT does; inside MULTI it is left out" },
    Known { command: "HELLO * AUTH * * *", seen: Replies { one: "-WRONGPASS*", keyway: "-ERR Syntax error in HELLO option*" }, why: "wrong password and wrong option: Redis 7.0 complains of the first, newer servers and Keyway of the option" },
    Known { command: "HELLO with another version inside MULTI", seen: LeftOut, why: "refused: the transaction's replies come from connections of one version" },
    Known { command: "WAITAOF*", seen: Replies { one: "-ERR unknown command*", keyway: "-ERR *" }, why: "Keyway knows it, and asks a server that does not with the time that is left" },
    Known { command: "WAITAOF, CLIENT SETINFO, ZRANK WITHSCORE: queued, or in RESP2 with subscriptions; COMMAND GETKEYS with one argument", seen: LeftOut, why: "newer servers have them, or take more arguments; Redis 7.0 refuses earlier" },
    Known { command: "CLIENT PAUSE n WRITE, and FCALL of a function that promises not to write (no-writes), or EVALSHA of such a script that never passed through Keyway", seen: LeftOut, why: "it waits: Keyway does not know what is promised; one server lets it go on" },
    Known { command: "more than 1,048,576 arguments", seen: LeftOut, why: "Keyway's limit, as that of Redis 6.2; later servers have none (contract: P5)" },
    Known { command: "a wrong request before AUTH (Valkey 9)", seen: LeftOut, why: "it says NOAUTH first; Keyway, as all others, says what is wrong" },
    Known { command: "CLIENT LIST and CLIENT KILL with several filters, or those of Valkey 8.1 and 9 (NAME, IDLE, LIB-NAME, IP, NOT-ID ...)", seen: LeftOut, why: "a syntax error, as on Redis" },
    Known { command: "MSETEX over several slots", seen: LeftOut, why: "CROSSSLOT: with NX or XX it is all or nothing, as MSETNX" },
    Known { command: "ACL: VADD and other commands of vector sets", seen: LeftOut, why: "they are in @read or @write; Redis 8.0 has them in no category" },
    Known { command: "HELLO: availability_zone (Valkey 8.1)", seen: LeftOut, why: "it would be a node's zone, not Keyway's" },
    // What takes its time.
    Known { command: "EVALSHA of a script that passed through Keyway and never ran (in a transaction that was given up, with a wrong number of keys, later in the same pipeline)", seen: LeftOut, why: "Keyway knows the body and runs it; one server says NOSCRIPT (contract: T4)" },
    Known { command: "PUBLISH in a transaction", seen: LeftOut, why: "its number of receivers is the node's own, in which each hub of a Keyway is one; the messages are compared" },
    Known { command: "the order of messages of different channels or patterns", seen: LeftOut, why: "they come through different nodes; within one they are in order" },
    Known { command: "a message published just before a SUBSCRIBE", seen: LeftOut, why: "on its way through the cluster it may still reach the new subscriber" },
    Known { command: "PUBLISH and UNSUBSCRIBE, RESET in one pipeline of a subscriber", seen: LeftOut, why: "the message comes back through the cluster, when the client has left the channel" },
    Known { command: "a subscriber's PUBLISH in its own transaction (RESP3)", seen: LeftOut, why: "Redis 7.0 puts the message between the elements of EXEC's reply; Keyway never does (contract: P6)" },
    // What the servers themselves get wrong.
    Known { command: "CLIENT REPLY OFF or SKIP inside MULTI", seen: LeftOut, why: "both servers send fewer elements than EXEC's reply announces" },
    Known { command: "a failing AUTH of a named user in a pipeline (Redis 7.2 and later, Valkey to 8.1)", seen: LeftOut, why: "it is not answered when replies are pending; Keyway answers" },
    Known { command: "a line of blanks (Valkey 8.0)", seen: LeftOut, why: "the array that follows is taken for lines of text" },
    Known { command: "other bytes where CR and LF belong, or letters right behind a closing quote (Valkey 9)", seen: LeftOut, why: "a protocol error there, and a longer word; Keyway reads as Redis and older Valkey do" },
    Known { command: "CLIENT REPLY SKIP and an empty request behind it (Redis 8)", seen: LeftOut, why: "it skips the next one that is not; elsewhere, and in Keyway, the empty one is what is skipped" },
    Known { command: "UNSUBSCRIBE of a client without subscriptions (Valkey 8.0.1)", seen: LeftOut, why: "an error there and in no other version; Keyway confirms" },
    Known { command: "a breach of the protocol in a pipeline, behind a command that blocks (Redis 8)", seen: LeftOut, why: "it says nothing and does not close; Keyway says what is wrong and closes" },
    Known { command: "unknown commands and sub-commands, wrong counts (Redis 6.2)", seen: LeftOut, why: "Keyway has the words of Redis 7.0" },
    Known { command: "QUIT while replies are off", seen: LeftOut, why: "the servers close after the last reply that is written, so they may not close at all; Keyway closes" },
    // What one server would not do twice either.
    Known { command: "SPOP, SRANDMEMBER, HRANDFIELD, ZRANDMEMBER of some of the elements", seen: LeftOut, why: "chance; all of the elements, or their number, are compared" },
    Known { command: "a range by name of a sorted set with different scores", seen: LeftOut, why: "what a skip list finds then is chance" },
    Known { command: "XADD *, keys about to expire, RESTORE with a time that overflows", seen: LeftOut, why: "time" },
];

/// The table as README.md shows it.
pub fn markdown() -> String {
    let mut out =
        String::from("| what a client does | one server | Keyway | why |\n|---|---|---|---|\n");
    for known in KNOWN {
        let anything = |pattern: &str| pattern.replace('*', "…");
        let (what, one, keyway) = match known.seen {
            LeftOut => {
                let what = known.command.replace('*', "\\*");
                (what, "left out".to_owned(), "left out".to_owned())
            }
            Replies { one, keyway } => {
                let [one, keyway] = [one, keyway].map(|reply| format!("`{}`", anything(reply)));
                (anything(known.command), one, keyway)
            }
        };
        out.push_str(&format!("| {what} | {one} | {keyway} | {} |\n", known.why));
    }
    out
}

/// Whether the table names this difference.
pub fn explains(command: &str, one: &Value, keyway: &Value) -> bool {
    let (one, keyway) = (one.to_string(), keyway.to_string());
    let upper = command.to_ascii_uppercase();
    KNOWN.iter().any(|known| match known.seen {
        LeftOut => false,
        Replies {
            one: own,
            keyway: ours,
        } => matches(known.command, &upper) && matches(own, &one) && matches(ours, &keyway),
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
