//! A network namespace that lives as long as a process of ours, and threads that stand in it.
//!
//! It has no name, so nothing is left behind, however the test ends.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::eventually;
use super::process::{Folder, Process};

/// A network of its own; at first nothing in it is up.
pub struct Namespace {
    holder: Process,
    _folder: Folder,
    path: PathBuf,
}

impl Namespace {
    /// Why none can be made here; `None` when one can.
    pub fn refusal() -> Option<String> {
        let attempt = Command::new("unshare")
            .args(["--net", "ip", "link", "set", "lo", "up"])
            .output();
        match attempt {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Some(format!("unshare: {error}")),
        }
    }

    /// Makes one. Panics, with the reason, where that is not allowed.
    pub fn new(name: &str) -> Namespace {
        let folder = Folder::new(name);
        let log = folder.path().join("holder.log");
        let program = ["unshare", "--net", "tail", "-f", "/dev/null"].map(str::to_owned);
        let mut holder = Process::start(&program, &log).expect("util-linux is installed");
        let path = PathBuf::from(format!("/proc/{}/ns/net", holder.pid()));
        let ours = std::fs::read_link("/proc/self/ns/net").expect("this is Linux");
        eventually(
            "a network namespace is made",
            Duration::from_secs(5),
            || {
                if holder.poll_exit().is_some() {
                    let why = std::fs::read_to_string(&log).unwrap_or_default();
                    panic!("this test needs root, and may not make a network namespace: {why}");
                }
                std::fs::read_link(&path).is_ok_and(|theirs| theirs != ours)
            },
        );
        let namespace = Namespace {
            holder,
            _folder: folder,
            path,
        };
        namespace.run(&["ip", "link", "set", "lo", "up"]);
        namespace
    }

    /// Lays a cable to another one: an interface `cable` in each, with these addresses (`10.0.0.1/24`).
    pub fn connect(&self, other: &Namespace, ours: &str, theirs: &str) {
        let holder = other.holder.pid().to_string();
        let (cable, peer) = (
            ["link", "add", "cable", "type", "veth"],
            ["peer", "name", "cable"],
        );
        let mut words = vec!["ip"];
        words.extend(cable.iter().chain(&peer));
        words.extend(["netns", &holder]);
        self.run(&words);
        for (end, address) in [(self, ours), (other, theirs)] {
            end.run(&["ip", "address", "add", address, "dev", "cable"]);
            end.run(&["ip", "link", "set", "cable", "up"]);
        }
    }

    /// From now on what is sent over the cable to this address vanishes: nobody has the hardware address that
    /// it goes to, and nobody is told.
    pub fn cut(&self, address: &str) {
        let nobody = [
            "lladdr",
            "02:00:00:00:00:99",
            "dev",
            "cable",
            "nud",
            "permanent",
        ];
        let mut words = vec!["ip", "neighbor", "replace", address];
        words.extend(nobody);
        self.run(&words);
    }

    /// Mends the cable.
    pub fn mend(&self, address: &str) {
        self.run(&["ip", "neighbor", "del", address, "dev", "cable"]);
    }

    /// What a program is started through, to live in it.
    pub fn wrapper(&self) -> Vec<String> {
        let net = format!("--net={}", self.path.display());
        vec!["nsenter".to_owned(), net, "--".to_owned()]
    }

    /// Runs a program in it to its end; panics when it fails. Returns what it printed.
    #[track_caller]
    pub fn run(&self, program: &[&str]) -> String {
        let wrapper = self.wrapper();
        let output = Command::new(&wrapper[0])
            .args(&wrapper[1..])
            .args(program)
            .output()
            .unwrap_or_else(|error| panic!("{program:?}: {error}"));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program:?}: {text}{error}");
        text
    }

    /// Does something on a thread that stands in it: sockets made there belong to it for ever.
    #[track_caller]
    pub fn within<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                self.entrance().enter();
                act()
            });
            match thread.join() {
                Ok(outcome) => outcome,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// A way in, for threads that live longer than a call.
    pub fn entrance(&self) -> Entrance {
        Entrance(File::open(&self.path).expect("the namespace is there"))
    }
}

/// A way into a namespace.
pub struct Entrance(File);

impl Entrance {
    /// The calling thread stands in the namespace from now on.
    pub fn enter(&self) {
        move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
            .expect("root may enter the namespace");
    }
}
