//! How many machine instructions does one call of each function on the path of a request take?
//!
//! Counted by Valgrind, so that the answer is the same on a busy machine: `make bench-instructions`.
//! Each case has a limit, and the run fails when one is passed: raise it in the commit that has a
//! reason to. To add a function: one line in [`CASES`], one function that calls it in a loop.
//!
//! 1. This program starts itself under Valgrind, twice for each case: the second time the loop turns
//!    [`TURNS`] times more often. What both do alike, from the loader on, cancels out.
//! 2. What an empty loop costs is taken off.

use std::hint::black_box;
use std::process::{Command, ExitCode};

use keyway::acl::{Request, User};
use keyway::cluster::Slot;
use keyway::command::{Lookup, key_positions, lookup};
use keyway::pipeline::Replies;
use keyway::resp::Args;
use keyway::resp::reply::ReplyScanner;
use keyway::resp::scan::{Limits, RequestScanner, Scanned};

/// First argument of the process that Valgrind watches.
const WORD: &str = "run-case";
/// The turns that are counted.
const TURNS: u64 = 2_000;

struct Case {
    name: &'static str,
    /// Instructions of one call, at most. About a tenth above what was counted when it was written.
    limit: u64,
    run: fn(turns: u64),
}

const fn case(name: &'static str, limit: u64, run: fn(u64)) -> Case {
    Case { name, limit, run }
}

#[rustfmt::skip]
const CASES: &[Case] = &[
    case("scan request: GET key",              265, |turns| scan_request(turns, GET)),
    case("scan request: SET key, 64 B",        345, |turns| scan_request(turns, &set())),
    case("scan request: MGET of 10 keys",    1_020, |turns| scan_request(turns, &mget())),
    case("scan reply: 64 B",                   145, |turns| scan_reply(turns, &bulk())),
    case("scan reply: array of 10 x 64 B",   1_320, |turns| scan_reply(turns, &array())),
    case("look up GET",                        106, |turns| look_up(turns, GET)),
    case("look up CLIENT NO-EVICT",            188, |turns| look_up(turns, CLIENT_NO_EVICT)),
    case("slot of one key, 18 B",              245, |turns| slots(turns, GET)),
    case("slots of 10 keys, 18 B each",      2_050, |turns| slots(turns, &mget())),
    // Counted without link-time optimization, with which they take less.
    case("judge GET: a free user",            150, |turns| judge(turns, GET, "on ~* &* +@all")),
    case("judge GET: one pattern of keys",     500, |turns| judge(turns, GET, "on ~small:* +@all -@dangerous")),
    case("judge MGET of 10 keys, the same",  2_400, |turns| judge(turns, &mget(), "on ~small:* +@all -@dangerous")),
    // One more than before: a countdown, so that the usual length of a reply can fall.
    case("reply queue: open, deliver, write",   170, reply_queue),
];

const GET: &[u8] = b"*2\r\n$3\r\nGET\r\n$18\r\nsmall:000000000042\r\n";
const CLIENT_NO_EVICT: &[u8] = b"*3\r\n$6\r\nCLIENT\r\n$8\r\nNO-EVICT\r\n$2\r\non\r\n";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [word, name, turns] = &arguments[..]
        && word == WORD
    {
        let turns = turns.parse().expect("we wrote the number ourselves");
        run(name, turns);
        return ExitCode::SUCCESS;
    }
    println!(
        "{:<36}{:>12} {:>8}",
        "instructions of one call", "counted", "limit"
    );
    let empty = count("");
    let mut over = 0;
    for case in CASES {
        let counted = count(case.name).saturating_sub(empty);
        let verdict = if counted > case.limit { "  OVER" } else { "" };
        over += usize::from(counted > case.limit);
        println!("{:<36}{counted:>12} {:>8}{verdict}", case.name, case.limit);
    }
    if over == 0 {
        ExitCode::SUCCESS
    } else {
        println!("{over} over the limit; limits are in benches/instructions.rs");
        ExitCode::FAILURE
    }
}

fn run(name: &str, turns: u64) {
    match CASES.iter().find(|case| case.name == name) {
        Some(case) => (case.run)(turns),
        // The empty loop.
        None => (0..turns).for_each(|turn| {
            black_box(turn);
        }),
    }
}

/// Instructions of one turn, to the nearest.
fn count(name: &str) -> u64 {
    let (few, many) = (watch(name, TURNS), watch(name, 2 * TURNS));
    (many - few + TURNS / 2) / TURNS
}

