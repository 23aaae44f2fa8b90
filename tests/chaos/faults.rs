//! How each fault is done, and undone.

use std::time::{Duration, Instant};

use super::schedule::Fault;
use super::support::cluster::MEND_AFTER;
use super::support::eventually::{eventually_none, eventually_some};
use super::support::{Client, Cluster, Keyway, Server, Takeover, eventually};

/// How long the nodes may take to agree, on a machine with too much to do.
const SETTLE_DEADLINE: Duration = Duration::from_secs(60);

/// How often connections to a node are cut in a row.
const KILLS: u32 = 10;

/// What faults are done to.
pub struct Patient<'a> {
    pub cluster: Cluster,
    pub keyway: &'a Keyway,
    pub random: fastrand::Rng,
    /// Gives a client's pace; see [`super::stage::Stage::pause`].
    pub pause: &'a dyn Fn(Duration),
    joined: Option<usize>,
}

impl<'a> Patient<'a> {
    pub fn new(
        cluster: Cluster,
        keyway: &'a Keyway,
        seed: u64,
        pause: &'a dyn Fn(Duration),
    ) -> Self {
        Patient {
            cluster,
            keyway,
            random: fastrand::Rng::with_seed(seed),
            pause,
            joined: None,
        }
    }

    /// Does it, and waits until the cluster is whole again. Says to whom.
    #[track_caller]
    pub fn suffer(&mut self, fault: Fault) -> String {
        let told = match fault {
            Fault::KillPrimary => self.kill_primary(true),
            Fault::KillAndStartPrimary => self.kill_primary(false),
            Fault::KillReplica => self.kill_replica(),
            Fault::StopBriefly => self.stop_briefly(),
            Fault::StopUntilFailover => self.stop_until_failover(),
            Fault::PlannedFailover => self.failover(Takeover::Planned),
            Fault::ForcedFailover => self.failover(Takeover::Force),
            Fault::MoveSlots => self.move_slots(),
            Fault::HalfMove => self.half_move(),
            Fault::JoinOrLeave => self.join_or_leave(),
            Fault::KillConnections => self.kill_connections(),
            Fault::KillClients => self.kill_clients(),
            Fault::PauseNode => self.pause_node(),
            Fault::PauseClients => self.pause_clients(),
            Fault::RestartCluster => {
                self.cluster.restart_all();
                "all".to_owned()
            }
            Fault::RestartKeyway => {
                self.keyway.terminate();
                self.keyway.restart();
                "Keyway".to_owned()
            }
            Fault::KillKeyway => {
                self.keyway.restart();
                "Keyway".to_owned()
            }
        };
        self.settle();
        told
    }

    /// How often so far a node was taken for dead, by the nodes' logs: also a primary that merely got no time
    /// from a busy machine may be replaced, and what it did last is lost.
    pub fn verdicts(&self) -> usize {
        let verdict = "as failing (quorum reached)";
        let nodes = self.cluster.nodes().iter();
        nodes.map(|node| node.log().matches(verdict).count()).sum()
    }

    /// Waits until the nodes agree and each has a log of its own that is whole.
    #[track_caller]
    fn settle(&self) {
        let began = Instant::now();
        let mut mended_at = began;
        eventually_none("the cluster is whole", SETTLE_DEADLINE, || {
            if mended_at.elapsed() > MEND_AFTER {
                mended_at = Instant::now();
                println!("not whole after {:.1?}, mending", began.elapsed());
                self.cluster.mend();
            }
            self.cluster.unsettled().or_else(|| {
                let unfinished = |node: &&Server| !is_log_whole(node);
                let node = self.cluster.nodes().iter().find(unfinished)?;
                Some(format!("{} still writes its log anew", node.addr()))
            })
        });
    }

    fn some(&mut self, from: &[usize]) -> usize {
        from[self.random.usize(..from.len())]
    }

