//! redis-cli as people and scripts use it.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, Command, Output, Stdio};

use crate::scene::{PASSWORD, Scene};
use crate::support::{Cluster, Flavor, Keyway};

/// Calls and what redis-cli prints when its output is no terminal.
const CALLS: &[(&[&str], &str)] = &[
    (&["set", "cli:a", "1"], "OK"),
    (&["get", "cli:a"], "1"),
    (&["get", "cli:absent"], ""),
    (&["incr", "cli:a"], "2"),
    (&["mset", "cli:a", "x", "cli:b", "y", "cli:c", "z"], "OK"),
    (&["mget", "cli:a", "cli:b", "cli:c", "cli:d"], "x\ny\nz\n"),
    (&["del", "cli:a", "cli:b", "cli:c", "cli:d"], "3"),
    (&["-r", "3", "incr", "cli:n"], "1\n2\n3"),
    (
        &["eval", "return {KEYS[1], ARGV[1]}", "1", "cli:k", "v"],
        "cli:k\nv",
    ),
    (&["--no-raw", "hset", "cli:h", "f", "v"], "(integer) 1"),
    (&["--no-raw", "hgetall", "cli:h"], "1) \"f\"\n2) \"v\""),
    (&["-3", "--no-raw", "hgetall", "cli:h"], "1# \"f\" => \"v\""),
    (
        &["-3", "--no-raw", "zadd", "cli:z", "1.5", "m"],
        "(integer) 1",
    ),
    (&["-3", "--no-raw", "zscore", "cli:z", "m"], "(double) 1.5"),
    (&["-3", "--no-raw", "get", "cli:absent"], "(nil)"),
    (&["-c", "set", "cli:cluster", "1"], "OK"),
    (&["-n", "0", "ping"], "PONG"),
    (&["--json", "hgetall", "cli:h"], "{\"f\":\"v\"}"),
    (
        &["lpush", "cli:h", "x"],
        "WRONGTYPE Operation against a key holding the wrong kind of value\n",
    ),
    (
        &["get"],
        "ERR wrong number of arguments for 'get' command\n",
    ),
];

#[test]
fn single_calls() {
    let scene = Scene::start();
    for (arguments, expected) in CALLS {
        let got = stdout(&run(scene.addr(), arguments, b""));
        assert_eq!(got.trim_end(), expected.trim_end(), "{arguments:?}");
    }
    let value: Vec<u8> = (0..3_000_000_u32)
        .map(|index| b'a' + (index % 26) as u8)
        .collect();
    let stored = run(scene.addr(), &["-x", "set", "cli:stdin"], &value);
    assert_eq!(stdout(&stored), "OK\n");
    let got = run(scene.addr(), &["get", "cli:stdin"], b"");
    assert!(
        got.stdout.strip_suffix(b"\n") == Some(&value),
        "{} bytes",
        got.stdout.len()
    );
}

/// Lines typed at the prompt: one connection, RESP2 and RESP3.
// contract: C3, C6
#[test]
fn lines_typed_at_the_prompt() {
    let scene = Scene::start();
    for protocol in ["-2", "-3"] {
        let lines = b"client setname me\nset cli:typed 'sp ace'\nget cli:typed\nclient getname\n\
            info\nnosuchcommand\nselect 0\necho end\nquit\n";
        let got = stdout(&run(scene.addr(), &[protocol], lines)).replace('\r', "");
        for expected in [
            "OK\nOK\nsp ace\nme\n",
            "redis_mode:standalone\n",
            "cluster_enabled:0\n",
            "ERR unknown command",
            "OK\nend\n",
        ] {
            assert!(
                got.contains(expected),
                "{protocol}: {expected:?} not in:\n{got}"
            );
        }
    }
}

#[test]
fn password() {
    let scene = Scene::start();
    let protected = scene.protected();
    let ask = |arguments: &[&str]| stdout(&run(protected.addr(), arguments, b""));
    assert_eq!(
        ask(&["-a", PASSWORD, "--no-auth-warning", "ping"]),
        "PONG\n"
    );
    let named = [
        "--user",
        "default",
        "--pass",
        PASSWORD,
        "--no-auth-warning",
        "-3",
        "ping",
    ];
    assert_eq!(ask(&named), "PONG\n");
    assert!(ask(&["ping"]).starts_with("NOAUTH "));
    let wrong = ask(&["-a", "wrong", "--no-auth-warning", "ping"]);
    assert!(wrong.contains("NOAUTH "), "{wrong}");
}

