//! CLIENT speaks of this Keyway's clients.

use std::time::Duration;

use super::support::{Client, Flavor, Keyway, Scene, each_flavor, eventually};

each_flavor! {
    mistakes_get_the_servers_words,
}

/// One value of a line of CLIENT LIST.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = line
        .trim()
        .split(' ')
        .filter_map(|field| field.split_once('='));
    fields.find(|(key, _)| *key == name).map(|(_, value)| value)
}

fn two_workers() -> Keyway {
    let cluster = &Scene::shared(Flavor::Redis).cluster;
    Keyway::before(&cluster.seeds())
        .set("proxy.workers", "2")
        .start()
}

/// contract: C2
#[test]
fn each_client_is_listed_once_with_what_it_said() {
    let keyway = two_workers();
    let mut clients: Vec<Client> = (0..8).map(|_| keyway.client()).collect();
    let mut ids = Vec::new();
    for (number, client) in clients.iter_mut().enumerate() {
        if number % 2 == 1 {
            client.call("HELLO 3");
        }
        client.expect(&format!("CLIENT SETNAME name-{number}"), "+OK");
        client.expect("CLIENT SETINFO LIB-NAME lib", "+OK");
        client.expect("CLIENT GETNAME", &format!("'name-{number}'"));
        ids.push(client.call("CLIENT ID").integer());
    }
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(sorted.len(), 8, "ids are unique over workers: {ids:?}");
    let addrs: Vec<String> = clients
        .iter()
        .map(|client| client.local_addr().to_string())
        .collect();
    for asking in &mut clients {
        let list = asking.call("CLIENT LIST").text();
        for (number, id) in ids.iter().enumerate() {
            let id = id.to_string();
            let lines: Vec<&str> = list
                .lines()
                .filter(|line| field(line, "id") == Some(&id))
                .collect();
            let [line] = lines[..] else {
                panic!("client {id} in {list}")
            };
            assert_eq!(field(line, "name"), Some(format!("name-{number}").as_str()));
            assert_eq!(field(line, "addr"), Some(addrs[number].as_str()));
            assert_eq!(
                field(line, "laddr"),
                Some(keyway.addr().to_string().as_str())
            );
            assert_eq!(
                field(line, "resp"),
                Some(if number % 2 == 1 { "3" } else { "2" })
            );
        }
        assert_eq!(list.lines().count(), 8, "{list}");
    }
    let info = clients[3].call("CLIENT INFO").text();
    assert_eq!(field(&info, "id"), Some(ids[3].to_string().as_str()));
    let chosen = clients[0]
        .call(&format!("CLIENT LIST ID {} {} 999999", ids[1], ids[6]))
        .text();
    assert_eq!(chosen.lines().count(), 2, "{chosen}");
    assert_eq!(
        clients[0]
            .call("CLIENT LIST TYPE normal")
            .text()
            .lines()
            .count(),
        8
    );
    assert_eq!(
        clients[0]
            .call("CLIENT LIST TYPE pubsub")
            .text()
            .lines()
            .count(),
        0
    );
    let last = clients.pop().expect("there are eight");
    drop(last);
    eventually("who left is not listed", Duration::from_secs(5), || {
        clients[0].call("CLIENT LIST").text().lines().count() == 7
    });
}

/// contract: C2
#[test]
fn clients_are_killed_wherever_they_are() {
    let keyway = two_workers();
    let mut killer = keyway.client();
    killer.expect("PING", "+PONG");
    for form in ["KILL ID", "KILL ADDR", "KILL"] {
        let mut victims: Vec<Client> = (0..4).map(|_| keyway.client()).collect();
        for victim in &mut victims {
            let id = victim.call("CLIENT ID").integer();
            let addr = victim.local_addr();
            let (command, reply) = match form {
                "KILL ID" => (format!("CLIENT KILL ID {id}"), ":1"),
                "KILL ADDR" => (format!("CLIENT KILL ADDR {addr}"), ":1"),
                _ => (format!("CLIENT KILL {addr}"), "+OK"),
            };
            killer.expect(&command, reply);
            victim.expect_closed();
        }
    }
    killer.expect("CLIENT KILL ID 999999", ":0");
    killer.expect("CLIENT KILL 1.2.3.4:5", "-ERR No such client");
    // All but oneself, and then oneself.
    let mut victims: Vec<Client> = (0..6).map(|_| keyway.client()).collect();
    for victim in &mut victims {
        victim.expect("PING", "+PONG");
    }
    killer.expect("CLIENT KILL TYPE normal", ":6");
    for victim in &mut victims {
        victim.expect_closed();
    }
    killer.expect("PING", "+PONG");
    let id = killer.call("CLIENT ID").integer();
    killer.expect(&format!("CLIENT KILL ID {id} SKIPME yes"), ":0");
    killer.send(&format!("CLIENT KILL ID {id} SKIPME no"));
    killer.expect_next(":1");
    killer.expect_closed();
}

