//! The same talk with one plain server and through Keyway: two clients, one of which tracks. After each
//! line both are compared: the replies, and what the one that tracks was told.

use super::support::{Client, Flavor, Scene, each_flavor};
use super::{ask, invalid, messages};

each_flavor!(
    default_mode,
    caching_is_opted_in,
    caching_is_opted_out,
    own_changes_are_not_told,
    broadcast,
    transactions,
    streams,
    versions_change,
    mistakes_get_the_servers_words,
);

/// Two clients at a server.
struct Pair {
    tracker: Client,
    other: Client,
}

/// A plain server and Keyway, side by side.
struct Talk {
    plain: Pair,
    keyway: Pair,
    faults: Vec<String>,
}

impl Talk {
    /// Keys are to begin with `{name}`: the shared servers have other guests.
    fn begin(flavor: Flavor, name: &str) -> Talk {
        let scene = Scene::shared(flavor);
        let pair = |connect: &dyn Fn() -> Client| {
            let mut pair = Pair {
                tracker: connect(),
                other: connect(),
            };
            assert!(!pair.tracker.call("HELLO 3").is_error());
            for key in ["a", "b", "c", "s"] {
                pair.other.call(&format!("DEL {name}{key}"));
            }
            pair
        };
        Talk {
            plain: pair(&|| scene.plain().client()),
            keyway: pair(&|| scene.keyway.client()),
            faults: Vec::new(),
        }
    }

    /// A transaction of the client that tracks; what it is told is looked at behind its `EXEC`.
    fn executes(&mut self, lines: &[&str]) {
        let heard = [&mut self.plain, &mut self.keyway].map(|pair| {
            let mut heard = Vec::new();
            for line in lines {
                let (reply, told) = ask(&mut pair.tracker, line);
                heard.push(reply);
                heard.extend(told);
            }
            heard.extend(messages(&mut pair.tracker));
            heard
        });
        if heard[0] != heard[1] {
            let [plain, keyway] = &heard;
            let fault = format!("{lines:?}\n plain: {plain:?}\n keyway: {keyway:?}");
            self.faults.push(fault);
        }
    }

    /// Lines beginning with `+` are said by the client that does not track.
    fn says(&mut self, lines: &[&str]) {
        for line in lines {
            let heard = [&mut self.plain, &mut self.keyway].map(|pair| {
                let reply = match line.strip_prefix("+ ") {
                    Some(line) => pair.other.call(line).to_string(),
                    None => {
                        let (reply, early) = ask(&mut pair.tracker, line);
                        assert!(early.is_empty(), "{line}: {early:?} before {reply}");
                        reply
                    }
                };
                (reply, told(&mut pair.tracker, line))
            });
            if heard[0] != heard[1] {
                let [plain, keyway] = &heard;
                self.faults
                    .push(format!("{line}\n plain: {plain:?}\n keyway: {keyway:?}"));
            }
        }
    }

    #[track_caller]
    fn end(self) {
        assert!(self.faults.is_empty(), "{}", self.faults.join("\n"));
    }
}

/// What the client was told. `PING` would use up `CLIENT CACHING`; `CLIENT ID` does not.
fn told(client: &mut Client, after: &str) -> Vec<String> {
    match after.starts_with("CLIENT CACHING") {
        true => ask(client, "CLIENT GETREDIR").1,
        false => messages(client),
    }
}