/// Instructions of the whole process, as Valgrind counts them.
fn watch(name: &str, turns: u64) -> u64 {
    let own = std::env::current_exe().expect("a running program has a path");
    let output = Command::new("valgrind")
        .args([
            "--tool=cachegrind",
            "--cache-sim=no",
            "--cachegrind-out-file=/dev/null",
        ])
        .arg(own)
        .args([WORD, name, &turns.to_string()])
        .output()
        .unwrap_or_else(|error| panic!("valgrind: {error} (apt-get install valgrind libc6-dbg)"));
    let text = String::from_utf8_lossy(&output.stderr);
    let line = text.lines().find_map(|line| line.split_once("refs:"));
    let count = line.and_then(|(_, count)| count.trim().replace(',', "").parse().ok());
    count.unwrap_or_else(|| panic!("valgrind counted nothing ({}): {text}", output.status))
}

// ---- The cases ---------------------------------------------------------------------------------

const LIMITS: Limits = Limits {
    bulk_bytes_max: 512 << 20,
    request_bytes_max: 1 << 30,
    is_authenticated: true,
};

fn scan_request(turns: u64, request: &[u8]) {
    let mut scanner = RequestScanner::default();
    for _ in 0..turns {
        let scanned = scanner.scan(black_box(request), &LIMITS);
        black_box(scanned).expect("the request is whole and right");
        black_box(scanner.spans());
        scanner.reset();
    }
}

fn scan_reply(turns: u64, reply: &[u8]) {
    let mut scanner = ReplyScanner::default();
    for _ in 0..turns {
        black_box(scanner.scan(black_box(reply))).expect("the reply is right");
    }
}

fn look_up(turns: u64, request: &[u8]) {
    let scanner = scanned(request);
    let args = Args::new(request, scanner.spans());
    for _ in 0..turns {
        black_box(lookup(black_box(&args)));
    }
}

fn slots(turns: u64, request: &[u8]) {
    let scanner = scanned(request);
    let args = Args::new(request, scanner.spans());
    let Lookup::Found(command) = lookup(&args) else {
        panic!("the command is in the table");
    };
    for _ in 0..turns {
        let positions = key_positions(black_box(command), black_box(&args));
        for position in positions.expect("the keys can be told").iter() {
            black_box(args.get(position).map(Slot::of_key));
        }
    }
}

/// What a restricted user pays beside the branch that every client pays; a free one never gets here.
fn judge(turns: u64, request: &[u8], rules: &str) {
    let scanner = scanned(request);
    let args = Args::new(request, scanner.spans());
    let Lookup::Found(command) = lookup(&args) else {
        panic!("the command is in the table");
    };
    let rules = rules.split(' ').map(str::as_bytes);
    let user = User::of_rules("user", rules).expect("the rules exist");
    let rights = command.rights().expect("it is in the table");
    for _ in 0..turns {
        let request = Request::new(black_box(command), rights, black_box(&args));
        black_box(user.check(&request)).expect("it may");
    }
}

fn reply_queue(turns: u64) {
    let reply = bulk();
    let mut replies = Replies::<()>::default();
    for _ in 0..turns {
        let sequence = replies.open(black_box(false), None);
        black_box(replies.deliver(sequence, 0, black_box(&reply)));
        let len = black_box(replies.output()).len();
        black_box(replies.written(len));
    }
}

fn scanned(request: &[u8]) -> RequestScanner {
    let mut scanner = RequestScanner::default();
    let whole = Ok(Scanned::Request { len: request.len() });
    assert_eq!(scanner.scan(request, &LIMITS), whole);
    scanner
}

fn set() -> Vec<u8> {
    [
        &b"*3\r\n$3\r\nSET\r\n$18\r\nsmall:000000000042\r\n"[..],
        &bulk(),
    ]
    .concat()
}

fn mget() -> Vec<u8> {
    [
        &b"*11\r\n$4\r\nMGET\r\n"[..],
        &b"$18\r\nsmall:000000000042\r\n".repeat(10),
    ]
    .concat()
}

fn bulk() -> Vec<u8> {
    [&b"$64\r\n"[..], &[b'v'; 64], b"\r\n"].concat()
}

fn array() -> Vec<u8> {
    [&b"*10\r\n"[..], &bulk().repeat(10)].concat()
}
