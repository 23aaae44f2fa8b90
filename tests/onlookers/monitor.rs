//! What a client in MONITOR is shown, and what it may ask.

use std::time::{Duration, SystemTime};

use super::support::{Client, Flavor, Keyway, Scene, Value, each_flavor};
use super::{clients, keyway};

each_flavor!(
    the_same_lines_as_one_server,
    a_monitor_may_ask_what_it_may_on_one_server,
    secrets_are_not_shown,
    every_worker_shows_every_request,
    replies_come_first,
);

/// A line without its time, which is checked, and without the address's port.
#[track_caller]
fn shown(value: &Value) -> String {
    let line = value.text();
    let (time, rest) = line.split_once(' ').expect("a time and more");
    let (seconds, micros) = time.split_once('.').expect("a fraction");
    assert_eq!(micros.len(), 6, "{line}");
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let seconds: u64 = seconds.parse().expect("a number");
    assert!(now.abs_diff(seconds) <= 60, "{line}");
    let (head, rest) = rest.split_once("] ").expect("an address");
    let port = head.rsplit_once(':').expect("a port").0;
    format!("{port}] {rest}")
}

/// All lines until the one of this ECHO.
#[track_caller]
fn lines_until(monitor: &mut Client, mark: &str) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let line = shown(&monitor.read());
        if line.ends_with(&format!("\"ECHO\" \"{mark}\"")) {
            return lines;
        }
        lines.push(line);
    }
}

#[track_caller]
fn monitor(keyway: &Keyway) -> Client {
    let mut monitor = keyway.client();
    monitor.expect("MONITOR", "+OK");
    monitor
}

/// Commands of all kinds, answered here and there, refused, admin's. contract: S7
fn the_same_lines_as_one_server(flavor: Flavor) {
    let keyway = keyway(flavor, 1);
    let plain = Scene::shared(flavor).plain();
    let mut theirs = (plain.client(), plain.client());
    let mut ours = (monitor(&keyway), keyway.client());
    theirs.0.expect("MONITOR", "+OK");
    let lines = [
        "PING",
        "ping x",
        "SET {m}k 1",
        "GET {m}k",
        "LPOP {m}k",
        "NOSUCH 1",
        "GET",
        "INCR {m}none",
        r#"SET {m}k "a\r\n\x00\xff\"\\ \x07""#,
        "DEL {m}k {m}none",
        "MGET {m}a {m}b",
        "CONFIG GET maxmemory",
        "ACL WHOAMI",
        "ACL LIST",
        "CLIENT ID",
        "CLIENT LIST",
        "CLIENT INFO",
        "CLIENT GETNAME",
        "CLIENT SETNAME x",
        "CLIENT KILL ID 99999",
        "CLIENT PAUSE 0 WRITE",
        "CLIENT UNPAUSE",
        "CLIENT NO-EVICT on",
        "CLIENT REPLY ON",
        "INFO server",
        "DBSIZE",
        "TIME",
        "COMMAND COUNT",
        "SLOWLOG LEN",
        "LATENCY RESET",
        "EVAL return(1) 0",
        "EVALSHA x 0",
        "SCRIPT EXISTS x",
        "SCRIPT LOAD return(1)",
        "FUNCTION LIST",
        "FCALL x 0",
        "PUBLISH c m",
        "BLPOP {m}none 0.01",
        "WAIT 0 0",
        "SELECT 0",
        "OBJECT ENCODING {m}k",
        "LASTSAVE",
        "ROLE",
        "MULTI",
        "SET {m}k 1",
        "get {m}k",
        "ECHO inside",
        "EXEC",
        "MULTI",
        "GET {m}k",
        "DISCARD",
        "MULTI",
        "NOSUCH",
        "GET {m}k",
        "EXEC",
        "EXEC",
        "DISCARD",
        "WATCH {m}k",
        "MULTI",
        "SET {m}k 2",
        "CLIENT GETNAME",
        "EXEC",
        "WATCH {m}k",
        "UNWATCH",
        "HELLO 3",
        "GET {m}k",
        "HELLO 2",
        "HELLO 9",
        "RESET",
        "ECHO mark",
    ];
    for client in [&mut theirs.1, &mut ours.1] {
        for line in lines {
            client.call(line);
        }
    }
    let wanted = lines_until(&mut theirs.0, "mark");
    let got = lines_until(&mut ours.0, "mark");
    assert_eq!(got, wanted);
    assert!(got.len() > 30, "{got:?}");
}