/// contract: S6
fn default_mode(flavor: Flavor) {
    let mut talk = Talk::begin(flavor, "{dm}");
    talk.says(&[
        "CLIENT TRACKINGINFO",
        "CLIENT GETREDIR",
        "CLIENT TRACKING ON",
        "CLIENT TRACKINGINFO",
        "CLIENT GETREDIR",
        "GET {dm}a",
        "+ SET {dm}a 1",
        // Told once: the next change is news only to who has read it again.
        "+ SET {dm}a 2",
        "GET {dm}a",
        "GET {dm}a",
        "+ INCR {dm}a",
        "MGET {dm}a {dm}b",
        "+ MSET {dm}a 1 {dm}b 2 {dm}c 3",
        "EXISTS {dm}a",
        "+ DEL {dm}a",
        "SET {dm}a 5",
        "GET {dm}a",
        // Its own changes are told, too.
        "SET {dm}a 6",
        "INCR {dm}a",
        "XADD {dm}s 1-1 f v",
        "XREAD STREAMS {dm}s 0",
        "+ XADD {dm}s 2-1 f v",
        "EVAL \"return redis.call('get', KEYS[1])\" 1 {dm}a",
        "+ SET {dm}a 7",
        "STRLEN {dm}c",
        "+ UNLINK {dm}c",
        "PING hello",
        "CLIENT TRACKING ON NOLOOP",
        "CLIENT TRACKINGINFO",
        "CLIENT TRACKING OFF",
        "CLIENT TRACKINGINFO",
        "GET {dm}a",
        "+ SET {dm}a 8",
        "CLIENT TRACKING OFF",
    ]);
    talk.end();
    let mut client = Scene::shared(flavor).keyway.client_resp3();
    let flags = |client: &mut Client| {
        let line = client.call("CLIENT INFO").text();
        let has = |word: &str| line.split(' ').any(|field| field == word);
        (
            has("flags=t"),
            has("flags=tB"),
            has("redir=0"),
            has("redir=-1"),
        )
    };
    assert_eq!(flags(&mut client), (false, false, false, true));
    client.expect("CLIENT TRACKING ON", "+OK");
    assert_eq!(flags(&mut client), (true, false, true, false));
    client.expect("RESET", "+RESET");
    client.call("HELLO 3");
    assert_eq!(flags(&mut client), (false, false, false, true));
    // Without a prefix it would hear of the other tests' keys.
    client.expect("CLIENT TRACKING ON BCAST PREFIX {dm}", "+OK");
    assert_eq!(flags(&mut client), (false, true, true, false));
}

/// contract: S6
fn caching_is_opted_in(flavor: Flavor) {
    // Redis 6.2 has other words for some mistakes.
    if !flavor.is_since(7, 0) {
        return;
    }
    let mut talk = Talk::begin(flavor, "{oi}");
    talk.says(&[
        "CLIENT CACHING YES",
        "CLIENT TRACKING ON OPTIN",
        "CLIENT CACHING NO",
        "CLIENT CACHING maybe",
        "GET {oi}a",
        "+ SET {oi}a 1",
        "CLIENT CACHING YES",
        "CLIENT TRACKINGINFO",
        "CLIENT ID",
        "GET {oi}a",
        "CLIENT TRACKINGINFO",
        "+ SET {oi}a 2",
        "CLIENT CACHING YES",
        "MGET {oi}a {oi}b",
        "+ SET {oi}b 2",
        // It holds for one command, also for one that is refused.
        "CLIENT CACHING YES",
        "NOSUCHCOMMAND",
        "GET {oi}a",
        "+ SET {oi}a 3",
        "CLIENT CACHING YES",
        "GET",
        "GET {oi}a",
        "+ SET {oi}a 4",
        "CLIENT CACHING YES",
        "PING",
        "GET {oi}a",
        "+ SET {oi}a 5",
        "CLIENT TRACKING ON OPTOUT",
        "CLIENT TRACKING ON OPTIN NOLOOP",
        "CLIENT TRACKINGINFO",
        "CLIENT TRACKING OFF",
        "CLIENT CACHING YES",
    ]);
    // `CLIENT ID` differs, of course.
    talk.faults.retain(|fault| !fault.starts_with("CLIENT ID"));
    talk.end();
}

/// contract: S6
fn caching_is_opted_out(flavor: Flavor) {
    let mut talk = Talk::begin(flavor, "{oo}");
    talk.says(&[
        "CLIENT TRACKING ON OPTOUT",
        "CLIENT CACHING YES",
        "CLIENT CACHING NO",
        "CLIENT TRACKINGINFO",
        "GET {oo}a",
        "+ SET {oo}a 1",
        "GET {oo}a",
        "+ SET {oo}a 2",
        "CLIENT CACHING NO",
        "MGET {oo}a {oo}b",
        "+ SET {oo}b 2",
        "CLIENT TRACKING ON",
        "CLIENT TRACKINGINFO",
    ]);
    talk.end();
}

