//! Users, and as whom they go to the nodes, change while clients are connected.

use std::fs;
use std::thread;

use rustix::process::Signal;

use crate::scene::{DEADLINE, client, connections_of, own, passing_through, service, shared};
use crate::support::{Flavor, Keyway, each_flavor, eventually, eventually_none};

each_flavor!(
    who_is_somebody_else_now_is_moved,
    what_is_wrong_changes_nothing,
    passwords_change_under_load,
    another_service_user_on_every_connection,
    the_mode_is_decided_at_start,
);

/// The table of a user.
fn user(name: &str, upstream: &str, password: &str) -> String {
    format!(
        "[[users]]\nname = \"{name}\"\nrules = \"on ~* &* +@all\"\npassword = \"p\"\n\
         upstream_username = \"{upstream}\"\nupstream_password = \"{password}\"\n"
    )
}

/// Writes the users anew, says so, and waits until that is in the log.
fn change(keyway: &Keyway, config: &str, users: &str, word: &str) {
    let before = keyway.log().matches(word).count();
    fs::write(keyway.config_path(), format!("{config}{users}")).expect("our own folder");
    keyway.signal(Signal::HUP);
    eventually("it is read", DEADLINE, || {
        keyway.log().matches(word).count() > before
    });
}

const READ: &str = "were read anew";
const WRONG: &str = "stay as they are";

fn started(flavor: Flavor) -> (Keyway, String) {
    let keyway = service(shared(flavor)).start();
    let config = fs::read_to_string(keyway.config_path()).expect("it was started with it");
    (keyway, config)
}

/// contract: C1
fn who_is_somebody_else_now_is_moved(flavor: Flavor) {
    let (keyway, config) = started(flavor);
    change(&keyway, &config, &user("app", "up-a", "pa"), READ);
    let mut app = client(&keyway, "app");
    app.expect("SET a:reload 1", "+OK");
    let mut subscriber = client(&keyway, "app");
    subscriber.expect("SUBSCRIBE a:reload", "['subscribe' 'a:reload' :1]");
    let mut blocked = client(&keyway, "app");
    blocked.send("BLPOP a:reload:nothing 0");
    eventually("it is blocked", DEADLINE, || {
        keyway.metric("keyway_blocked_clients") == 1.0
    });
    change(&keyway, &config, &user("app", "up-b", "pb"), READ);
    eventually("it is moved", DEADLINE, || {
        app.call("SET b:reload 1").to_string() == "+OK"
    });
    app.expect_error("GET a:reload", "NOPERM");
    // What they hold is the old user's.
    for closed in [&mut subscriber, &mut blocked] {
        closed.expect_closed();
    }
}

fn what_is_wrong_changes_nothing(flavor: Flavor) {
    let (keyway, config) = started(flavor);
    change(&keyway, &config, &user("app", "up-a", "pa"), READ);
    let mut app = client(&keyway, "app");
    app.expect("SET a:reload:wrong 1", "+OK");
    for (wrong, why) in [
        (
            user("app", "up-a", "pa") + &user("other", "up-a", "secret"),
            "with other passwords",
        ),
        (
            user("app", "up-a", "pa").replace("upstream_username = \"up-a\"", ""),
            "needs upstream_username",
        ),
        (
            user("app", "up-a", "pa").replace("upstream_password = \"pa\"", ""),
            "needs upstream_password",
        ),
        (
            user("app", "up-a", "secret") + "upstream_password_file = \"/secret/file\"\n",
            "cannot read",
        ),
        (user("app", "up a", "secret"), "text without spaces"),
        (
            user("app", "up-b", "secret") + "[[users]]\nname = \"x\"\nrules = \"nosuch\"\n",
            "nosuch",
        ),
    ] {
        change(&keyway, &config, &wrong, WRONG);
        assert!(keyway.log().contains(why), "{why}: {}", keyway.log());
        app.expect("SET a:reload:wrong 1", "+OK");
        client(&keyway, "app").expect("SET a:reload:wrong 1", "+OK");
    }
    assert!(!keyway.log().contains("secret\""), "{}", keyway.log());
}

