//! The process at a limit of its memory: settings that fit keep it alive, whatever clients do.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use super::neighbors::{Neighbors, pass};
use super::support::client::encode;
use super::support::{Client, Keyway};
use super::{cluster, mib, sized, turn};

/// The limit.
const LIMIT: u64 = 128 << 20;

/// contract: F6
#[test]
fn at_a_memory_limit() {
    let _turn = turn();
    let group = match Group::new() {
        Ok(group) => group,
        Err(why) => {
            println!("skipped: no control group can be made here: {why}");
            return;
        }
    };
    let cluster = cluster();
    // README, "Limits and memory": fresh, three outboxes, and for each of 40 greedy clients its largest request
    // and what it leaves unread.
    let keyway = Keyway::before(&cluster.seeds())
        .set("limits.outbox_bytes", "\"2mb\"")
        .set("limits.client_output_soft_bytes", "\"64kb\"")
        .set("limits.argument_bytes", "\"1mb\"")
        .set("limits.query_buffer_bytes", "\"1mb\"")
        .set("limits.requests_in_flight_per_client", "16")
        .through(group.wrapper())
        .start();
    let neighbors = Neighbors::start(keyway.addr());
    let time = sized(Duration::from_secs(5), Duration::from_secs(1));
    let alone = neighbors.figures(time);
    let greedy: Vec<Client> = (0..40).map(|_| keyway.client()).collect();
    std::thread::scope(|scope| {
        for (number, client) in greedy.iter().enumerate() {
            scope.spawn(move || {
                let key = format!("greedy:{number}");
                let set = encode(&[b"SET", key.as_bytes(), &vec![b'x'; 64 * 1024]]);
                let get = encode(&["GET", &key]);
                // Writes much, reads nothing, until it is not taken any more and the test ends it.
                while client.stream().write_all(&set).is_ok()
                    && client.stream().write_all(&get).is_ok()
                {}
            });
        }
        pass(time);
        let beside = neighbors.figures(time);
        println!(
            "limit {}: 40 greedy clients, {} used, at most {}; neighbors alone: {alone}; meanwhile: {beside}",
            mib(LIMIT),
            mib(keyway.resident_bytes()),
            mib(group.peak()),
        );
        assert!(!keyway.has_ended(), "{}", keyway.log());
        assert!(beside.rate > 0.0);
        for client in &greedy {
            let _ = client.stream().shutdown(std::net::Shutdown::Both);
        }
    });
    neighbors.leave();
    drop(keyway);
}

/// A control group of its own, removed when dropped: of version 2 where that has a memory controller, else
/// of version 1.
struct Group {
    path: PathBuf,
    is_v2: bool,
}

impl Group {
    fn new() -> Result<Group, String> {
        let name = format!("keyway-test-{}", std::process::id());
        let is_v2 = fs::read_to_string("/sys/fs/cgroup/cgroup.subtree_control")
            .is_ok_and(|text| text.contains("memory"));
        let root = if is_v2 {
            "/sys/fs/cgroup"
        } else {
            "/sys/fs/cgroup/memory"
        };
        let path = PathBuf::from(root).join(name);
        let limit = if is_v2 {
            "memory.max"
        } else {
            "memory.limit_in_bytes"
        };
        if !PathBuf::from(root).join("cgroup.procs").exists() {
            return Err(format!("{root} has no memory controller"));
        }
        fs::create_dir(&path).map_err(|error| error.to_string())?;
        let group = Group { path, is_v2 };
        let limited = fs::write(group.path.join(limit), LIMIT.to_string());
        limited.map_err(|error| error.to_string())?;
        Ok(group)
    }

    /// Starts a program in it.
    fn wrapper(&self) -> Vec<String> {
        let procs = self.path.join("cgroup.procs").display().to_string();
        let script = format!("echo $$ > {procs} && exec \"$@\"");
        ["sh", "-c", &script, "limited"].map(str::to_owned).to_vec()
    }

    /// The most it ever used, with the kernel's buffers; 0 where that is not told.
    fn peak(&self) -> u64 {
        let name = if self.is_v2 {
            "memory.peak"
        } else {
            "memory.max_usage_in_bytes"
        };
        let text = fs::read_to_string(self.path.join(name)).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Empty by now; when not, nobody minds an empty folder later.
        let _ = fs::remove_dir(&self.path);
    }
}
