//! How long something took, counted in buckets: percentiles that are off by at most 4 %, from a
//! table of fixed size. Counting one takes a few instructions and no memory.

/// Each power of two is cut into so many buckets of one width.
const PER_POWER: usize = 16;

/// What takes this long, in microseconds (71 minutes), or longer is known by its maximum alone.
const BEYOND: u64 = 1 << 32;

/// Below 32 each microsecond has a bucket of its own.
const BUCKETS: usize = PER_POWER * (BEYOND.ilog2() as usize - 3);

/// A percentile is at most this part of itself away from what it should be.
#[cfg(test)]
const WITHIN: f64 = 0.04;

/// Times since the start, the last period and the running one apart.
#[derive(Clone)]
pub struct Histogram {
    running: [u32; BUCKETS],
    last: [u32; BUCKETS],
    /// Of all periods that are over, the last one among them.
    over: [u64; BUCKETS],
    running_max_us: u64,
    last_max_us: u64,
    over_max_us: u64,
    /// Since the start.
    sum_us: u64,
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            running: [0; BUCKETS],
            last: [0; BUCKETS],
            over: [0; BUCKETS],
            running_max_us: 0,
            last_max_us: 0,
            over_max_us: 0,
            sum_us: 0,
        }
    }
}

impl Histogram {
    /// Counts one that took `us` microseconds.
    #[inline]
    pub fn add(&mut self, us: u64) {
        let count = &mut self.running[bucket(us)];
        // A period may be set to last for years.
        *count = count.saturating_add(1);
        self.running_max_us = self.running_max_us.max(us);
        self.sum_us = self.sum_us.wrapping_add(us);
    }

    /// Begins a new period.
    pub(in crate::pool) fn turn(&mut self) {
        for (over, running) in self.over.iter_mut().zip(&self.running) {
            *over += u64::from(*running);
        }
        self.over_max_us = self.over_max_us.max(self.running_max_us);
        self.last = std::mem::replace(&mut self.running, [0; BUCKETS]);
        self.last_max_us = std::mem::take(&mut self.running_max_us);
    }

    /// Since the last full period began, as the averages of SHOW STATS.
    pub fn lately(&self) -> Spread {
        let counts = |at: usize| u64::from(self.running[at]) + u64::from(self.last[at]);
        Spread::new(counts, self.running_max_us.max(self.last_max_us))
    }

    /// The last full period.
    pub fn last_period(&self) -> Spread {
        Spread::new(|at| self.last[at].into(), self.last_max_us)
    }

    pub fn since_start(&self) -> Spread {
        let counts = |at: usize| u64::from(self.running[at]) + self.over[at];
        Spread::new(counts, self.running_max_us.max(self.over_max_us))
    }

    /// All times since the start together, in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }
}

/// The bucket of a time: the four bits behind its first one, behind where that one stands.
#[inline]
fn bucket(us: u64) -> usize {
    let us = us.min(BEYOND - 1);
    let power = 59 - (us | PER_POWER as u64).leading_zeros();
    PER_POWER * power as usize + (us >> power) as usize
}

/// The first time of a bucket, and how many microseconds it holds.
fn bounds(bucket: usize) -> (u64, u64) {
    let power = (bucket / PER_POWER).saturating_sub(1);
    (((bucket - PER_POWER * power) as u64) << power, 1 << power)
}

/// Times of some period, to be asked.
#[derive(Clone)]
pub struct Spread {
    counts: Vec<u64>,
    pub count: u64,
    pub max_us: u64,
}

impl Default for Spread {
    /// Of nothing.
    fn default() -> Spread {
        Spread::new(|_| 0, 0)
    }
}

impl Spread {
    fn new(counts: impl Fn(usize) -> u64, max_us: u64) -> Spread {
        let counts: Vec<u64> = (0..BUCKETS).map(counts).collect();
        Spread { count: counts.iter().sum(), counts, max_us }
    }

    /// Adds times of another place.
    pub fn merge(&mut self, other: &Spread) {
        for (mine, more) in self.counts.iter_mut().zip(&other.counts) {
            *mine += more;
        }
        self.count += other.count;
        self.max_us = self.max_us.max(other.max_us);
    }

