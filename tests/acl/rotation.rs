//! Passwords are changed under load: nobody hears an error.

use std::fs;
use std::time::Duration;

use crate::support::process::Folder;
use crate::support::{
    Cluster, ClusterOptions, Flavor, Keyway, Load, LoadPlan, each_flavor, eventually,
};

each_flavor!(passwords_change_under_load);

const DEADLINE: Duration = Duration::from_secs(60);

fn passwords_change_under_load(flavor: Flavor) {
    let cluster = Cluster::start_with(ClusterOptions {
        flavor,
        replicas: 0,
        config: vec!["user keyway on >old ~* &* +@all".to_owned()],
        ..ClusterOptions::default()
    });
    let folder = Folder::new("rotation");
    let path = |name: &str| folder.path().join(name);
    let write = |name: &str, text: &str| {
        // As Kubernetes does it: another file takes the place.
        fs::write(path("next"), text).expect("our own folder");
        fs::rename(path("next"), path(name)).expect("our own folder");
    };
    let quoted = |name: &str| format!("\"{}\"", path(name).display());
    write("first", "old\n");
    write("second", "new\n");
    write("clients", "before\n");
    let keyway = Keyway::before(&cluster.seeds())
        .set("upstream.username", "\"keyway\"")
        .set("upstream.password_file", &quoted("first"))
        .set("upstream.second_password_file", &quoted("second"))
        .set("listen.password_file", &quoted("clients"))
        .start();
    let plan = |password: &str| LoadPlan {
        clients: 50,
        password: Some(password.to_owned()),
        ..LoadPlan::default()
    };
    let load = Load::start(keyway.addr(), plan("before"));
    load.wait_for(2_000);
    // The nodes' password, one node after another.
    for node in cluster.nodes() {
        node.ok("ACL SETUSER keyway >new <old");
        load.wait_for(500);
    }
    // Connections that are opened now, of the other protocol version, have only the second.
    let mut resp3 = keyway.client();
    assert!(!resp3.call("HELLO 3 AUTH default before").is_error());
    for number in 0..20 {
        resp3.expect(&format!("SET rotation:{number} 1"), "+OK");
    }
    write("first", "new\n");
    eventually("Keyway has read it", DEADLINE, || {
        keyway.log().contains("new_credentials=true")
    });
    load.wait_for(2_000);
    // The clients' password.
    write("clients", "after\n");
    eventually("the new one is right", DEADLINE, || {
        keyway.client().call("AUTH after").to_string() == "+OK"
    });
    keyway.client().expect_error("AUTH before", "WRONGPASS");
    load.wait_for(2_000);
    let report = load.stop();
    report.assert_flawless();
    eprintln!(
        "{}: {} replies right, no error",
        flavor.program(),
        report.right
    );
    for secret in ["before", "after"] {
        assert!(!keyway.log().contains(&format!("\"{secret}\"")));
    }
}
