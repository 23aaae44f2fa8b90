//! Bodies that Keyway keeps, on a cluster that stays as it is.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::support::{Client, Flavor, Keyway, Scene, each_flavor, eventually};
use super::{ADD, load};

each_flavor! {
    a_flushed_node_is_given_the_script,
    what_was_run_once_is_known,
    a_flush_is_a_flush,
    calls_inside_multi_have_their_script,
    what_is_no_script_is_not_kept,
    valkey_tells_what_keyway_never_saw,
    the_cache_is_bounded,
    replicas_are_given_the_script_with_each_call,
}

const KEYS: [&str; 5] = ["a", "b", "c", "d", "e"];

/// The shared cluster, for one test at a time: `SCRIPT FLUSH` minds the neighbours.
struct Stage {
    scene: &'static Scene,
    _turn: MutexGuard<'static, ()>,
}

impl Stage {
    fn take(flavor: Flavor) -> Stage {
        static TURNS: [Mutex<()>; 2] = [Mutex::new(()), Mutex::new(())];
        let turn = TURNS[flavor as usize]
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let stage = Stage {
            scene: Scene::shared(flavor),
            _turn: turn,
        };
        for &primary in &stage.scene.cluster.primaries() {
            stage.scene.cluster.node(primary).ok("FLUSHALL");
        }
        stage.scene.keyway.client().expect("SCRIPT FLUSH", "+OK");
        stage
    }

    fn client(&self) -> Client {
        self.scene.keyway.client()
    }

    /// Behind Keyway's back.
    fn flush_nodes(&self) {
        for &primary in &self.scene.cluster.primaries() {
            self.scene.cluster.node(primary).ok("SCRIPT FLUSH");
        }
    }

    fn count(&self, sha: &str) -> usize {
        let cluster = &self.scene.cluster;
        let has = |primary: &usize| {
            let reply = cluster.node(*primary).ok(&format!("SCRIPT EXISTS {sha}"));
            reply.to_string() == "[:1]"
        };
        cluster.primaries().iter().filter(|node| has(node)).count()
    }
}

/// contract: T4
fn a_flushed_node_is_given_the_script(flavor: Flavor) {
    // Redis 6.2 has no EVALSHA_RO.
    if !flavor.is_since(7, 0) {
        return;
    }
    let stage = Stage::take(flavor);
    for mut client in [stage.client(), stage.scene.keyway.client_resp3()] {
        let add = load(&mut client, ADD);
        let look = load(&mut client, "return redis.call('GET', KEYS[1])");
        let seven = load(&mut client, "return 7");
        client.call("DEL a b c d e");
        for round in 1..=3 {
            for key in KEYS {
                client.expect(&format!("EVALSHA {add} 1 {key} 1"), &format!(":{round}"));
                client.expect(&format!("EVALSHA_RO {look} 1 {key}"), &format!("'{round}'"));
            }
            client.expect(&format!("EVALSHA {seven} 0"), ":7");
            stage.flush_nodes();
            client.expect(&format!("SCRIPT EXISTS {add} {look}"), "[:1 :1]");
        }
        // In one write: the nodes lack the script, and Keyway learns it only from their answer.
        let calls: Vec<String> = (0..40)
            .map(|number| format!("EVALSHA {add} 1 {} 1", KEYS[number % KEYS.len()]))
            .collect();
        let replies = client.pipeline(&calls);
        for (number, reply) in replies.iter().enumerate() {
            assert_eq!(reply.to_string(), format!(":{}", 4 + number / KEYS.len()));
        }
    }
}

