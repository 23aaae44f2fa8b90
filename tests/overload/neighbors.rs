//! Well-behaved clients, and what they notice of the others.

use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::support::Client;
use super::support::servers::lock;

const CLIENTS: usize = 4;
/// A request that takes longer is an error of the test.
const PATIENCE: Duration = Duration::from_secs(30);

/// Clients that write and read their own keys all the time.
pub struct Neighbors {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    is_over: AtomicBool,
    waits: Mutex<Vec<Duration>>,
}

/// What they noticed.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// Requests of all of them in a second.
    pub rate: f64,
    /// A request's time.
    pub p50: Duration,
    /// See `p50`.
    pub p99: Duration,
    /// See `p50`.
    pub longest: Duration,
}

impl fmt::Display for Figures {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "{:.0} requests/s, p50 {:.2?}, p99 {:.2?}, longest {:.1?}",
            self.rate, self.p50, self.p99, self.longest
        )
    }
}

impl Neighbors {
    /// Starts them.
    pub fn start(addr: SocketAddr) -> Neighbors {
        let shared = Arc::new(Shared {
            is_over: AtomicBool::new(false),
            waits: Mutex::default(),
        });
        let threads = (0..CLIENTS).map(|number| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.run(addr, number))
        });
        Neighbors {
            threads: threads.collect(),
            shared,
        }
    }

    /// Listens to them for a while.
    pub fn figures(&self, time: Duration) -> Figures {
        lock(&self.shared.waits).clear();
        let began = Instant::now();
        pass(time);
        let mut waits = std::mem::take(&mut *lock(&self.shared.waits));
        let rate = waits.len() as f64 / began.elapsed().as_secs_f64();
        waits.sort_unstable();
        let at = |percent: usize| {
            let index = (waits.len() * percent / 100).min(waits.len().saturating_sub(1));
            waits.get(index).copied().unwrap_or(time)
        };
        Figures {
            rate,
            p50: at(50),
            p99: at(99),
            longest: at(100),
        }
    }

    /// Ends them; fails when a reply was wrong or one of them lost its connection.
    #[track_caller]
    pub fn leave(self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().expect("each reply of a neighbor was right");
        }
    }
}

impl Shared {
    fn run(&self, addr: SocketAddr, number: usize) {
        let mut client = Client::connect(addr).with_patience(PATIENCE);
        let mut random = fastrand::Rng::with_seed(number as u64);
        for value in 0_u64.. {
            if self.is_over.load(Ordering::Relaxed) {
                return;
            }
            let key = format!("neighbor:{number}:{}", random.u8(..));
            let mut took = Vec::with_capacity(2);
            for (command, reply) in [
                (format!("SET {key} {value}"), "+OK".to_owned()),
                (format!("GET {key}"), format!("'{value}'")),
            ] {
                let began = Instant::now();
                client.expect(&command, &reply);
                took.push(began.elapsed());
            }
            lock(&self.waits).append(&mut took);
        }
    }
}

/// Lets time pass.
pub fn pass(time: Duration) {
    let until = Instant::now() + time;
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::park_timeout(left);
    }
}
