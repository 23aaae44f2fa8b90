//! A checked load: many clients, mixed commands, each reply compared with what that client wrote.
//!
//! It runs on threads of its own until told to stop, counts what went right, errors by kind, wrong
//! and stale replies, and remembers the longest wait on each shard.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use keyway::cluster::Slot;

use super::client::{Client, encode};
use super::eventually::{eventually, eventually_some};
use super::load_client::{Keys, Verdict};
use super::servers::lock;

/// How many wrong or stale replies are kept as text.
const KEPT_TEXTS: usize = 10;

/// What load to make.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// How many clients, each with a connection and a thread.
    pub clients: usize,
    /// How many keys each client has.
    pub keys: usize,
    /// How many commands a client sends before it reads.
    pub pipeline: usize,
    /// About how long values are.
    pub value_bytes: usize,
    /// Whether clients say `HELLO 3`.
    pub resp3: bool,
    /// `AUTH` with this, if set.
    pub password: Option<String>,
    /// `SELECT` this database, if it is not the first.
    pub database: usize,
    /// Each slot's shard ([`Cluster::shard_map`](super::Cluster::shard_map)). When it is set, each client
    /// keeps to the keys of one shard, so that a dead shard holds up its own clients only, and
    /// waits are told by shard.
    pub shards: Option<Vec<usize>>,
    /// Seed of the choice of commands; loads with different seeds have different keys.
    pub seed: u64,
}

impl Default for LoadPlan {
    fn default() -> Self {
        LoadPlan {
            clients: 50,
            keys: 24,
            pipeline: 1,
            value_bytes: 32,
            resp3: false,
            password: None,
            database: 0,
            shards: None,
            seed: 1,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Replies that were right.
    pub right: u64,
    /// Error replies by kind: their text without digits.
    pub errors: BTreeMap<String, u64>,
    /// Of these, writes with unknown outcome.
    pub outcome_unknown: u64,
    /// Replies that cannot be.
    pub wrong: u64,
    /// Replies from before an acknowledged write.
    pub stale: u64,
    /// The first wrong and stale replies.
    pub texts: Vec<String>,
    /// How often a connection was lost.
    pub disconnects: u64,
    /// The longest time a reply took, by shard.
    pub longest_wait: BTreeMap<usize, Duration>,
    /// The longest time in which no client got a right reply, by shard.
    pub longest_gap: BTreeMap<usize, Duration>,
    /// How long it ran.
    pub ran: Duration,
}

impl Report {
    /// How many error replies there were.
    pub fn error_count(&self) -> u64 {
        self.errors.values().sum()
    }

    /// Fails unless every reply was right.
    #[track_caller]
    pub fn assert_flawless(&self) {
        assert!(self.right > 0, "nothing was done: {self}");
        let faults = self.error_count() + self.wrong + self.stale + self.disconnects;
        assert_eq!(faults, 0, "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "{} right, {} errors ({} outcome unknown), {} wrong, {} stale, {} disconnects in {:.1?}",
            self.right,
            self.error_count(),
            self.outcome_unknown,
            self.wrong,
            self.stale,
            self.disconnects,
            self.ran
        )?;
        for (kind, count) in &self.errors {
            writeln!(out, "  {count} x {kind}")?;
        }
        for text in &self.texts {
            writeln!(out, "  {text}")?;
        }
        for (shard, wait) in &self.longest_wait {
            let gap = self.longest_gap.get(shard).copied().unwrap_or_default();
            writeln!(
                out,
                "  shard {shard}: longest wait {wait:.1?}, longest gap {gap:.1?}"
            )?;
        }
        Ok(())
    }
}

/// A running load.
pub struct Load {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    began: Instant,
}

struct Shared {
    addr: SocketAddr,
    plan: LoadPlan,
    stop: AtomicBool,
    right: AtomicU64,
    report: Mutex<Report>,
    began: Instant,
    /// When each shard last gave a right reply, in microseconds since `began`, and its longest gap.
    gaps: Vec<(AtomicU64, AtomicU64)>,
}

impl Load {
    /// Starts the clients.
    pub fn start(addr: SocketAddr, plan: LoadPlan) -> Load {
        let shards = plan
            .shards
            .iter()
            .flatten()
            .max()
            .map_or(1, |&last| last + 1);
        let shared = Arc::new(Shared {
            addr,
            stop: AtomicBool::new(false),
            right: AtomicU64::new(0),
            report: Mutex::default(),
            began: Instant::now(),
            gaps: (0..shards).map(|_| Default::default()).collect(),
            plan,
        });
        let threads = (0..shared.plan.clients).map(|number| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || run_client(&shared, number))
        });
        Load {
            threads: threads.collect(),
            began: shared.began,
            shared,
        }
    }

    /// How many replies have been right so far.
    pub fn right(&self) -> u64 {
        self.shared.right.load(Ordering::Relaxed)
    }

    /// Waits until so many more replies have been right.
    #[track_caller]
    pub fn wait_for(&self, more: u64) {
        let goal = self.right() + more;
        eventually("the load makes progress", Duration::from_secs(60), || {
            self.right() >= goal
        });
    }