/// A client that has run a script by its body may call it by name, also where it never ran.
/// contract: T4
fn what_was_run_once_is_known(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    let run = |key: &str| {
        let script = format!("return redis.call('INCRBY', KEYS[1], ARGV[1]) -- {flavor:?}");
        [
            "EVAL".to_owned(),
            script,
            "1".into(),
            key.into(),
            "1".into(),
        ]
    };
    client.call_args(&run("a"));
    let sha = load(&mut stage.scene.plain().client(), &run("a")[1]);
    assert_eq!(stage.count(&sha), 1, "only where its key is");
    for key in KEYS {
        let reply = client.call(&format!("EVALSHA {sha} 1 {key} 1"));
        assert!(!reply.is_error(), "{key}: {reply}");
    }
    client.expect(
        &format!("SCRIPT EXISTS {sha} {}", "0".repeat(40)),
        "[:1 :0]",
    );
    // Another client, another connection, the other protocol.
    let mut other = stage.scene.keyway.client_resp3();
    stage.flush_nodes();
    other.expect(&format!("EVALSHA {} 1 a 1", sha.to_uppercase()), ":3");
    // The script's own errors are not mistaken for a missing script.
    let fails = load(
        &mut client,
        "return redis.error_reply('NOSCRIPT is what I say')",
    );
    for _ in 0..2 {
        client.expect(&format!("EVALSHA {fails} 1 a"), "-NOSCRIPT is what I say");
    }
}

/// contract: T4
fn a_flush_is_a_flush(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    let sha = load(&mut client, ADD);
    client.expect(&format!("EVALSHA {sha} 1 a 1"), ":1");
    client.expect_error("SCRIPT FLUSH NONSENSE", "ERR");
    stage.flush_nodes();
    client.expect(&format!("EVALSHA {sha} 1 a 1"), ":2");
    let replies = client.pipeline(&[
        format!("EVALSHA {sha} 1 a 1"),
        "SCRIPT FLUSH".to_owned(),
        format!("EVALSHA {sha} 1 a 1"),
        format!("SCRIPT EXISTS {sha}"),
    ]);
    let texts: Vec<String> = replies.iter().map(ToString::to_string).collect();
    assert_eq!(texts[..2], [":3", "+OK"]);
    assert!(texts[2].starts_with("-NOSCRIPT"), "{}", texts[2]);
    assert_eq!(texts[3], "[:0]");
    // And it is a script again after it was loaded again.
    let again = load(&mut client, ADD);
    assert_eq!(again, sha);
    client.expect(&format!("EVALSHA {sha} 1 a 1"), ":4");
}

