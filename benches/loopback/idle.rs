//! Clients that connect, ask once and stay silent; in a process of its own, because the limit of
//! open files is one process's.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use super::support::process::{Folder, Process};
use super::support::{Client, eventually};
use super::workloads::key;

/// First argument of the process that holds the clients.
pub const WORD: &str = "hold-idle-clients";
const READY: &str = "every client has its answer";
/// How long it may take until all have.
const READY_DEADLINE: Duration = Duration::from_secs(120);

/// A running process of idle clients.
pub struct Clients {
    _process: Process,
    _folder: Folder,
}

impl Clients {
    /// Connects so many clients and waits until each has had one answer.
    pub fn start(addr: SocketAddr, count: usize) -> Clients {
        let folder = Folder::new("idle-clients");
        let log = folder.path().join("log");
        let own = std::env::current_exe().expect("a running program has a path");
        let program = [
            own.display().to_string(),
            WORD.to_owned(),
            addr.to_string(),
            count.to_string(),
        ];
        let mut process = Process::start(&program, &log).expect("our own program starts");
        eventually("idle clients are connected", READY_DEADLINE, || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            if let Some(status) = process.poll_exit() {
                panic!("the idle clients ended with {status}: {text}");
            }
            text.contains(READY)
        });
        Clients {
            _process: process,
            _folder: folder,
        }
    }
}

/// The process itself: ends when it is killed.
pub fn hold(addr: &str, count: &str) -> ExitCode {
    let (Ok(addr), Ok(count)) = (addr.parse::<SocketAddr>(), count.parse::<usize>()) else {
        eprintln!("{WORD} takes an address and a count");
        return ExitCode::FAILURE;
    };
    let clients: Vec<Client> = (0..count)
        .map(|number| {
            let mut client = Client::connect(addr);
            let reply = client.call_args(&["GET", &key("small", number)]);
            assert!(reply.bytes().is_some(), "client {number}: {reply}");
            client
        })
        .collect();
    println!("{READY}");
    loop {
        std::thread::park();
        // A park may end by itself; the clients stay.
        std::hint::black_box(&clients);
    }
}
