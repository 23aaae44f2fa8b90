//! Log lines that anybody outside can cause.

/// How often such a line is written.
const EVERY_US: u64 = 1_000_000;

/// Lets one in a second through, and counts the others.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seldom {
    told_us: Option<u64>,
    untold: u64,
}

impl Seldom {
    /// Whether it is told now, and then how many were not since the last one; `now_us` is in microseconds.
    pub fn tell(&mut self, now_us: u64) -> Option<u64> {
        let is_due = self
            .told_us
            .is_none_or(|told_us| now_us >= told_us + EVERY_US);
        if !is_due {
            self.untold += 1;
            return None;
        }
        self.told_us = Some(now_us);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_a_second() {
        let mut seldom = Seldom::default();
        let told = [0, 1, 2, 1_000_000].map(|now_us| seldom.tell(now_us));
        assert_eq!(told, [Some(0), None, None, Some(2)]);
    }
}