/// contract: S6
fn own_changes_are_not_told(flavor: Flavor) {
    let mut talk = Talk::begin(flavor, "{nl}");
    talk.says(&[
        "CLIENT TRACKING ON NOLOOP",
        "GET {nl}a",
        "SET {nl}a 1",
        "GET {nl}a",
        "+ SET {nl}a 2",
        "MGET {nl}a {nl}b",
        "MSET {nl}a 1 {nl}b 2",
        "CLIENT TRACKING OFF",
        "CLIENT TRACKING ON BCAST NOLOOP PREFIX {nl}",
        "SET {nl}a 1",
        "+ SET {nl}a 2",
    ]);
    talk.end();
}

/// contract: S6
fn broadcast(flavor: Flavor) {
    let mut talk = Talk::begin(flavor, "{bc}");
    talk.says(&[
        "CLIENT TRACKING ON BCAST PREFIX {bc}a PREFIX {bc}b",
        "CLIENT TRACKINGINFO",
        "+ SET {bc}a 1",
        "+ SET {bc}a 1",
        "+ MSET {bc}b 1 {bc}c 1",
        "CLIENT TRACKING ON BCAST PREFIX {bc}ab",
        "CLIENT TRACKING ON BCAST PREFIX {bc}c",
        "CLIENT TRACKINGINFO",
        "+ DEL {bc}a {bc}b",
        "+ SET {bc}c 1",
        "SET {bc}c 1",
        "CLIENT TRACKING ON",
        "CLIENT CACHING YES",
        "CLIENT TRACKING OFF",
        "CLIENT TRACKINGINFO",
        "+ SET {bc}c 1",
    ]);
    talk.end();
}

/// What a transaction reads is tracked, and `CLIENT CACHING` holds for all of it.
///
/// contract: S6 T1
fn transactions(flavor: Flavor) {
    let mut talk = Talk::begin(flavor, "{tx}");
    let reads = ["MULTI", "GET {tx}a", "MGET {tx}b {tx}c", "EXEC"];
    let changes = ["+ SET {tx}a 1", "+ SET {tx}c 1"];
    talk.says(&["CLIENT TRACKING ON"]);
    talk.executes(&reads);
    talk.says(&changes);
    talk.executes(&["MULTI", "GET {tx}a", "SET {tx}a 2", "GET {tx}a", "EXEC"]);
    talk.says(&changes);
    talk.executes(&["MULTI", "GET {tx}a", "DISCARD"]);
    talk.says(&changes);
    talk.says(&["CLIENT TRACKING OFF", "CLIENT TRACKING ON OPTIN"]);
    talk.executes(&reads);
    talk.says(&changes);
    talk.says(&["CLIENT CACHING YES"]);
    talk.executes(&reads);
    talk.says(&changes);
    // It is used up.
    talk.executes(&reads);
    talk.says(&changes);
    talk.executes(&["MULTI", "CLIENT CACHING YES", "GET {tx}a", "EXEC"]);
    talk.says(&["CLIENT TRACKINGINFO", changes[0]]);
    talk.says(&["CLIENT CACHING YES"]);
    talk.executes(&["MULTI", "DISCARD", "GET {tx}a"]);
    talk.says(&["CLIENT TRACKINGINFO", changes[0]]);
    talk.says(&["CLIENT TRACKING OFF", "CLIENT TRACKING ON OPTOUT"]);
    talk.says(&["CLIENT CACHING NO"]);
    talk.executes(&reads);
    talk.says(&changes);
    talk.end();

    // What is read where keys are watched is not tracked there: it is not to be cached.
    let mut client = Scene::shared(flavor).keyway.client_resp3();
    client.expect("CLIENT TRACKING ON", "+OK");
    client.expect("WATCH {tx}a", "+OK");
    client.expect("MULTI", "+OK");
    client.expect("GET {tx}a", "+QUEUED");
    client.expect("EXEC", "['1']");
    client.expect_next(&invalid("{tx}a"));
    client.expect("MULTI", "+OK");
    client.expect_error(
        "CLIENT TRACKING OFF",
        "ERR CLIENT TRACKING is not possible inside",
    );
    client.expect_error("EXEC", "EXECABORT");
}

