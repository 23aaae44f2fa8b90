//! How fast a listener accepts.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// So many connections a second, and as many at once after a calm second. Those beyond wait: after an outage
/// all clients come at once, and what they need is to be let in a little later.
pub(super) struct Pace {
    /// The time that one connection takes; `None` for any pace.
    each: Option<Duration>,
    /// When the connections that were accepted are paid for.
    paid_at: Instant,
    waiting: Option<Pin<Box<Sleep>>>,
}

/// What may come at once after a pause.
const BURST: Duration = Duration::from_secs(1);

impl Pace {
    /// This many a second; 0 for any pace.
    pub(super) fn new(per_second: usize) -> Pace {
        let each = u32::try_from(per_second)
            .ok()
            .and_then(|n| BURST.checked_div(n));
        Pace {
            each,
            paid_at: Instant::now(),
            waiting: None,
        }
    }

    /// Ready when one more may come.
    pub(super) fn poll_free(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(each) = self.each else {
            return Poll::Ready(());
        };
        let free_at = self.paid_at + each;
        if free_at <= Instant::now() + BURST {
            self.waiting = None;
            return Poll::Ready(());
        }
        let sleep = self
            .waiting
            .get_or_insert_with(|| Box::pin(sleep_until(free_at - BURST)));
        if sleep.as_mut().poll(context).is_ready() {
            self.waiting = None;
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// One has come.
    pub(super) fn note(&mut self) {
        if let Some(each) = self.each {
            self.paid_at = self.paid_at.max(Instant::now()) + each;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[test]
    fn a_burst_and_then_a_steady_pace() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let began = Instant::now();
            let mut pace = Pace::new(100);
            for _ in 0..120 {
                poll_fn(|context| pace.poll_free(context)).await;
                pace.note();
            }
            let took = began.elapsed();
            assert!(took >= Duration::from_millis(190), "{took:?}");
            let mut any = Pace::new(0);
            for _ in 0..10_000 {
                poll_fn(|context| any.poll_free(context)).await;
                any.note();
            }
        });
    }
}