    /// Stops the clients (each after the reply it waits for) and tells what came of it.
    pub fn stop(mut self) -> Report {
        let ran = self.began.elapsed();
        self.end();
        let mut report = lock(&self.shared.report).clone();
        report.ran = ran;
        report.right = self.right();
        let shards = self.shared.plan.shards.as_ref();
        for (shard, (last, longest)) in self.shared.gaps.iter().enumerate() {
            if shards.is_some_and(|map| !map.contains(&shard)) {
                continue;
            }
            // A shard that never answered again shows it here.
            let last = Duration::from_micros(last.load(Ordering::Relaxed));
            let longest = Duration::from_micros(longest.load(Ordering::Relaxed));
            let gap = longest.max(report.ran.saturating_sub(last));
            report.longest_gap.insert(shard, gap);
        }
        report
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                let mut report = lock(&self.shared.report);
                report.wrong += 1;
                report.texts.push("a client of the load panicked".into());
            }
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.end();
    }
}

fn run_client(shared: &Shared, number: usize) {
    let plan = &shared.plan;
    let shard = plan.shards.as_ref().map(|map| {
        let mut shards = map.clone();
        shards.sort_unstable();
        shards.dedup();
        (map, shards[number % shards.len()])
    });
    let wants = |slot: Slot| shard.is_none_or(|(map, shard)| map[slot.index()] == shard);
    let shard = shard.map_or(0, |(_, shard)| shard);
    let mut keys = Keys::new(plan.seed, number, plan.keys, plan.value_bytes, wants);
    let mut random = fastrand::Rng::with_seed(plan.seed.wrapping_add(number as u64));
    // Nothing is known of the keys until the first deletion succeeded; from then on this client
    // alone changes them, whatever happens to its connections.
    let mut is_clean = false;
    let mut connection: Option<Client> = None;
    while !shared.is_stopping() {
        let Some(mut client) = connection.take().or_else(|| reconnect(shared)) else {
            break;
        };
        if !is_clean {
            let deleted = client.try_call(&keys.delete_all().arguments);
            is_clean = deleted.as_ref().is_ok_and(|reply| !reply.is_error());
            connection = deleted.is_ok().then_some(client);
            continue;
        }
        if run_batch(shared, &mut client, &mut keys, &mut random, shard) {
            connection = Some(client);
        } else {
            lock(&shared.report).disconnects += 1;
        }
    }
}

/// Sends some commands and judges their replies; false when the connection is lost.
fn run_batch(
    shared: &Shared,
    client: &mut Client,
    keys: &mut Keys,
    random: &mut fastrand::Rng,
    shard: usize,
) -> bool {
    let batch: Vec<_> = (0..shared.plan.pipeline.max(1))
        .map(|_| keys.next(random))
        .collect();
    let bytes: Vec<u8> = batch
        .iter()
        .flat_map(|one| encode(&one.arguments))
        .collect();
    let sent_at = Instant::now();
    let mut is_lost = std::io::Write::write_all(&mut client.stream(), &bytes).is_err();
    for operation in &batch {
        match (!is_lost).then(|| client.try_read()) {
            Some(Ok(reply)) => {
                let verdict = keys.judge(operation, &reply);
                shared.note(verdict, shard, sent_at);
            }
            Some(Err(_)) | None => {
                is_lost = true;
                keys.outcome_unknown(operation);
            }
        }
    }
    !is_lost
}

/// Tries until somebody listens; `None` when the load is to stop.
fn reconnect(shared: &Shared) -> Option<Client> {
    eventually_some("somebody listens again", Duration::from_secs(120), || {
        let client = connect(shared);
        (client.is_some() || shared.is_stopping()).then_some(client)
    })
}

fn connect(shared: &Shared) -> Option<Client> {
    let plan = &shared.plan;
    let mut client = Client::try_connect(shared.addr).ok()?;
    let mut greeting: Vec<&str> = Vec::new();
    match (plan.resp3, &plan.password) {
        (true, Some(password)) => greeting.extend(["HELLO", "3", "AUTH", "default", password]),
        (true, None) => greeting.extend(["HELLO", "3"]),
        (false, Some(password)) => greeting.extend(["AUTH", password]),
        (false, None) => {}
    }
    if !greeting.is_empty() && client.try_call(&greeting).ok()?.is_error() {
        return None;
    }
    if plan.database > 0 {
        let select = ["SELECT", &plan.database.to_string()];
        if client.try_call(&select).ok()?.is_error() {
            return None;
        }
    }
    Some(client)
}

impl Shared {
    fn is_stopping(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn note(&self, verdict: Verdict, shard: usize, sent_at: Instant) {
        let waited = sent_at.elapsed();
        if verdict == Verdict::Right {
            self.right.fetch_add(1, Ordering::Relaxed);
            let now = self.began.elapsed().as_micros() as u64;
            let (last, longest) = &self.gaps[shard];
            let before = last.fetch_max(now, Ordering::Relaxed);
            longest.fetch_max(now.saturating_sub(before), Ordering::Relaxed);
        }
        let mut report = lock(&self.report);
        let wait = report.longest_wait.entry(shard).or_default();
        *wait = waited.max(*wait);
        let text = match verdict {
            Verdict::Right => return,
            Verdict::Error(text) => {
                if text.contains("outcome unknown") {
                    report.outcome_unknown += 1;
                }
                let kind: String = text.chars().filter(|c| !c.is_ascii_digit()).collect();
                *report.errors.entry(kind).or_default() += 1;
                return;
            }
            Verdict::Stale(text) => {
                report.stale += 1;
                format!("stale: {text}")
            }
            Verdict::Wrong(text) => {
                report.wrong += 1;
                format!("wrong: {text}")
            }
        };
        if report.texts.len() < KEPT_TEXTS {
            report.texts.push(text);
        }
    }
}
