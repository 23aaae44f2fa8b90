//! Guessing passwords takes time: an address that was wrong too often has to wait before its next password
//! is looked at, also the right one.

use std::collections::HashMap;

/// Wrong passwords of addresses, bounded.
#[derive(Debug)]
pub struct Throttle {
    /// Until when the failures of an address count: each adds a second.
    until_us: HashMap<Box<str>, u64>,
    /// So many failures at once are free; 0 for no limit.
    burst: u64,
}

/// What one failure costs.
const FAILURE_US: u64 = 1_000_000;
/// So many addresses are remembered; further ones share one place.
const ADDRESSES_MAX: usize = 10_000;
/// The place they share.
const OTHERS: &str = "";

impl Throttle {
    /// So many failures at once are free.
    pub fn new(burst: usize) -> Throttle {
        Throttle {
            until_us: HashMap::new(),
            burst: burst as u64,
        }
    }

    /// Whether a password from this address is looked at now.
    pub fn is_open(&self, address: &str, now_us: u64) -> bool {
        let until = self
            .until_us
            .get(address)
            .or_else(|| self.until_us.get(OTHERS));
        let free_us = self.burst * FAILURE_US;
        self.burst == 0 || until.is_none_or(|until_us| *until_us < now_us + free_us)
    }

    /// Notes a wrong password.
    pub fn failed(&mut self, address: &str, now_us: u64) {
        if self.burst == 0 {
            return;
        }
        if self.until_us.len() >= ADDRESSES_MAX && !self.until_us.contains_key(address) {
            self.until_us.retain(|_, until_us| *until_us > now_us);
        }
        let is_full = self.until_us.len() >= ADDRESSES_MAX && !self.until_us.contains_key(address);
        let place = if is_full { OTHERS } else { address };
        let until_us = self.until_us.entry(place.into()).or_insert(now_us);
        *until_us = now_us.max(*until_us) + FAILURE_US;
    }

    /// Takes back one failure: it was none.
    pub fn forgive(&mut self, address: &str) {
        let place = match self.until_us.contains_key(address) {
            true => address,
            false => OTHERS,
        };
        if let Some(until_us) = self.until_us.get_mut(place) {
            *until_us = until_us.saturating_sub(FAILURE_US);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_free_and_then_one_a_second() {
        let mut throttle = Throttle::new(3);
        for _ in 0..3 {
            assert!(throttle.is_open("a", 0));
            throttle.failed("a", 0);
        }
        assert!(!throttle.is_open("a", 0) && throttle.is_open("b", 0));
        assert!(!throttle.is_open("a", 0) && throttle.is_open("a", 1));
        throttle.forgive("a");
        assert!(throttle.is_open("a", 0), "one of them was none");
        throttle.failed("a", 0);
        assert!(!throttle.is_open("a", 0));
        let free = Throttle::new(0);
        assert!(free.is_open("a", 0));
    }

    #[test]
    fn it_is_bounded() {
        let mut throttle = Throttle::new(1);
        for number in 0..3 * ADDRESSES_MAX {
            throttle.failed(&format!("10.{number}"), 5);
        }
        assert!(throttle.until_us.len() <= ADDRESSES_MAX + 1);
        assert!(!throttle.is_open("10.29999", 5) && throttle.is_open("10.1", 60_000_000));
    }
}
