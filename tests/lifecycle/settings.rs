//! The configuration as the operator meets it: from files, the environment, both; right and wrong.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use super::support::ports::Port;
use super::support::process::{Folder, Process};
use super::support::{Client, FakeCluster, eventually};
use super::{DEADLINE, run};

/// Starts with this file and expects a refusal that says all this.
fn check_refused(text: &str, says: &[&str]) {
    let folder = Folder::new("settings");
    let file = folder.path().join("keyway.toml");
    fs::write(&file, text).expect("our own folder can be written");
    let file = file.display().to_string();
    for arguments in [&["--config", &file][..], &["--config", &file, "--check"]] {
        let output = run(arguments, &[]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}\n{told}");
        for part in says {
            assert!(
                told.contains(part),
                "'{part}' is not told of {text}\n{told}"
            );
        }
    }
}

#[test]
fn wrong_settings_are_refused_with_key_value_and_what_is_allowed() {
    let seeds = "[cluster]\nseeds = [\"localhost:1\"]\n";
    for (text, says) in [
        (
            format!("{seeds}[proxy]\nworkers = 0\n"),
            &["proxy.workers = \"0\"", "allowed is"][..],
        ),
        (
            format!("{seeds}[listen]\naddress = \"nowhere\"\n"),
            &["listen.address = \"nowhere\"", "allowed is"],
        ),
        (
            format!("{seeds}[timeouts]\nrequest = \"soon\"\n"),
            &["timeouts.request = \"soon\"", "allowed is"],
        ),
        (
            format!("{seeds}[limits]\nmax_client = 1\n"),
            &["unknown key `max_client`", "did you mean `max_clients`?"],
        ),
        (
            format!("{seeds}[proxi]\nworkers = 1\n"),
            &["unknown section `proxi`"],
        ),
        (
            format!("{seeds}address_map = {{ \"172.28.0.1/24\" = \"10.0.0.0/24\" }}\n"),
            &["address_map", "172.28.0.0/24"],
        ),
        (
            String::new(),
            &["cluster.seeds is required", "KEYWAY_SEEDS"],
        ),
        ("[cluster\n".to_owned(), &["not valid TOML"]),
    ] {
        check_refused(&text, says);
    }
}

#[test]
fn a_wrong_environment_or_command_line_is_refused() {
    for (arguments, environment, says) in [
        (
            &[][..],
            &[("KEYWAY_SEEDS", "localhost")][..],
            &["KEYWAY_SEEDS", "localhost", "allowed is"][..],
        ),
        (
            &[],
            &[("KEYWAY_SEEDS", "localhost:1"), ("KEYWAY_WORKER", "2")],
            &[
                "unknown name `KEYWAY_WORKER`",
                "did you mean `KEYWAY_WORKERS`?",
            ],
        ),
        (
            &[],
            &[
                ("KEYWAY_SEEDS", "localhost:1"),
                ("KEYWAY_PASSWORD_FILE", "/does/not/exist"),
            ],
            &["KEYWAY_PASSWORD_FILE", "/does/not/exist"],
        ),
        (&["--config", "/does/not/exist"], &[], &["/does/not/exist"]),
        (&["--nonsense"], &[], &["--nonsense"]),
    ] {
        let output = run(arguments, environment);
        let told = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{environment:?}\n{told}");
        for part in says {
            assert!(told.contains(part), "'{part}' is not told\n{told}");
        }
    }
}

#[test]
fn an_address_that_is_taken_ends_the_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("bound").to_string();
    let environment = [
        ("KEYWAY_SEEDS", "localhost:1"),
        ("KEYWAY_LISTEN", addr.as_str()),
        ("KEYWAY_ADMIN", ""),
    ];
    let output = run(&[], &environment);
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains(&addr), "{told}");
}

#[test]
fn check_prints_the_settings_and_no_secret() {
    let folder = Folder::new("settings");
    let file = folder.path().join("keyway.toml");
    let text = "[cluster]\nseeds = [\"a:1\"]\n[listen]\npassword = \"${SESAME}\"\n";
    fs::write(&file, text).expect("our own folder can be written");
    let secret = folder.path().join("secret");
    fs::write(&secret, "upstream-secret\n").expect("our own folder can be written");
    let output = run(
        &["--config", &file.display().to_string(), "--check"],
        &[
            ("SESAME", "client-secret"),
            (
                "KEYWAY_UPSTREAM_PASSWORD_FILE",
                &secret.display().to_string(),
            ),
            ("KEYWAY_WORKERS", "3"),
        ],
    );
    let told = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for part in [
        "seeds = [\"a:1\"]",
        "workers = 3",
        "KEYWAY_WORKERS",
        "\"***\"",
    ] {
        assert!(told.contains(part), "'{part}' is not in\n{told}");
    }
    assert!(!told.contains("client-secret"), "{told}");
    assert!(!told.contains("upstream-secret"), "{told}");
}

