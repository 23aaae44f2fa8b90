//! A client of the shards that nothing is done to: it asks all the time and remembers its longest wait.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::UNDISTURBED;
use super::support::Client;

/// See the module.
pub struct Watcher {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Duration>>,
}

impl Watcher {
    /// Begins to write and read these keys.
    pub fn start(addr: SocketAddr, keys: Vec<String>) -> Watcher {
        let is_over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            let mut client = Client::connect(addr);
            let mut waits = Vec::new();
            while !ended.load(Ordering::Relaxed) {
                for key in &keys {
                    let count = waits.len();
                    let began = Instant::now();
                    client.expect(&format!("SET {key} {count}"), "+OK");
                    client.expect(&format!("GET {key}"), &format!("'{count}'"));
                    waits.push(began.elapsed());
                }
                client.expect_silence(Duration::from_millis(1));
            }
            waits
        });
        Watcher { is_over, thread }
    }

    /// Ends it; fails unless each request was answered soon.
    #[track_caller]
    pub fn assert_undisturbed(self) {
        self.is_over.store(true, Ordering::Relaxed);
        let mut waits = self.thread.join().expect("each reply was right");
        waits.sort_unstable();
        let longest = *waits.last().expect("it asked");
        println!(
            "other shards: {} times a write and a read, p99 {:.1?}, the longest {longest:.1?}",
            waits.len(),
            waits[waits.len() * 99 / 100]
        );
        assert!(longest < UNDISTURBED, "{longest:?}");
    }
}
