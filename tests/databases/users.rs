//! Databases of users that have connections of their own: each goes where the server lets it go.

use super::support::{Client, Flavor, Keyway, Server, ServerOptions, each_flavor};

each_flavor!(each_user_selects_for_itself, those_whom_the_nodes_know_too);

fn server(flavor: Flavor) -> Server {
    Server::start_with(ServerOptions {
        flavor,
        config: vec![
            "user up-a on >pa ~a:* &* +@all".to_owned(),
            "user up-b on >pb ~b:* &* +@all".to_owned(),
            "user up-c on >pc ~* &* +@all -select".to_owned(),
        ],
        ..ServerOptions::default()
    })
}

fn check(keyway: &Keyway, server: &Server, log_in: impl Fn(&str) -> String) {
    let enter = |name: &str| -> Client {
        let mut client = keyway.client();
        client.expect(&log_in(name), "+OK");
        client
    };
    let (mut a, mut b, mut c) = (enter("a"), enter("b"), enter("c"));
    for client in [&mut a, &mut b] {
        client.expect("SELECT 2", "+OK");
    }
    a.expect("SET a:k 2", "+OK");
    b.expect("SET b:k 2", "+OK");
    a.expect_error("SET b:k 3", "NOPERM");
    b.expect_error("GET a:k", "NOPERM");
    c.expect_error("SELECT 2", "NOPERM");
    c.expect("SET a:k 0", "+OK");
    a.expect("GET a:k", "'2'");
    // Whoever becomes another user takes the database along.
    a.expect(&log_in("b"), "+OK");
    a.expect("GET b:k", "'2'");
    a.expect("SELECT 0", "+OK");
    a.expect("GET b:k", "nil");
    // One of whom the server would not let into it gets nothing, and nothing of it is carried out.
    b.expect(&log_in("c"), "+OK");
    b.expect_error("SET a:k 3", "NOPERM");
    b.expect("SELECT 0", "+OK");
    b.expect("GET a:k", "'0'");
    let list = server.ok("CLIENT LIST").text();
    let has = |user: &str, database: usize| {
        let mut lines = list.lines();
        let database = format!(" db={database} ");
        lines.any(|line| line.contains(&format!(" user={user} ")) && line.contains(&database))
    };
    assert!(has("up-a", 2) && has("up-b", 2) && has("up-b", 0), "{list}");
    assert!(!has("default", 2) && !has("up-c", 2), "{list}");
}

/// contract: C1 C5
fn each_user_selects_for_itself(flavor: Flavor) {
    let server = server(flavor);
    let mut options = Keyway::before(&[server.addr()]);
    for (number, name) in [(1, "a"), (2, "b"), (3, "c")] {
        let key = |key: &str| format!("KEYWAY_USERS_{number}_{key}");
        options = options
            .env(&key("NAME"), name)
            .env(&key("RULES"), "on ~* &* +@all")
            .env(&key("PASSWORD"), "p")
            .env(&key("UPSTREAM_USERNAME"), &format!("up-{name}"))
            .env(&key("UPSTREAM_PASSWORD"), &format!("p{name}"));
    }
    check(&options.start(), &server, |name| format!("AUTH {name} p"));
}

/// contract: C1 C5
fn those_whom_the_nodes_know_too(flavor: Flavor) {
    let server = server(flavor);
    let keyway = Keyway::before(&[server.addr()])
        .set("upstream.identity", "\"pass-through\"")
        .start();
    check(&keyway, &server, |name| format!("AUTH up-{name} p{name}"));
}