/// A keyspace of its own, written by `--pipe` and walked by all that walks one.
// contract: P9, M4, M5
#[test]
fn whole_keyspace() {
    let cluster = Cluster::start(Flavor::Redis);
    let keyway = Keyway::start(&cluster.seeds());
    let mut commands = Vec::new();
    for number in 0..50_000 {
        match number % 5 {
            // Inline and RESP, as mass insertion is done by people and by programs.
            0 => write!(commands, "SET string:{number} {number}\r\n"),
            1 => write!(commands, "RPUSH list:{} {number}\r\n", number % 1_000),
            2 => write!(commands, "SADD set:{} {number}\r\n", number % 1_000),
            3 => write!(commands, "HSET hash:{} {number} v\r\n", number % 1_000),
            _ => {
                let key = format!("zset:{}", number % 1_000);
                write!(
                    commands,
                    "*4\r\n$4\r\nZADD\r\n${}\r\n{key}\r\n$1\r\n1\r\n$1\r\nm\r\n",
                    key.len()
                )
            }
        }
        .expect("a buffer takes bytes");
    }
    let got = stdout(&run(keyway.addr(), &["--pipe"], &commands));
    assert!(got.ends_with("errors: 0, replies: 50000\n"), "{got}");

    // 10,000 strings, and of each other kind those of 1,000 names that end in its digits.
    let keys = 10_000 + 4 * 200;
    assert_eq!(
        stdout(&run(keyway.addr(), &["dbsize"], b"")),
        format!("{keys}\n")
    );
    let scan = |arguments: &[&str]| {
        let output = stdout(&run(keyway.addr(), arguments, b""));
        let mut names: Vec<_> = output.lines().map(str::to_owned).collect();
        names.sort();
        names.dedup();
        names.len()
    };
    assert_eq!(scan(&["--scan"]), keys);
    assert_eq!(scan(&["--scan", "--pattern", "list:*"]), 200);
    for report in ["--bigkeys", "--memkeys"] {
        let got = stdout(&run(keyway.addr(), &[report, "-i", "0"], b""));
        let sampled = format!("Sampled {keys} keys in the keyspace!");
        assert!(got.contains(&sampled), "{report}:\n{got}");
        for kind in ["string", "list", "set", "hash", "zset"] {
            let biggest = got
                .lines()
                .any(|line| line.starts_with("Biggest") && line.contains(kind));
            assert!(biggest, "{report}, {kind}:\n{got}");
        }
    }
}

/// `--stat` prints lines for ever (its output comes in blocks, so they have to come fast).
#[test]
fn stat_ticks() {
    let scene = Scene::start();
    let mut command = command(scene.addr(), &["--stat", "-i", "0.01"]);
    let mut tool = Running(command.spawn().expect("redis-cli is installed"));
    let output = tool.0.stdout.take().expect("it is piped");
    let mut lines = BufReader::new(output)
        .lines()
        .map(|line| line.expect("it writes text"));
    let is_figures = |line: &String| line.starts_with(|first: char| first.is_ascii_digit());
    let figures = lines.find(is_figures).expect("a line of figures");
    let fields: Vec<_> = figures.split_whitespace().collect();
    assert!(
        fields.len() >= 6,
        "keys, memory, clients, blocked, requests, connections: {figures}"
    );
    assert!(
        fields[0].parse::<u64>().is_ok(),
        "the number of keys: {figures}"
    );
}

fn command(addr: SocketAddr, arguments: &[&str]) -> Command {
    let mut command = Command::new("redis-cli");
    command
        .args(["-h", "127.0.0.1", "-p", &addr.port().to_string()])
        .args(arguments)
        .env_remove("REDISCLI_AUTH")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Runs it with this standard input, to its end.
fn run(addr: SocketAddr, arguments: &[&str], input: &[u8]) -> Output {
    let mut tool = command(addr, arguments)
        .spawn()
        .expect("redis-cli is installed");
    let mut stdin = tool.stdin.take().expect("it is piped");
    let input = input.to_vec();
    // It may print before it has read everything.
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = tool
        .wait_with_output()
        .expect("our own child can be waited for");
    // A call that reads no input has closed it.
    let _ = writer.join().expect("writing does not panic");
    output
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Killed when the test ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended and was waited for.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
