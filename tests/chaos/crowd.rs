//! All clients of the load: started, ended, and what they leave behind.

use std::sync::Arc;
use std::thread::JoinHandle;

use super::load::queues::Taken;
use super::load::{Finished, channels, large, plain, queues, transactions, watchers};
use super::stage::Stage;

const PLAIN: u64 = 6;
const PIPELINED: u64 = 4;
const TRANSACTIONS: u64 = 3;
const WATCHERS: u64 = 3;
const CONSUMERS: u64 = 5;
const SUBSCRIBERS: usize = 4;
const LARGE: u64 = 2;
const DEPTH: usize = 16;

/// The running load.
pub struct Crowd {
    threads: Vec<JoinHandle<(Finished, Taken)>>,
    /// The numbers of the queues.
    pub queues: Vec<u32>,
    /// The numbers of the keys that are watched.
    pub watched: Vec<u32>,
}

impl Crowd {
    /// Starts all clients.
    pub fn start(stage: &Arc<Stage>) -> Crowd {
        let numbers = |count: usize| (0..count).map(|_| stage.new_key()).collect::<Vec<_>>();
        let mut crowd = Crowd {
            threads: Vec::new(),
            queues: numbers(4),
            watched: numbers(2),
        };
        for number in 0..PLAIN + PIPELINED {
            let plan = plain::Plan {
                number,
                pipeline: if number < PLAIN { 1 } else { DEPTH },
                is_resp3: number % 2 == 1,
            };
            crowd.spawn(stage, move |stage| plain::run(stage, plan));
        }
        for number in 0..TRANSACTIONS {
            crowd.spawn(stage, move |stage| transactions::run(stage, number));
        }
        for number in 0..WATCHERS {
            let keys = crowd.watched.clone();
            crowd.spawn(stage, move |stage| watchers::run(stage, number, &keys));
        }
        for queue in crowd.queues.clone() {
            crowd.spawn(stage, move |stage| queues::produce(stage, queue));
        }
        for number in 0..CONSUMERS {
            let queues = crowd.queues.clone();
            let stage = Arc::clone(stage);
            let thread = std::thread::spawn(move || queues::consume(&stage, number, &queues));
            crowd.threads.push(thread);
        }
        let channels = numbers(3);
        for channel in channels.clone() {
            crowd.spawn(stage, move |stage| channels::publish(stage, channel));
        }
        for number in 0..SUBSCRIBERS {
            let channels = channels.clone();
            crowd.spawn(stage, move |stage| {
                channels::subscribe(stage, &channels, number % 2 == 1)
            });
        }
        for number in 0..LARGE {
            crowd.spawn(stage, move |stage| large::run(stage, number));
        }
        crowd
    }

    fn spawn(&mut self, stage: &Arc<Stage>, run: impl FnOnce(&Stage) -> Finished + Send + 'static) {
        let stage = Arc::clone(stage);
        let thread = std::thread::spawn(move || (run(&stage), Taken::default()));
        self.threads.push(thread);
    }

    /// Waits until all have ended, and gives what each leaves. The stage must have been told.
    #[track_caller]
    pub fn leave(self) -> (Vec<Finished>, Vec<Taken>) {
        let mut all = (Vec::new(), Vec::new());
        for thread in self.threads {
            let (finished, taken) = thread.join().expect("a client of the load panicked");
            all.0.push(finished);
            all.1.push(taken);
        }
        all
    }

    /// How many consumers there are.
    pub fn is_consumer(taken: &Taken) -> bool {
        !taken.elements.is_empty() || !taken.unknown.is_empty()
    }
}