/// What a later version brings says so by its name, and leaves the connection as it was.
///
/// contract: C2
#[test]
fn what_is_not_served_yet_says_so() {
    let mut client = Scene::shared(Flavor::Redis).keyway.client();
    let reply = client.call("CLIENT TRACKING on redirect 1").to_string();
    let shown = reply.to_uppercase().replace('|', " ");
    assert!(
        shown.starts_with("-ERR") && shown.contains("REDIRECT"),
        "{reply}"
    );
    client.expect("PING", "+PONG");
}

/// contract: C2
fn mistakes_get_the_servers_words(flavor: Flavor) {
    // Redis 6.2 has other words for some mistakes.
    if !flavor.is_since(7, 0) {
        return;
    }
    let scene = Scene::shared(flavor);
    let (mut ours, mut theirs) = (scene.keyway.client(), scene.plain().client());
    let mut faults = Vec::new();
    for command in [
        "CLIENT",
        "CLIENT NOSUCH",
        "CLIENT ID x",
        r#"CLIENT SETNAME "a b""#,
        r#"CLIENT SETNAME "a\n""#,
        r#"CLIENT SETNAME """#,
        "CLIENT GETNAME",
        "CLIENT SETNAME",
        "CLIENT SETNAME ok",
        "CLIENT GETNAME",
        "CLIENT GETNAME x",
        "CLIENT KILL",
        "CLIENT KILL ID x",
        "CLIENT KILL ID 0",
        "CLIENT KILL FOO bar",
        "CLIENT KILL TYPE nosuch",
        "CLIENT KILL ADDR",
        "CLIENT KILL USER nosuch",
        "CLIENT KILL ID 999999 SKIPME maybe",
        "CLIENT KILL nobody",
        "CLIENT LIST FOO",
        "CLIENT LIST TYPE nosuch",
        "CLIENT LIST TYPE",
        "CLIENT LIST ID x",
        "CLIENT LIST ID",
        "CLIENT REPLY",
        "CLIENT REPLY FOO",
        "CLIENT PAUSE",
        "CLIENT PAUSE x",
        "CLIENT PAUSE -1",
        "CLIENT PAUSE 1 FOO",
        "CLIENT PAUSE x FOO",
        "CLIENT pause 1 WRITE ALL",
        "CLIENT PAUSE 99999999999999999999",
        "CLIENT PAUSE 0",
        "CLIENT UNPAUSE x",
        "CLIENT UNPAUSE",
        "MONITOR x",
        "CLIENT NO-EVICT",
        "CLIENT NO-EVICT on",
        "CLIENT NO-EVICT off",
        "CLIENT NO-EVICT maybe",
        "CLIENT GETREDIR",
        "CLIENT TRACKINGINFO x",
        "ECHO",
        "PING a b",
        "ROLE x",
        "AUTH",
        "AUTH a b c",
        "AUTH wrong",
        "AUTH nobody wrong",
        "ACL WHOAMI",
        "ACL WHOAMI x",
        "ACL NOSUCH",
        "HELLO 9",
        "SELECT x",
        "SELECT",
        "QUIT x",
    ] {
        let got = ours.call(command).to_string();
        let want = theirs.call(command).to_string();
        // Valkey 8.1 has other words for the first two, and takes the third.
        const OTHERWISE: [&str; 3] = [
            "CLIENT KILL ID x",
            "CLIENT LIST ID x",
            "CLIENT pause 1 WRITE ALL",
        ];
        let differs = flavor == Flavor::Valkey && flavor.is_since(8, 1);
        if differs && OTHERWISE.contains(&command) {
            continue;
        }
        if got != want {
            faults.push(format!("{command}\n got {got}\nwant {want}"));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