/// What a command that blocks reads is not tracked, as it may come from anywhere while it waits.
///
/// contract: S6 T5
fn streams(flavor: Flavor) {
    let keyway = &Scene::shared(flavor).keyway;
    let (mut client, mut other) = (keyway.client_resp3(), keyway.client());
    other.call("DEL {st}s");
    client.expect("CLIENT TRACKING ON", "+OK");
    other.expect("XADD {st}s 1-1 f v", "'1-1'");
    let read = "{'{st}s' [['1-1' ['f' 'v']]]}";
    client.expect("XREAD BLOCK 1000 STREAMS {st}s 0", read);
    client.expect_next(&invalid("{st}s"));
    client.expect("XREAD STREAMS {st}s 0", read);
    other.expect("XADD {st}s 2-1 f v", "'2-1'");
    client.expect_next(&invalid("{st}s"));
}

/// RESP2 has no pushes: nothing is said, and nothing is forgotten that has to be said in RESP3.
///
/// contract: S6 P1
fn versions_change(flavor: Flavor) {
    let mut talk = Talk::begin(flavor, "{vc}");
    talk.says(&[
        "CLIENT TRACKING ON",
        "GET {vc}a",
        "HELLO 2",
        "CLIENT TRACKINGINFO",
        "+ SET {vc}a 1",
        "GET {vc}a",
        "SET {vc}a 2",
    ]);
    talk.says(&[
        "HELLO 3",
        "CLIENT TRACKINGINFO",
        "GET {vc}a",
        "+ SET {vc}a 3",
        "GET {vc}a",
        "+ SET {vc}a 4",
        "RESET",
        "CLIENT TRACKINGINFO",
        "GET {vc}a",
        "+ SET {vc}a 5",
        // From the beginning in RESP2.
        "CLIENT TRACKING ON",
        "GET {vc}a",
        "+ SET {vc}a 6",
        "HELLO 3",
        "GET {vc}a",
        "+ SET {vc}a 7",
        "RESET",
    ]);
    // `HELLO` tells the client's number; a message would be told beside it.
    talk.faults
        .retain(|fault| !fault.starts_with("HELLO") || fault.contains("invalidate"));
    talk.end();
}

/// contract: S6
fn mistakes_get_the_servers_words(flavor: Flavor) {
    // Redis 6.2 has other words for some mistakes.
    if !flavor.is_since(7, 0) {
        return;
    }
    let mut talk = Talk::begin(flavor, "{mi}");
    talk.says(&[
        "CLIENT TRACKING",
        "CLIENT TRACKING maybe",
        "CLIENT TRACKING ON FOO",
        "CLIENT TRACKING ON PREFIX",
        "CLIENT TRACKING ON PREFIX a",
        "CLIENT TRACKING ON REDIRECT",
        "CLIENT TRACKING ON OPTIN OPTOUT",
        "CLIENT TRACKING ON BCAST OPTIN",
        "CLIENT TRACKING ON BCAST PREFIX a PREFIX ab",
        "CLIENT TRACKING OFF FOO",
        "CLIENT TRACKING OFF PREFIX a",
        "CLIENT CACHING",
        "CLIENT CACHING NO",
        "CLIENT TRACKINGINFO",
        "CLIENT TRACKING ON OPTIN",
        "CLIENT TRACKING ON OPTOUT",
        "CLIENT TRACKING ON BCAST",
        "CLIENT TRACKINGINFO",
    ]);
    talk.end();
    let mut client = Scene::shared(flavor).keyway.client_resp3();
    client.expect_error(
        "CLIENT TRACKING ON REDIRECT 7",
        "ERR CLIENT TRACKING REDIRECT is not served by Keyway",
    );
    client.expect("PING", "+PONG");
}
