//! How long requests took, in buckets.
//!
//! Log-linear: each power of two of microseconds is cut into four equal buckets, so a bucket is
//! never wider than a quarter of its lower bound and a recorded value picks its bucket with a few
//! shifts, without a search or a float.
//!
//! ```text
//! index   0   1   2   3   4   5   6   7   8    9    10   11   12   ...
//! from    0   1   2   3   4   5   6   7   8    10   12   14   16   ... microseconds
//! ```

use super::tally::Tally;

/// Each power of two is cut into 2^`SUB_BITS` buckets.
const SUB_BITS: u32 = 2;
const SUB_COUNT: usize = 1 << SUB_BITS;
/// Values from 2^27 us (134 s) on fall into the last bucket; no request may take that long by far.
const TOP_BIT: u32 = 26;
const BUCKETS: usize = (TOP_BIT as usize - SUB_BITS as usize + 2) * SUB_COUNT + 1;

const _: () = assert!(bucket_of(u64::MAX) == BUCKETS - 1);
const _: () = assert!(bucket_of((1 << (TOP_BIT + 1)) - 1) == BUCKETS - 2);
const _: () = assert!(lower_bound_us(BUCKETS - 1) == 1 << (TOP_BIT + 1));

/// Upper bounds of the Prometheus buckets, in microseconds: powers of two, each the lower bound of
/// one of ours, so that the coarser view loses nothing. From 16 us to 67 s.
const EXPORTED_UP_TO_US: [u64; 12] = [
    1 << 4,
    1 << 6,
    1 << 8,
    1 << 9,
    1 << 10,
    1 << 11,
    1 << 12,
    1 << 14,
    1 << 16,
    1 << 18,
    1 << 21,
    1 << 26,
];

/// A histogram with one writing thread, like [`Tally`]. 105 buckets, under a kilobyte.
#[derive(Debug)]
pub struct LatencyHistogram {
    buckets: [Tally; BUCKETS],
    sum_us: Tally,
}

impl Default for LatencyHistogram {
    fn default() -> Self {
        LatencyHistogram {
            buckets: std::array::from_fn(|_| Tally::default()),
            sum_us: Tally::default(),
        }
    }
}

impl LatencyHistogram {
    /// Records one duration in microseconds; only the owning thread may call this.
    #[inline]
    pub fn record(&self, us: u64) {
        self.record_many(us, 1);
    }

    /// Records `count` requests that took the same time (a batch answered by one read).
    #[inline]
    pub fn record_many(&self, us: u64, count: u64) {
        if let Some(bucket) = self.buckets.get(bucket_of(us)) {
            bucket.add(count);
        }
        self.sum_us.add(us.saturating_mul(count));
    }

    /// A copy to read, which others can be added to.
    pub fn snapshot(&self) -> LatencySnapshot {
        LatencySnapshot {
            counts: std::array::from_fn(|index| self.buckets[index].value()),
            sum_us: self.sum_us.value(),
        }
    }
}

/// What a histogram held at one moment; several add up to one.
#[derive(Clone, Debug)]
pub struct LatencySnapshot {
    counts: [u64; BUCKETS],
    sum_us: u64,
}

impl LatencySnapshot {
    /// Nothing recorded.
    pub fn empty() -> Self {
        LatencySnapshot {
            counts: [0; BUCKETS],
            sum_us: 0,
        }
    }

    /// Adds what another one holds.
    pub fn add(&mut self, other: &LatencySnapshot) {
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.sum_us += other.sum_us;
    }

    /// How many durations were recorded.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The sum of all recorded durations, in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// The duration in microseconds that a share of `quantile` (0.0 to 1.0) stayed below: the upper
    /// bound of its bucket, at most a quarter too high. `None` when nothing was recorded.
    pub fn quantile_us(&self, quantile: f64) -> Option<u64> {
        let count = self.count();
        if count == 0 {
            return None;
        }
        let rank = ((count as f64 * quantile.clamp(0.0, 1.0)).ceil() as u64).max(1);
        let mut seen = 0;
        for (index, in_bucket) in self.counts.iter().enumerate() {
            seen += in_bucket;
            if seen >= rank {
                return Some(lower_bound_us((index + 1).min(BUCKETS - 1)));
            }
        }
        None
    }

    /// Prometheus' view: (upper bound in microseconds, how many took less), cumulative. The count of
    /// everything, its `+Inf`, is [`LatencySnapshot::count`].
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        EXPORTED_UP_TO_US.iter().map(|&bound_us| {
            let below = self.counts.iter().take(bucket_of(bound_us)).sum();
            (bound_us, below)
        })
    }
}

/// The bucket that holds a duration.
#[inline]
const fn bucket_of(us: u64) -> usize {
    if us < SUB_COUNT as u64 {
        return us as usize;
    }
    let top_bit = us.ilog2();
    if top_bit > TOP_BIT {
        return BUCKETS - 1;
    }
    let shift = top_bit - SUB_BITS;
    let sub = (us >> shift) as usize & (SUB_COUNT - 1);
    (shift as usize + 1) * SUB_COUNT + sub
}

/// The smallest duration that falls into a bucket.
const fn lower_bound_us(index: usize) -> u64 {
    if index < SUB_COUNT {
        return index as u64;
    }
    let shift = index / SUB_COUNT - 1;
    let sub = index % SUB_COUNT;
    ((SUB_COUNT + sub) as u64) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bucket_begins_where_its_bound_says() {
        for index in 0..BUCKETS {
            let lower = lower_bound_us(index);
            assert_eq!(bucket_of(lower), index, "lower bound of bucket {index}");
            if index > 0 {
                assert_eq!(bucket_of(lower - 1), index - 1, "just below bucket {index}");
            }
        }
    }

    #[test]
    fn a_bucket_is_at_most_a_quarter_wide() {
        for index in SUB_COUNT..BUCKETS - 1 {
            let (lower, upper) = (lower_bound_us(index), lower_bound_us(index + 1));
            assert!((upper - lower) * 4 <= lower, "bucket {lower}..{upper} us");
        }
    }

    #[test]
    fn quantiles_and_sums_follow_the_records() {
        let histogram = LatencyHistogram::default();
        assert_eq!(histogram.snapshot().quantile_us(0.5), None);
        histogram.record_many(100, 99);
        histogram.record(60_000_000);
        let mut both = LatencySnapshot::empty();
        both.add(&histogram.snapshot());
        both.add(&histogram.snapshot());
        assert_eq!(both.count(), 200);
        assert_eq!(both.sum_us(), 2 * (99 * 100 + 60_000_000));
        for (quantile, at_least) in [(0.0, 100), (0.5, 100), (0.99, 100), (1.0, 60_000_000)] {
            let found = both.quantile_us(quantile).expect("values were recorded");
            assert!(
                found > at_least && found <= at_least + at_least / 4 + 1,
                "quantile {quantile}: {found}"
            );
        }
    }

    #[test]
    fn exported_buckets_are_cumulative_and_exact() {
        let histogram = LatencyHistogram::default();
        for us in [0, 15, 16, 1023, 1024, u64::MAX] {
            histogram.record(us);
        }
        let snapshot = histogram.snapshot();
        let below = |bound| {
            snapshot
                .cumulative()
                .find(|(up_to, _)| *up_to == bound)
                .map(|(_, count)| count)
        };
        assert_eq!(below(16), Some(2));
        assert_eq!(below(1024), Some(4));
        assert_eq!(below(1 << 26), Some(5));
        assert_eq!(snapshot.count(), 6);
    }
}