    /// A primary that owns slots and has a replica.
    fn some_primary(&mut self) -> usize {
        let cluster = &self.cluster;
        let mut primaries = cluster.primaries();
        primaries.retain(|&index| !cluster.replicas_of(index).is_empty());
        primaries.sort_unstable();
        self.some(&primaries)
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.random.u64(range))
    }

    fn kill_primary(&mut self, until_replaced: bool) -> String {
        let victim = self.some_primary();
        let slot = self.slot_of(victim);
        self.cluster.kill(victim);
        if until_replaced {
            self.wait_until_replaced(slot, victim);
        }
        self.cluster.restart(victim);
        format!("node {victim}")
    }

    fn kill_replica(&mut self) -> String {
        let primary = self.some_primary();
        let victim = self.cluster.replicas_of(primary)[0];
        self.cluster.kill(victim);
        (self.pause)(Duration::from_millis(200));
        self.cluster.restart(victim);
        format!("node {victim}")
    }

    fn stop_briefly(&mut self) -> String {
        let victim = self.some_primary();
        let time = self.millis(200..800);
        self.cluster.pause(victim);
        (self.pause)(time);
        self.cluster.resume(victim);
        format!("node {victim} for {time:?}")
    }

    fn stop_until_failover(&mut self) -> String {
        let victim = self.some_primary();
        let slot = self.slot_of(victim);
        self.cluster.pause(victim);
        self.wait_until_replaced(slot, victim);
        let time = self.millis(0..1000);
        (self.pause)(time);
        self.cluster.resume(victim);
        format!("node {victim}, and {time:?} longer")
    }

    fn failover(&mut self, how: Takeover) -> String {
        let primary = self.some_primary();
        let replica = self.cluster.replicas_of(primary)[0];
        self.cluster.failover(replica, how);
        format!("node {replica} for {primary}")
    }

    fn move_slots(&mut self) -> String {
        let mut primaries = self.cluster.primaries();
        primaries.sort_unstable();
        let to = self.some(&primaries);
        let first = self.random.u16(..16384 - 64);
        let count = self.random.u16(16..64);
        let slots: Vec<u16> = (first..first + count).collect();
        // A primary that is thought dead for a moment, on a busy machine, refuses.
        eventually("slots move", SETTLE_DEADLINE, || {
            self.cluster.move_slots(&slots, to).is_ok() || {
                self.settle();
                false
            }
        });
        format!("slots {first} to {} to node {to}", first + count - 1)
    }

    fn half_move(&mut self) -> String {
        // The slot of a pair of keys, so that transactions meet it.
        let slot = self.random.u16(..16384);
        let mut primaries = self.cluster.primaries();
        let owner = self.cluster.primary_of(slot);
        primaries.retain(|&index| Some(index) != owner);
        primaries.sort_unstable();
        let to = self.some(&primaries);
        let half = self.cluster.begin_move(slot, to);
        (self.pause)(Duration::from_millis(300));
        let keys = half.keys();
        half.migrate(&keys[..keys.len() / 2]);
        (self.pause)(Duration::from_millis(300));
        half.finish();
        format!("slot {slot} to node {to}")
    }

    fn join_or_leave(&mut self) -> String {
        let Some(index) = self.joined.take() else {
            let index = self.cluster.join();
            self.give_slots(&[index], index);
            self.joined = Some(index);
            return format!("node {index} joined");
        };
        let mut others = self.cluster.primaries();
        others.retain(|&other| other != index);
        others.sort_unstable();
        self.give_slots(&others, index);
        self.cluster.leave(index);
        format!("node {index} left")
    }

    /// Some slots of every other primary go to the node that joined, or all of its own to the others.
    fn give_slots(&self, to: &[usize], joined: usize) {
        let map = self.cluster.shard_map();
        let slots: Vec<u16> = (0..16384u16)
            .filter(|&slot| {
                let is_there = map[usize::from(slot)] == joined;
                if to == [joined] {
                    !is_there && slot % 128 == 0
                } else {
                    is_there
                }
            })
            .collect();
        let share = slots.len().div_ceil(to.len()).max(1);
        for (slots, &to) in slots.chunks(share).zip(to) {
            eventually("slots move", SETTLE_DEADLINE, || {
                self.cluster.move_slots(slots, to).is_ok() || {
                    self.settle();
                    false
                }
            });
        }
        self.settle();
    }

    fn kill_connections(&mut self) -> String {
        let victim = self.some_primary();
        // Some of these come between a command and its reply.
        let killed = (0..KILLS).map(|_| {
            (self.pause)(Duration::from_millis(20));
            let reply = self.cluster.node(victim).ok("CLIENT KILL TYPE normal");
            reply.integer()
        });
        format!("{} connections to node {victim}", killed.sum::<i64>())
    }

    fn kill_clients(&mut self) -> String {
        let mut client = self.keyway.client();
        let list = client.call("CLIENT LIST").text();
        let own = client.call("CLIENT ID").integer().to_string();
        let ids = list.lines().filter_map(|line| {
            let id = line.split(' ').next()?.strip_prefix("id=")?;
            (id != own).then(|| id.to_owned())
        });
        let ids: Vec<String> = ids.collect();
        let mut killed = 0;
        for _ in 0..5 {
            let id = &ids[self.random.usize(..ids.len())];
            let reply = client.call(&format!("CLIENT KILL ID {id}"));
            killed += reply.integer();
        }
        format!("{killed} clients")
    }

    fn pause_node(&mut self) -> String {
        let victim = self.some_primary();
        let time = self.random.u32(100..800);
        let what = if self.random.bool() { "ALL" } else { "WRITE" };
        let node = self.cluster.node(victim);
        node.ok(&format!("CLIENT PAUSE {time} {what}"));
        (self.pause)(Duration::from_millis(time.into()));
        format!("node {victim}, {what}, {time} ms")
    }

    fn pause_clients(&mut self) -> String {
        let time = self.random.u32(100..500);
        let what = if self.random.bool() { "ALL" } else { "WRITE" };
        let mut client: Client = self.keyway.client();
        client.expect(&format!("CLIENT PAUSE {time} {what}"), "+OK");
        (self.pause)(Duration::from_millis(time.into()));
        format!("{what}, {time} ms")
    }

    fn slot_of(&self, primary: usize) -> u16 {
        let map = self.cluster.shard_map();
        let slot = map.iter().position(|&owner| owner == primary);
        slot.expect("it owns slots") as u16
    }

    fn wait_until_replaced(&self, slot: u16, was: usize) {
        eventually_some("another node owns the slot", SETTLE_DEADLINE, || {
            let owner = self.cluster.primary_of(slot)?;
            (owner != was).then_some(())
        });
    }
}

/// A node that got all data anew writes its log anew; until that is done the log is not whole.
fn is_log_whole(node: &Server) -> bool {
    if !node.is_responsive() {
        return true;
    }
    let Ok(reply) = node.try_call("INFO persistence") else {
        return false;
    };
    let text = String::from_utf8_lossy(reply.bytes().unwrap_or_default());
    let says = |line: &str| text.lines().any(|has| has == line);
    says("aof_enabled:1")
        && says("aof_rewrite_in_progress:0")
        && says("aof_rewrite_scheduled:0")
        && says("loading:0")
}