/// Blocked clients and subscribers live through it as well, and go on as the user they are.
fn passwords_change_under_load(flavor: Flavor) {
    let cluster = own(flavor);
    let keyway = service(&cluster).start();
    let config = fs::read_to_string(keyway.config_path()).expect("it was started with it");
    change(&keyway, &config, &user("app", "up-a", "pa"), READ);
    let mut blocked = client(&keyway, "app");
    blocked.send("BLPOP a:rotated 0");
    let mut subscriber = client(&keyway, "app");
    subscriber.expect("SUBSCRIBE a:rotated", "['subscribe' 'a:rotated' :1]");
    let is_over = &std::sync::atomic::AtomicBool::new(false);
    let keyway = &keyway;
    thread::scope(|scope| {
        for number in 0..4 {
            scope.spawn(move || {
                let mut client = client(keyway, "app");
                let mut count = 0;
                while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                    count += 1;
                    client.expect(&format!("INCR a:rotating:{number}"), &format!(":{count}"));
                }
            });
        }
        for node in cluster.nodes() {
            node.ok("ACL SETUSER up-a >new");
        }
        let both = user("app", "up-a", "new") + "upstream_second_password = \"pa\"\n";
        change(keyway, &config, &both, READ);
        for node in cluster.nodes() {
            node.ok("ACL SETUSER up-a <pa");
        }
        change(keyway, &config, &user("app", "up-a", "new"), READ);
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let mut app = client(keyway, "app");
    app.expect("RPUSH a:rotated x", ":1");
    blocked.expect_next("['a:rotated' 'x']");
    app.expect("PUBLISH a:rotated y", ":1");
    subscriber.expect_next("['message' 'a:rotated' 'y']");
    assert!(!keyway.log().contains("\"pa\""), "{}", keyway.log());
}

/// Also on those that are lent, and on those of subscriptions: the old user can go.
fn another_service_user_on_every_connection(flavor: Flavor) {
    let cluster = own(flavor);
    let keyway = service(&cluster).start();
    let config = fs::read_to_string(keyway.config_path()).expect("it was started with it");
    let mut subscriber = keyway.client();
    subscriber.expect("SUBSCRIBE service:news", "['subscribe' 'service:news' :1]");
    let mut watcher = keyway.client();
    watcher.expect("WATCH service:{w}", "+OK");
    let mut blocked = keyway.client();
    blocked.send("BLPOP service:{b} 0");
    let mut tracker = keyway.client_resp3();
    tracker.expect("CLIENT TRACKING on", "+OK");
    tracker.expect("GET service:{t}", "null");
    let mut other = keyway.client();
    other.expect("BLPOP service:{lent} 0.01", "nil-array");
    for node in cluster.nodes() {
        node.ok("ACL SETUSER second on >p2 ~service:* &service:* +@all");
    }
    let changed = config
        .replace("\"service\"", "\"second\"")
        .replace("\"ps\"", "\"p2\"");
    change(&keyway, &changed, "", READ);
    eventually_none("the blocked one alone is left", DEADLINE, || {
        let mut left = connections_of(&cluster, "service").into_iter();
        left.find(|line| !line.contains(" cmd=blpop "))
    });
    other.expect("RPUSH service:{b} x", ":1");
    blocked.expect_next("['service:{b}' 'x']");
    eventually_none("one is left", DEADLINE, || {
        connections_of(&cluster, "service").pop()
    });
    for node in cluster.nodes() {
        node.ok("ACL DELUSER service");
    }
    watcher.expect("MULTI", "+OK");
    watcher.expect("SET service:{w} 1", "+QUEUED");
    watcher.expect("EXEC", "[+OK]");
    other.expect("PUBLISH service:news y", ":1");
    subscriber.expect_next("['message' 'service:news' 'y']");
    other.expect("SET service:{t} 1", "+OK");
    let push = tracker.read().to_string();
    assert!(push.contains("service:{t}"), "{push}");
    assert_eq!(keyway.metric("keyway_subscription_gaps_total"), 0.0);
}

/// contract: C1
fn the_mode_is_decided_at_start(flavor: Flavor) {
    let keyway = passing_through(shared(flavor)).start();
    let config = fs::read_to_string(keyway.config_path()).expect("it was started with it");
    let mut a = keyway.client();
    a.expect("AUTH up-a pa", "+OK");
    let changed = config.replace("\"pass-through\"", "\"service\"");
    change(&keyway, &changed, "", READ);
    eventually("it is told", DEADLINE, || {
        keyway.log().contains("they are read at start only")
    });
    keyway.client().expect_error("GET service:mode", "NOAUTH");
    a.expect("SET a:mode 1", "+OK");
    a.expect_error("GET service:mode", "NOPERM");
}