/// What is executed cannot be mended: inside `MULTI` a call always has its script with it.
/// contract: T4, T1
fn calls_inside_multi_have_their_script(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    let sha = load(&mut client, ADD);
    for (round, key) in KEYS.iter().cycle().take(12).enumerate() {
        // Also where the connection has been used for this script before.
        stage.flush_nodes();
        let before = round / KEYS.len() * 2;
        let replies = client.pipeline(&[
            "MULTI".to_owned(),
            format!("EVALSHA {sha} 1 {key} 1"),
            format!("INCR {key}"),
            "EXEC".to_owned(),
        ]);
        let texts: Vec<String> = replies.iter().map(ToString::to_string).collect();
        let results = format!("[:{} :{}]", before + 1, before + 2);
        assert_eq!(
            texts,
            ["+OK", "+QUEUED", "+QUEUED", results.as_str()],
            "{key}"
        );
    }
    // Nobody knows this one.
    let unknown = "f".repeat(40);
    client.expect("MULTI", "+OK");
    client.expect(&format!("EVALSHA {unknown} 1 a"), "+QUEUED");
    let reply = client.call("EXEC").to_string();
    assert!(reply.starts_with("[-NOSCRIPT"), "{reply}");
    // A body seen inside is known outside.
    client.expect("MULTI", "+OK");
    client.expect(r#"EVAL "return 'inside'" 1 a"#, "+QUEUED");
    client.expect("EXEC", "['inside']");
    stage.flush_nodes();
    let sha = keyway::command::Sha::of(b"return 'inside'").to_string();
    for key in KEYS {
        client.expect(&format!("EVALSHA {sha} 1 {key}"), "'inside'");
    }
}

/// contract: T4
fn what_is_no_script_is_not_kept(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let mut client = stage.client();
    let mut plain = stage.scene.plain().client();
    let body = format!("return nonsense( -- {flavor:?}");
    // Its name, from a body with the same bytes that is a script nowhere.
    let sha = keyway::command::Sha::of(body.as_bytes()).to_string();
    for command in [
        vec!["SCRIPT", "LOAD", &body],
        vec!["EVAL", &body, "1", "a"],
        vec!["EVALSHA", &sha, "1", "a"],
        vec!["SCRIPT", "EXISTS", &sha],
        vec!["EVALSHA", "nonsense", "0"],
        vec!["EVALSHA", &sha, "x"],
        vec!["EVALSHA", &sha, "-1"],
    ] {
        let (got, want) = (client.call_args(&command), plain.call_args(&command));
        assert_eq!(got.to_string(), want.to_string(), "{command:?}");
    }
}

/// contract: T4
fn valkey_tells_what_keyway_never_saw(flavor: Flavor) {
    // Valkey 7.2 cannot show scripts.
    if !flavor.is_since(8, 0) {
        return;
    }
    let stage = Stage::take(flavor);
    let cluster = &stage.scene.cluster;
    let mut client = stage.client();
    let body = "return redis.call('INCRBY', KEYS[1], ARGV[1]) -- loaded elsewhere";
    let owner = cluster.primary_of_key("a").expect("the slot has an owner");
    let other = cluster.primaries().into_iter().find(|node| *node != owner);
    let other = other.expect("there are three primaries");
    let sha = load(&mut cluster.node(other).client(), body);
    let reply = client.call(&format!("EVALSHA {sha} 1 a 1")).to_string();
    match flavor {
        Flavor::Valkey => assert_eq!(reply, ":1"),
        Flavor::Redis => assert!(reply.starts_with("-NOSCRIPT"), "{reply}"),
    }
    let unknown = "f".repeat(40);
    let (got, want) = (
        client.call(&format!("EVALSHA {unknown} 1 a")).to_string(),
        cluster.node(owner).call(&format!("EVALSHA {unknown} 1 a")),
    );
    assert_eq!(got, want.to_string());
}

/// contract: F6, T4
fn the_cache_is_bounded(flavor: Flavor) {
    let stage = Stage::take(flavor);
    let keyway = Keyway::before(&stage.scene.cluster.seeds())
        .set("limits.script_cache_bytes", "\"1kb\"")
        .start();
    let mut client = keyway.client();
    let script = |number: usize| format!("return {number}");
    let shas: Vec<String> = (0..10)
        .map(|number| load(&mut client, &script(number)))
        .collect();
    stage.flush_nodes();
    client.expect_error(&format!("EVALSHA {} 1 a", shas[0]), "NOSCRIPT");
    client.expect(&format!("EVALSHA {} 1 a", shas[9]), ":9");
}

/// contract: T4, R2
fn replicas_are_given_the_script_with_each_call(flavor: Flavor) {
    // Redis 6.2 has no EVALSHA_RO.
    if !flavor.is_since(7, 0) {
        return;
    }
    let stage = Stage::take(flavor);
    let keyway = Keyway::before(&stage.scene.cluster.seeds())
        .set("listen.read_policy", "\"prefer-replica\"")
        .start();
    let mut client = keyway.client();
    let look = load(&mut client, "return redis.call('GET', KEYS[1])");
    for key in KEYS {
        client.expect(&format!("SET {key} v{key}"), "+OK");
    }
    // What replicas have not got yet the primary has: wait until they have.
    for key in KEYS {
        let owner = stage
            .scene
            .cluster
            .primary_of_key(key)
            .expect("it has an owner");
        stage.scene.cluster.node(owner).ok("WAIT 1 5000");
    }
    let mut reader = keyway.client();
    let served = || keyway.metric("keyway_replica_reads_total");
    eventually("replicas serve reads", Duration::from_secs(20), || {
        reader.expect("GET a", "'va'");
        served() > 0.0
    });
    let before = served();
    for _ in 0..3 {
        for key in KEYS {
            reader.expect(&format!("EVALSHA_RO {look} 1 {key}"), &format!("'v{key}'"));
        }
    }
    assert!(served() >= before + 3.0, "{} reads by replicas", served());
    assert_eq!(
        keyway.metric("keyway_redirects_total{kind=\"noscript\"}"),
        0.0
    );
}
