//! `ACL DRYRUN` of Keyway and of one server: each user, each command of the table with made-up arguments, no
//! effects. And what both say of users.

use keyway::command::{Keys, supported};

use crate::scene::Pair;
use crate::support::{Flavor, each_flavor};
use crate::users::USERS;

each_flavor!(dry_runs_are_the_servers, users_are_shown);

const KEYS: [&str; 14] = [
    "a:1", "b:1", "c:1", "cache:1", "r:1", "w:1", "rw:1", "m:1", "s:1", "t:1", "in:1", "out:1",
    "news", "other",
];

/// Whether a request and a server's reply are a known difference, and why.
type Difference = (fn(&[String], &str) -> bool, &'static str);

const DIFFERENCES: &[Difference] = &[
    (
        |request, _| request[3] == "PFMERGE" && request.len() == 5,
        "the servers find no key where the sources are left out, and let everyone do it; Keyway finds it",
    ),
    (
        |_, reply| reply.contains("wrong number of arguments"),
        "where versions differ in arity the table has the wider one: the server says it when it is run",
    ),
];

/// Arguments among which servers and Keyway find the same keys.
fn arguments(keys: Keys, argc: usize, random: &mut fastrand::Rng) -> Vec<String> {
    let mut key = || KEYS[random.usize(..KEYS.len())].to_owned();
    let mut words: Vec<String> = (0..argc).map(|_| key()).collect();
    match keys {
        Keys::Counted { count, .. } | Keys::StoreCounted { count, .. } => {
            let at = usize::from(count) - 1;
            words.resize(argc.max(at + 3), key());
            words[at] = "1".to_owned();
        }
        Keys::Streams => {
            words = vec![
                "STREAMS".to_owned(),
                key(),
                key(),
                "0".to_owned(),
                "0".to_owned(),
            ];
        }
        _ => {}
    }
    words
}

fn dry_runs_are_the_servers(flavor: Flavor) {
    // Redis 6.2 gives new users all channels, and has other words.
    if !flavor.is_since(7, 0) {
        return;
    }
    let pair = Pair::shared(flavor);
    let [mut own, mut server] = pair.clients("all");
    let mut random = fastrand::Rng::with_seed(5);
    let (mut compared, mut denied) = (0, 0);
    let mut differences = Vec::new();
    for row in supported() {
        let name: Vec<String> = row.name.split('|').map(str::to_owned).collect();
        let info = server.call_args(&["COMMAND", "INFO", row.name]);
        if matches!(info.items()[0].to_string().as_str(), "nil" | "nil-array") {
            continue;
        }
        // Vector sets of Redis 8 are in no category, and named in upper case; in Keyway they are in those that
        // their flags amount to.
        if info.to_string().contains("module") {
            continue;
        }
        for round in 0..3 {
            let argc = (row.arity.unsigned_abs() as usize).max(name.len());
            let extra = if row.arity < 0 { round } else { 0 };
            // Where keys come with values, half a pair is a mistake.
            let extra = if matches!(row.keys, Keys::Range { step: 2, .. }) {
                2 * extra
            } else {
                extra
            };
            let words = arguments(row.keys, argc - name.len() + extra, &mut random);
            for (user, _) in USERS {
                let mut request = vec!["ACL".to_owned(), "DRYRUN".to_owned(), (*user).to_owned()];
                request.extend(name.iter().map(|word| word.to_uppercase()));
                request.extend(words.clone());
                let replies =
                    [&mut own, &mut server].map(|client| client.call_args(&request).to_string());
                compared += 1;
                denied += usize::from(replies[1] != "+OK");
                let is_explained = DIFFERENCES
                    .iter()
                    .any(|(differs, _)| differs(&request, &replies[1]));
                if replies[0] != replies[1] && !is_explained {
                    differences.push(format!(
                        "{}\n  keyway: {}\n  server: {}",
                        request.join(" "),
                        replies[0],
                        replies[1]
                    ));
                }
            }
        }
    }
    eprintln!(
        "{compared} dry runs compared with {}, {denied} of them refusals",
        flavor.program()
    );
    assert!(compared > 20_000 && denied > 10_000);
    assert!(
        differences.is_empty(),
        "{} differences\n{}",
        differences.len(),
        differences[..differences.len().min(40)].join("\n")
    );
    for wrong in [
        "nobody GET x",
        "all NOSUCH x",
        "all GET",
        "all CONFIG NOSUCH",
    ] {
        let request = format!("ACL DRYRUN {wrong}");
        assert_eq!(
            own.call(&request).to_string(),
            server.call(&request).to_string(),
            "{request}"
        );
    }
}

fn users_are_shown(flavor: Flavor) {
    // Redis 6.2 gives new users all channels, and has other words.
    if !flavor.is_since(7, 0) {
        return;
    }
    let pair = Pair::shared(flavor);
    let [mut own, mut server] = pair.clients("all");
    for request in [
        "ACL USERS",
        "ACL WHOAMI",
        "ACL GETUSER nobody",
        "ACL CAT",
        "ACL CAT nosuch",
    ] {
        assert_eq!(
            own.call(request).to_string(),
            server.call(request).to_string(),
            "{request}"
        );
    }
    // Redis 7.0 describes commands by the categories that come closest; later ones show the rules as given.
    let shows_rules = flavor == Flavor::Valkey;
    // Valkey 9 does not sanitize payloads for some users only, and shows databases.
    let is_valkey_9 = shows_rules && flavor.is_since(9, 0);
    let lines = |reply: &crate::support::Value| -> Vec<String> {
        let lines = reply.items().iter().map(|line| line.text());
        let common = lines.map(|line| match is_valkey_9 {
            true => line.replace(" sanitize-payload", ""),
            false => line,
        });
        common.collect()
    };
    if shows_rules {
        assert_eq!(
            lines(&own.call("ACL LIST")),
            lines(&server.call("ACL LIST"))
        );
    }
    for (user, _) in USERS {
        let request = format!("ACL GETUSER {user}");
        let (ours, theirs) = (own.call(&request), server.call(&request));
        for field in ["passwords", "keys", "channels"] {
            let shown = [&ours, &theirs].map(|user| user.field(field).map(ToString::to_string));
            assert_eq!(shown[0], shown[1], "{request} {field}");
        }
        if shows_rules && !is_valkey_9 {
            assert_eq!(ours.to_string(), theirs.to_string(), "{request}");
        }
        // What is shown, given to a server, makes a user with the same permissions.
        let line = lines(&own.call("ACL LIST"))
            .into_iter()
            .find(|line| line.starts_with(&format!("user {user} ")));
        let line = line.expect("it is listed");
        let copy = format!("copy-{user}");
        let mut words = vec!["ACL".to_owned(), "SETUSER".to_owned(), copy.clone()];
        words.extend(line.split(' ').skip(2).map(str::to_owned));
        assert_eq!(server.call_args(&words).to_string(), "+OK", "{line}");
        let copied = server.call(&format!("ACL GETUSER {copy}"));
        // Redis 7.0 does not show `sanitize-payload` of a user that never was told it.
        for field in ["passwords", "commands", "keys", "channels", "selectors"] {
            let shown = [&copied, &theirs].map(|user| user.field(field).map(ToString::to_string));
            assert_eq!(shown[0], shown[1], "{line}: {field}");
        }
        server.call(&format!("ACL DELUSER {copy}"));
    }
}