    /// What was counted since an earlier spread of the same histogram.
    pub fn since(&self, before: &Spread) -> Spread {
        let count = |at: usize| self.counts[at].saturating_sub(before.counts[at]);
        Spread::new(count, self.max_us)
    }

    /// How many took at most as long as each of `bounds_us`, which rise. A bucket counts whole, by
    /// its middle.
    pub fn up_to(&self, bounds_us: &[u64]) -> Vec<u64> {
        let mut cumulated = vec![0; bounds_us.len()];
        let (mut below, mut next) = (0, 0);
        for (at, count) in self.counts.iter().enumerate() {
            let (first, width) = bounds(at);
            while bounds_us.get(next).is_some_and(|&bound| bound < first + width / 2) {
                cumulated[next] = below;
                next += 1;
            }
            below += count;
        }
        cumulated[next..].fill(below);
        cumulated
    }

    /// The time that so many of a hundred did not exceed; 0 where nothing was counted.
    pub fn percentile_us(&self, percent: u64) -> u64 {
        let rank = (self.count * percent).div_ceil(100).max(1);
        let mut below = 0;
        for (at, count) in self.counts.iter().enumerate() {
            below += count;
            if below >= rank {
                let (first, width) = bounds(at);
                let is_last = at + 1 == BUCKETS;
                return if is_last { self.max_us } else { (first + width / 2).min(self.max_us) };
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::{Rng, SeededRng};

    #[test]
    fn buckets_follow_one_another_and_hold_what_is_put_into_them() {
        let mut next = 0;
        for at in 0..BUCKETS {
            let (first, width) = bounds(at);
            assert_eq!(first, next, "bucket {at} begins where the one before ends");
            assert_eq!((bucket(first), bucket(first + width - 1)), (at, at));
            next = first + width;
        }
        assert_eq!(next, BEYOND);
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_within_four_per_cent_of_the_exact_ones() {
        let mut rng = SeededRng::new(7);
        for round in 0..50 {
            let mut histogram = Histogram::default();
            let count = 1 + rng.below(5_000);
            // Evenly by order of magnitude, from microseconds to an hour.
            let mut times: Vec<u64> = (0..count)
                .map(|_| {
                    let most = 1 << (1 + rng.below(31));
                    rng.below(most)
                })
                .collect();
            times.iter().for_each(|&us| histogram.add(us));
            times.sort_unstable();
            let spread = histogram.since_start();
            for percent in [1, 50, 90, 95, 99, 100] {
                let rank = (times.len() * percent as usize).div_ceil(100).max(1);
                let exact = times[rank - 1] as f64;
                let told = spread.percentile_us(percent) as f64;
                assert!((told - exact).abs() <= exact * WITHIN, "{round}: {told} for {exact}");
            }
            assert_eq!(spread.max_us, *times.last().unwrap());
            assert_eq!(histogram.sum_us(), times.iter().sum::<u64>());
        }
    }

    #[test]
    fn what_takes_longer_than_the_table_reaches_is_known_by_its_maximum() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.since_start().percentile_us(99), 0);
        histogram.add(BEYOND * 5);
        assert_eq!(histogram.since_start().percentile_us(50), BEYOND * 5);
    }

    #[test]
    fn a_period_is_told_apart_from_those_before_it() {
        let mut histogram = Histogram::default();
        histogram.add(100);
        histogram.turn();
        histogram.add(10);
        let figures = |spread: Spread| (spread.count, spread.percentile_us(50), spread.max_us);
        assert_eq!(figures(histogram.last_period()).0, 1);
        assert_eq!(figures(histogram.lately()), (2, 10, 100));
        histogram.turn();
        assert_eq!(figures(histogram.last_period()), (1, 10, 10));
        histogram.turn();
        assert_eq!(figures(histogram.lately()), (0, 0, 0));
        assert_eq!(figures(histogram.since_start()), (2, 10, 100));
    }

    #[test]
    fn what_is_counted_up_to_a_bound_rises_and_loses_nothing() {
        let mut histogram = Histogram::default();
        for us in [50, 900, 1_100, 40_000, 7_000_000] {
            histogram.add(us);
        }
        let spread = histogram.since_start();
        assert_eq!(spread.up_to(&[100, 1_000, 2_000, 10_000, 1_000_000]), [1, 2, 3, 3, 4]);
        assert_eq!(spread.up_to(&[u64::MAX]), [5]);
    }
}
