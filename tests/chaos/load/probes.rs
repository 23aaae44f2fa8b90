//! Clients that write all the time to one key each, spread over all slots, and remember the longest
//! interruption: how long a fault is felt.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use keyway::cluster::Slot;

use super::super::support::{Client, eventually};

/// How many; their slots lie evenly.
const COUNT: usize = 6;
const PACE: Duration = Duration::from_millis(4);
/// How long a probe waits before it asks again on another connection.
const PATIENCE: Duration = Duration::from_secs(25);
/// How long it may take until all probes are served again.
const RECOVERY_DEADLINE: Duration = Duration::from_secs(60);

struct Probe {
    began: Instant,
    is_over: AtomicBool,
    /// When the last write that succeeded had been sent, and when it was answered, in microseconds.
    sent_us: AtomicU64,
    answered_us: AtomicU64,
    /// The longest time between two successes.
    gap_us: AtomicU64,
}

/// The probes.
pub struct Probes {
    probes: Vec<Arc<Probe>>,
    threads: Vec<JoinHandle<()>>,
}

impl Probes {
    /// Starts them.
    pub fn start(addr: SocketAddr) -> Probes {
        let began = Instant::now();
        let probes = (0..COUNT).map(|_| {
            Arc::new(Probe {
                began,
                is_over: AtomicBool::new(false),
                sent_us: AtomicU64::new(0),
                answered_us: AtomicU64::new(0),
                gap_us: AtomicU64::new(0),
            })
        });
        let probes: Vec<_> = probes.collect();
        let threads = probes.iter().enumerate().map(|(index, probe)| {
            let probe = Arc::clone(probe);
            let key = key_in(index * Slot::COUNT / COUNT..(index + 1) * Slot::COUNT / COUNT);
            std::thread::spawn(move || probe.run(addr, &key))
        });
        Probes {
            threads: threads.collect(),
            probes,
        }
    }

    /// Forgets earlier interruptions.
    pub fn begin(&self) {
        for probe in &self.probes {
            probe.gap_us.store(0, Ordering::SeqCst);
        }
    }

    /// Waits until all are served, and tells the longest interruption since [`Probes::begin`].
    #[track_caller]
    pub fn longest_gap(&self) -> Duration {
        let mut longest = 0;
        for probe in &self.probes {
            let now_us = probe.now_us();
            eventually("a probe is served again", RECOVERY_DEADLINE, || {
                probe.sent_us.load(Ordering::SeqCst) >= now_us
            });
            longest = longest.max(probe.gap_us.load(Ordering::SeqCst));
        }
        Duration::from_micros(longest)
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        for probe in &self.probes {
            probe.is_over.store(true, Ordering::SeqCst);
        }
        for thread in self.threads.drain(..) {
            // It only counts; what it panicked with has been printed.
            let _ = thread.join();
        }
    }
}

impl Probe {
    fn now_us(&self) -> u64 {
        self.began.elapsed().as_micros() as u64
    }

    fn run(&self, addr: SocketAddr, key: &str) {
        let mut connection = None::<Client>;
        while !self.is_over.load(Ordering::SeqCst) {
            let Some(mut client) = connection.take().or_else(|| {
                let client = Client::try_connect(addr).ok();
                client.map(|client| client.with_patience(PATIENCE))
            }) else {
                std::thread::park_timeout(PACE);
                continue;
            };
            let sent_us = self.now_us();
            match client.try_call(&["SET", key, "1"]) {
                Ok(reply) if !reply.is_error() => self.note(sent_us),
                Ok(_) => {}
                Err(_) => continue,
            }
            connection = Some(client);
            std::thread::park_timeout(PACE);
        }
    }

    fn note(&self, sent_us: u64) {
        let now_us = self.now_us();
        let before = self.answered_us.swap(now_us, Ordering::SeqCst);
        self.gap_us
            .fetch_max(now_us.saturating_sub(before), Ordering::SeqCst);
        self.sent_us.store(sent_us, Ordering::SeqCst);
    }
}

fn key_in(slots: std::ops::Range<usize>) -> String {
    let mut names = (0..).map(|salt: u32| format!("chaos:probe:{salt}"));
    let fitting = names.find(|name| slots.contains(&Slot::of_key(name.as_bytes()).index()));
    fitting.expect("every range of slots has a name")
}