/// Everything from the environment, secrets from files; then `--health` with the same environment.
#[test]
fn the_environment_alone_is_enough_and_health_asks_it() {
    let fake = FakeCluster::start(2);
    let folder = Folder::new("settings");
    let secret = folder.path().join("password");
    fs::write(&secret, "open sesame\n").expect("our own folder can be written");
    let (port, admin_port) = (Port::lease(), Port::lease());
    let at = |port: &Port| SocketAddr::from((Ipv4Addr::LOCALHOST, port.number()));
    let seeds: Vec<String> = fake.seeds().iter().map(SocketAddr::to_string).collect();
    let environment = [
        ("KEYWAY_SEEDS", seeds.join(",")),
        ("KEYWAY_LISTEN", at(&port).to_string()),
        ("KEYWAY_ADMIN", at(&admin_port).to_string()),
        ("KEYWAY_WORKERS", "2".to_owned()),
        ("KEYWAY_PASSWORD_FILE", secret.display().to_string()),
        ("KEYWAY_LOG_FORMAT", "json".to_owned()),
    ];
    let health = || {
        let environment = environment
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        run(&["--health"], &environment).status.code()
    };
    assert_eq!(health(), Some(1), "nothing runs yet");

    let mut program = vec!["env".to_owned()];
    program.extend(
        environment
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    program.push(env!("CARGO_BIN_EXE_keyway").to_owned());
    let log = folder.path().join("keyway.log");
    let mut process = Process::start(&program, &log).expect("it can be started");
    eventually("it is healthy", DEADLINE, || health() == Some(0));

    let mut client = Client::connect(at(&port));
    client.expect("GET a", "-NOAUTH Authentication required.");
    client.expect("AUTH 'open sesame'", "+OK");
    assert!(!client.call("GET a").is_error());

    for node in fake.nodes() {
        node.go_down();
    }
    process.signal(rustix::process::Signal::TERM);
    assert_eq!(process.wait(DEADLINE).code(), Some(0));
    assert_eq!(health(), Some(1), "it has ended");
    let text = fs::read_to_string(&log).expect("it was written");
    for line in text.lines() {
        assert!(line.starts_with('{') && line.ends_with('}'), "{line}");
        assert!(!line.contains("open sesame"), "{line}");
    }
}

/// Alive but without a cluster is not healthy.
#[test]
fn health_is_readiness() {
    let fake = FakeCluster::start(1);
    fake.node(0).go_down();
    let keyway = super::support::Keyway::before(&fake.seeds()).start_unready();
    let admin = keyway.admin_addr().to_string();
    let environment = [("KEYWAY_SEEDS", "a:1"), ("KEYWAY_ADMIN", admin.as_str())];
    let output = run(&["--health"], &environment);
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("starting"), "{told}");
    fake.node(0).come_back();
    eventually("it is healthy", DEADLINE, || {
        run(&["--health"], &environment).status.success()
    });
}

/// Whoever asks may have another configuration than the one that runs, or one that became wrong since.
#[test]
fn health_asks_whatever_is_wrong_with_the_rest() {
    let fake = FakeCluster::start(1);
    let keyway = super::support::Keyway::start(&fake.seeds());
    let path = keyway.config_path();
    let right = fs::read_to_string(&path).expect("it was started with it");
    let (file, admin) = (path.display().to_string(), keyway.admin_addr().to_string());
    let check = |arguments: &[&str], environment: &[(&str, &str)]| {
        let output = run(arguments, environment);
        assert_eq!(output.status.code(), Some(0), "{arguments:?} {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "ready\n");
    };
    for change in [
        format!("{right}\nbogus = 1\n"),
        format!("{right}\n[nonsense]\n"),
        right.replace("workers = 1", "workers = 0"),
        right.replace("seeds = ", "seds = "),
    ] {
        fs::write(&path, &change).expect("our own folder");
        check(&["--health", "--config", &file], &[]);
    }
    // Unreadable altogether: then what is in the environment, as in a container without the arguments.
    let environment = [("KEYWAY_ADMIN", admin.as_str()), ("KEYWAY_NONSENSE", "1")];
    fs::write(&path, "[cluster\n").expect("our own folder");
    check(&["--health", "--config", &file], &environment);
    check(&["--health", "--config", "/does/not/exist"], &environment);
    check(&["--health"], &environment);
    // Where nobody answers, what is wrong with the configuration may be why.
    let output = run(
        &["--health"],
        &[("KEYWAY_ADMIN", "127.0.0.1:1"), ("KEYWAY_WORKERS", "0")],
    );
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("KEYWAY_WORKERS"), "{told}");
}