/// contract: S7
fn a_monitor_may_ask_what_it_may_on_one_server(flavor: Flavor) {
    let keyway = keyway(flavor, 1);
    let plain = Scene::shared(flavor).plain();
    let mut theirs = plain.client();
    let mut ours = keyway.client();
    for client in [&mut theirs, &mut ours] {
        client.expect("MONITOR", "+OK");
    }
    for line in [
        "PING",
        "GET k",
        "SET k v",
        "ECHO x",
        "EVAL return(1) 0",
        "EVAL_RO return(1) 0",
        "PUBLISH c m",
        "DBSIZE",
        "KEYS *",
        "PFCOUNT h",
        "BLPOP k 0.1",
        "CLIENT GETNAME",
        "CLIENT NOSUCH",
        "CLIENT UNPAUSE",
        "NOSUCH",
        "GET",
        "MONITOR x",
        "SELECT 0",
        "ROLE",
    ] {
        let wanted = theirs.call(line).to_string();
        assert_eq!(ours.call(line).to_string(), wanted, "{line}");
        // What is shown of it comes behind, if anything.
        for client in [&mut theirs, &mut ours] {
            client.send("ECHO behind");
        }
        let [wanted, got] = [&mut theirs, &mut ours].map(|client| {
            let mut before = Vec::new();
            loop {
                match client.read() {
                    Value::Bulk(_) => break,
                    line => before.push(shown(&line)),
                }
            }
            client.read();
            before
        });
        assert_eq!(got, wanted, "{line}");
    }
    // A second MONITOR is not answered at all.
    ours.send_raw("MONITOR\r\nPING\r\n");
    ours.expect_next("+PONG");
    ours.read();
    let info = ours.call("CLIENT INFO").text();
    assert!(info.contains(" flags=O "), "{info}");
    ours.read();
    assert_eq!(keyway.metric("keyway_monitor_clients"), 1.0);
    // It is not paused, and it is a client of the type normal.
    ours.expect("CLIENT PAUSE 400", "+OK");
    ours.expect("PING", "+PONG");
    ours.read();
    ours.expect("RESET", "+RESET");
    ours.expect("GET {m}none", "nil");
    let mut other = keyway.client();
    other.expect("PING", "+PONG");
    ours.expect("PING", "+PONG");
    assert_eq!(keyway.metric("keyway_monitor_clients"), 0.0);
}

/// contract: S7
fn secrets_are_not_shown(flavor: Flavor) {
    let seeds = Scene::shared(flavor).cluster.seeds();
    let keyway = Keyway::before(&seeds)
        .set("listen.password", "\"the-secret\"")
        .start();
    let mut monitor = keyway.client();
    monitor.expect_error("MONITOR", "NOAUTH");
    monitor.expect("AUTH the-secret", "+OK");
    monitor.expect("MONITOR", "+OK");
    let mut client = keyway.client();
    for line in [
        "GET k",
        "AUTH the-wrong-secret",
        "AUTH default the-secret",
        "HELLO 3 AUTH default the-secret SETNAME me",
        "ECHO mark",
    ] {
        client.call(line);
    }
    let lines = lines_until(&mut monitor, "mark");
    assert!(!format!("{lines:?}").contains("secret"), "{lines:?}");
    let ends = [
        r#""AUTH" "(redacted)""#,
        r#""AUTH" "(redacted)" "(redacted)""#,
        r#""HELLO" "3" "AUTH" "(redacted)" "(redacted)" "SETNAME" "me""#,
    ];
    assert_eq!(lines.len(), ends.len(), "{lines:?}");
    for (line, end) in lines.iter().zip(ends) {
        assert!(line.ends_with(end), "{line}");
    }
}

/// What is asked after a monitor heard OK is shown to it, whichever workers the two are on.
/// contract: S7
fn every_worker_shows_every_request(flavor: Flavor) {
    let keyway = keyway(flavor, 3);
    let mut monitors: [Client; 4] = std::array::from_fn(|_| monitor(&keyway));
    let mut writers: [Client; 6] = clients(&keyway);
    for (number, writer) in writers.iter_mut().enumerate() {
        for request in 0..50 {
            writer.expect(&format!("SET seen:{number} {request}"), "+OK");
        }
    }
    for monitor in &mut monitors {
        let mut next = [0; 6];
        for _ in 0..300 {
            let line = shown(&monitor.read());
            let words: Vec<_> = line.rsplitn(3, '"').collect();
            let request: usize = words[1].parse().expect("a number");
            let key = line.split("seen:").nth(1).expect("the key");
            let number = usize::from(key.as_bytes()[0] - b'0');
            assert_eq!(request, next[number], "in the order of the client: {line}");
            next[number] += 1;
        }
        assert_eq!(next, [50; 6]);
    }
    // Those that end are not shown anything, and cost the others nothing.
    let mut rest = monitors.into_iter();
    let mut last = rest.next().expect("four");
    drop(rest);
    super::support::eventually("three have left", super::SOON, || {
        keyway.metric("keyway_monitor_clients") == 1.0
    });
    writers[0].expect("SET seen:0 51", "+OK");
    assert!(shown(&last.read()).ends_with(r#""SET" "seen:0" "51""#));
    last.expect("QUIT", "+OK");
    last.expect_closed();
    super::support::eventually("nobody monitors", super::SOON, || {
        keyway.metric("keyway_monitor_clients") == 0.0
    });
}

/// MONITOR comes after what was asked before, and what follows in one write is looked at after OK.
/// contract: S7 P2
fn replies_come_first(flavor: Flavor) {
    let keyway = keyway(flavor, 2);
    let mut client = keyway.client();
    client.send_raw("GET {m}none\r\nGET {m}none\r\nMONITOR\r\nPING\r\nECHO hi\r\nQUIT\r\n");
    for reply in ["nil", "nil", "+OK", "+PONG"] {
        client.expect_next(reply);
    }
    assert!(shown(&client.read()).ends_with("\"PING\""));
    client.expect_next("'hi'");
    assert!(shown(&client.read()).ends_with("\"ECHO\" \"hi\""));
    client.expect_next("+OK");
    client.expect_closed();
    // With replies off nothing is shown.
    let mut quiet = monitor(&keyway);
    quiet.send("CLIENT REPLY OFF");
    let mut other = keyway.client();
    quiet.expect_silence(Duration::from_millis(100));
    other.expect("PING", "+PONG");
    quiet.expect_silence(Duration::from_millis(200));
    quiet.expect("CLIENT REPLY ON", "+OK");
    assert!(shown(&quiet.read()).ends_with(r#""CLIENT" "REPLY" "ON""#));
}
