//! Users and rules change while clients are connected.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use crate::support::process::Folder;
use crate::support::{Client, Flavor, Keyway, Scene, each_flavor, eventually};

each_flavor!(
    rules_hold_at_once,
    what_is_wrong_changes_nothing,
    users_that_go_are_closed,
    subscribers_that_may_not_hear_are_closed,
    transactions_are_judged_anew,
);

const DEADLINE: Duration = Duration::from_secs(30);

struct Door {
    keyway: Keyway,
    file: PathBuf,
    _folder: Folder,
}

impl Door {
    fn open(flavor: Flavor, users: &str) -> Door {
        let folder = Folder::new("reload");
        let file = folder.path().join("users.acl");
        fs::write(&file, users).expect("our own folder");
        let keyway = Keyway::before(&Scene::shared(flavor).cluster.seeds())
            .set("acl.file", &format!("\"{}\"", file.display()))
            .start();
        Door {
            keyway,
            file,
            _folder: folder,
        }
    }

    /// Writes the users anew, says so, and waits until this many reloads are in the log.
    fn change(&self, users: &str, is_right: bool) {
        let word = if is_right {
            "were read anew"
        } else {
            "stay as they are"
        };
        let before = self.keyway.log().matches(word).count();
        fs::write(&self.file, users).expect("our own folder");
        self.keyway.signal(Signal::HUP);
        eventually("it is read", DEADLINE, || {
            self.keyway.log().matches(word).count() > before
        });
    }

    fn client(&self, user: &str) -> Client {
        let mut client = self.keyway.client();
        client.expect(&format!("AUTH {user} p"), "+OK");
        client
    }
}

fn is_closed(client: &mut Client) -> bool {
    client.try_call(&["ACL", "WHOAMI"]).is_err()
}

fn rules_hold_at_once(flavor: Flavor) {
    let door = Door::open(flavor, "user app on >p ~a:* +@all\n");
    let mut client = door.client("app");
    client.expect("SET a:reload 1", "+OK");
    client.expect_error("SET b:reload 1", "NOPERM");
    // What is read is judged by the new rules from the moment that the log tells of.
    door.change("user app on >q ~b:* +@all\n", true);
    eventually("the worker has taken it over", DEADLINE, || {
        client.call("SET b:reload 1").to_string() == "+OK"
    });
    client.expect_error("SET a:reload 1", "NOPERM");
    door.keyway.client().expect_error("AUTH app p", "WRONGPASS");
    // Without a signal the change of the file is noticed as well.
    fs::write(&door.file, "user app on >q ~c:*  +@all\n").expect("our own folder");
    eventually("the file is looked at", DEADLINE, || {
        client.call("SET c:reload 1").to_string() == "+OK"
    });
}

fn what_is_wrong_changes_nothing(flavor: Flavor) {
    let door = Door::open(flavor, "user app on >p ~a:* +@all\n");
    let mut client = door.client("app");
    for wrong in [
        "user app on >secret +nosuch\n",
        "nonsense\n",
        "user app on >secret #abc\n",
        "user app (\n",
    ] {
        door.change(wrong, false);
        client.expect("SET a:wrong 1", "+OK");
        client.expect_error("SET b:wrong 1", "NOPERM");
    }
    let log = door.keyway.log();
    assert!(log.contains("line 1: +nosuch: Unknown command"), "{log}");
    assert!(!log.contains("secret"), "{log}");
}

fn users_that_go_are_closed(flavor: Flavor) {
    let door = Door::open(
        flavor,
        "user a on >p ~* +@all\nuser b on >p ~* +@all\nuser c on >p ~* +@all\n",
    );
    let [mut a, mut b, mut c] = ["a", "b", "c"].map(|user| door.client(user));
    let mut waiting = door.client("a");
    waiting.send("BLPOP reload:{nobody} 0");
    door.change("user b off >p ~* +@all\nuser c on >p ~* +@all\n", true);
    for gone in [&mut a, &mut b] {
        eventually("it is closed", DEADLINE, || is_closed(gone));
    }
    eventually("one that waits is closed", DEADLINE, || {
        waiting.try_read().is_err()
    });
    c.expect("ACL WHOAMI", "'c'");
    c.expect("SET reload:{c} 1", "+OK");
}

fn subscribers_that_may_not_hear_are_closed(flavor: Flavor) {
    let door = Door::open(flavor, "user app on >p &a &b &p:* +@all\n");
    let mut stays = door.client("app");
    let mut goes = door.client("app");
    let mut pattern = door.client("app");
    stays.call("SUBSCRIBE a");
    goes.call("SUBSCRIBE b");
    pattern.call("PSUBSCRIBE p:*");
    door.change("user app on >p &a &p:1 +@all\n", true);
    for gone in [&mut goes, &mut pattern] {
        eventually("it is closed", DEADLINE, || gone.try_read().is_err());
    }
    stays.expect("PING", "['pong' '']");
}

fn transactions_are_judged_anew(flavor: Flavor) {
    let door = Door::open(flavor, "user app on >p ~* +@all\n");
    let mut client = door.client("app");
    client.expect("MULTI", "+OK");
    client.expect("SET {reload}a 1", "+QUEUED");
    let mut probe = door.client("app");
    door.change("user app on >p ~* +@all -set\n", true);
    eventually("the worker has taken it over", DEADLINE, || {
        probe.call("SET {reload}b 1").is_error()
    });
    client.expect_error("EXEC", "EXECABORT");
    client.expect("GET {reload}a", "nil");
}
