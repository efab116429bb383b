//! Durations counted in buckets: percentiles that are off by at most 4 %, from a table of bounded
//! size. Counting a duration takes a few instructions. Memory is allocated for an order of
//! magnitude when its first duration comes: most histograms need a few of them.

/// Each power of two is cut into this many buckets of equal width.
const BUCKETS_PER_POWER: usize = 16;

/// Longer durations count as this long, in microseconds (71 minutes); only the maximum is exact.
const BEYOND_US: u64 = 1 << 32;

/// Durations below 32 microseconds have a bucket for each microsecond.
const POWERS: usize = BEYOND_US.ilog2() as usize - 3;
const BUCKETS: usize = BUCKETS_PER_POWER * POWERS;

/// The largest error of a percentile, as a part of the right value.
#[cfg(test)]
const ERROR_RATIO_MAX: f64 = 0.04;

/// Durations since the start, with the last period and the running one apart.
#[derive(Clone)]
pub struct Histogram {
    /// The row of each power of two in `rows`, or [`NOWHERE`].
    places: [u8; POWERS],
    rows: Vec<PowerBuckets>,
    running_max_us: u64,
    last_max_us: u64,
    over_max_us: u64,
    /// The sum of all durations since the start.
    sum_us: u64,
}

const NOWHERE: u8 = u8::MAX;

/// The counts of one power of two.
#[derive(Clone, Default)]
struct PowerBuckets {
    running: [u32; BUCKETS_PER_POWER],
    last: [u32; BUCKETS_PER_POWER],
    /// The counts of all periods that have ended, including the last one.
    over: [u64; BUCKETS_PER_POWER],
}

impl Default for Histogram {
    fn default() -> Histogram {
        Histogram {
            places: [NOWHERE; POWERS],
            rows: Vec::new(),
            running_max_us: 0,
            last_max_us: 0,
            over_max_us: 0,
            sum_us: 0,
        }
    }
}

impl Histogram {
    /// Counts a duration of `us` microseconds.
    #[inline(always)]
    pub fn add(&mut self, us: u64) {
        self.add_in(Bucket::of(us), us);
    }

    /// As [`Histogram::add`], where its bucket is known.
    #[inline(always)]
    pub fn add_in(&mut self, bucket: Bucket, us: u64) {
        let Bucket(bucket) = bucket;
        let power = bucket / BUCKETS_PER_POWER;
        let row = match self.rows.get_mut(usize::from(self.places[power])) {
            Some(row) => row,
            None => self.open(power),
        };
        let count = &mut row.running[bucket % BUCKETS_PER_POWER];
        // stats_period may be years long.
        *count = count.saturating_add(1);
        self.running_max_us = self.running_max_us.max(us);
        self.sum_us = self.sum_us.wrapping_add(us);
    }

    /// Counts that many durations of `us` microseconds each as those of a period that has ended.
    pub fn add_ended(&mut self, us: u64, count: u64) {
        let Bucket(bucket) = Bucket::of(us);
        let power = bucket / BUCKETS_PER_POWER;
        let row = match self.rows.get_mut(usize::from(self.places[power])) {
            Some(row) => row,
            None => self.open(power),
        };
        row.over[bucket % BUCKETS_PER_POWER] += count;
        self.over_max_us = self.over_max_us.max(us);
        self.sum_us = self.sum_us.wrapping_add(us.wrapping_mul(count));
    }

    /// Allocates the row of a power of two, which happens at most once for each.
    #[cold]
    fn open(&mut self, power: usize) -> &mut PowerBuckets {
        let at = self.rows.len();
        self.places[power] = at as u8;
        self.rows.reserve_exact(1);
        self.rows.push(PowerBuckets::default());
        &mut self.rows[at]
    }

    /// Begins a new period.
    pub(in crate::pool) fn turn(&mut self) {
        for PowerBuckets { running, last, over } in &mut self.rows {
            for (over, running) in over.iter_mut().zip(&*running) {
                *over += u64::from(*running);
            }
            *last = std::mem::take(running);
        }
        self.over_max_us = self.over_max_us.max(self.running_max_us);
        self.last_max_us = std::mem::take(&mut self.running_max_us);
    }

    /// The durations since the last full period began, which is the time that SHOW STATS averages.
    pub fn lately(&self) -> Spread {
        let count =
            |row: &PowerBuckets, at: usize| u64::from(row.running[at]) + u64::from(row.last[at]);
        self.spread(count, self.running_max_us.max(self.last_max_us))
    }

    pub fn since_start(&self) -> Spread {
        self.spread(PowerBuckets::since_start, self.max_us())
    }

    /// Adds the durations since the start to those of other histograms.
    pub fn add_to(&self, spread: &mut Spread) {
        self.counts(PowerBuckets::since_start).for_each(|(at, count)| spread.add(at, count));
        spread.max_us = spread.max_us.max(self.max_us());
    }

    /// Adds the durations of the last full period to those of other histograms.
    pub fn add_last_period_to(&self, spread: &mut Spread) {
        self.counts(|row, at| row.last[at].into()).for_each(|(at, count)| spread.add(at, count));
        spread.max_us = spread.max_us.max(self.last_max_us);
    }

    /// For each of `bounds_us`, in ascending order, the number of durations since the start that do
    /// not exceed it; and the number of all. Each bucket counts as a whole, by its middle.
    pub fn up_to<const N: usize>(&self, bounds_us: &[u64; N]) -> ([u64; N], u64) {
        let mut cumulated = [0; N];
        let (mut below, mut next) = (0, 0);
        for (at, count) in self.counts(PowerBuckets::since_start) {
            let (first, width) = bounds(at);
            while bounds_us.get(next).is_some_and(|&bound| bound < first + width / 2) {
                cumulated[next] = below;
                next += 1;
            }
            below += count;
        }
        cumulated[next..].fill(below);
        (cumulated, below)
    }

    /// The sum of all durations since the start, in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    fn max_us(&self) -> u64 {
        self.running_max_us.max(self.over_max_us)
    }

    /// The buckets of all rows in order, each with its count.
    fn counts(
        &self,
        of: impl Fn(&PowerBuckets, usize) -> u64,
    ) -> impl Iterator<Item = (usize, u64)> {
        let places = self.places.iter().enumerate();
        let rows =
            places.filter_map(|(power, &place)| Some((power, self.rows.get(usize::from(place))?)));
        let all =
            rows.flat_map(|(power, row)| (0..BUCKETS_PER_POWER).map(move |at| (power, row, at)));
        all.map(move |(power, row, at)| (power * BUCKETS_PER_POWER + at, of(row, at)))
    }

    fn spread(&self, of: impl Fn(&PowerBuckets, usize) -> u64, max_us: u64) -> Spread {
        let mut spread = Spread { max_us, ..Spread::default() };
        self.counts(of).for_each(|(at, count)| spread.add(at, count));
        spread
    }
}

impl PowerBuckets {
    fn since_start(&self, at: usize) -> u64 {
        u64::from(self.running[at]) + self.over[at]
    }
}

/// The number of a bucket, in the order of the durations that it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bucket(usize);

impl Bucket {
    /// The bucket of a duration: its row by the highest bit, its place in the row by the next four
    /// bits.
    #[inline(always)]
    pub fn of(us: u64) -> Bucket {
        let us = us.min(BEYOND_US - 1);
        let power = 59 - (us | BUCKETS_PER_POWER as u64).leading_zeros();
        Bucket(BUCKETS_PER_POWER * power as usize + (us >> power) as usize)
    }
}

/// The first microsecond of a bucket, and its width in microseconds.
fn bounds(bucket: usize) -> (u64, u64) {
    let power = (bucket / BUCKETS_PER_POWER).saturating_sub(1);
    (((bucket - BUCKETS_PER_POWER * power) as u64) << power, 1 << power)
}

/// Durations of some period, for percentiles.
#[derive(Clone)]
pub struct Spread {
    counts: Vec<u64>,
    pub count: u64,
    pub max_us: u64,
}

impl Default for Spread {
    /// No durations.
    fn default() -> Spread {
        Spread { counts: vec![0; BUCKETS], count: 0, max_us: 0 }
    }
}

impl Spread {
    fn add(&mut self, bucket: usize, count: u64) {
        self.counts[bucket] += count;
        self.count += count;
    }

    /// The durations since an earlier spread of the same histogram.
    pub fn since(&self, before: &Spread) -> Spread {
        let mut since = Spread { max_us: self.max_us, ..Spread::default() };
        for (at, (now, before)) in self.counts.iter().zip(&before.counts).enumerate() {
            since.add(at, now.saturating_sub(*before));
        }
        since
    }

    /// The duration that `percent` of all durations do not exceed; 0 if nothing was counted.
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
            assert_eq!(
                (Bucket::of(first), Bucket::of(first + width - 1)),
                (Bucket(at), Bucket(at))
            );
            next = first + width;
        }
        assert_eq!(next, BEYOND_US);
        assert_eq!(Bucket::of(u64::MAX), Bucket(BUCKETS - 1));
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
                assert!(
                    (told - exact).abs() <= exact * ERROR_RATIO_MAX,
                    "{round}: {told} for {exact}"
                );
            }
            assert_eq!(spread.max_us, *times.last().unwrap());
            assert_eq!(histogram.sum_us(), times.iter().sum::<u64>());
        }
    }

    #[test]
    fn what_takes_longer_than_the_table_reaches_is_known_by_its_maximum() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.since_start().percentile_us(99), 0);
        histogram.add(BEYOND_US * 5);
        assert_eq!(histogram.since_start().percentile_us(50), BEYOND_US * 5);
    }

    #[test]
    fn a_period_is_told_apart_from_those_before_it() {
        let mut histogram = Histogram::default();
        histogram.add(100);
        histogram.turn();
        histogram.add(10);
        let figures = |spread: Spread| (spread.count, spread.percentile_us(50), spread.max_us);
        let last_period = |histogram: &Histogram| {
            let mut spread = Spread::default();
            histogram.add_last_period_to(&mut spread);
            figures(spread)
        };
        assert_eq!(last_period(&histogram).0, 1);
        assert_eq!(figures(histogram.lately()), (2, 10, 100));
        histogram.turn();
        assert_eq!(last_period(&histogram), (1, 10, 10));
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
        let bounds = [100, 1_000, 2_000, 10_000, 1_000_000];
        assert_eq!(histogram.up_to(&bounds), ([1, 2, 3, 3, 4], 5));
        assert_eq!(histogram.up_to(&[u64::MAX]), ([5], 5));
        assert_eq!(Histogram::default().up_to(&bounds), ([0; 5], 0));
        let mut spread = histogram.since_start();
        histogram.add_to(&mut spread);
        assert_eq!((spread.count, spread.max_us), (10, 7_000_000));
    }

    #[test]
    fn memory_is_taken_for_what_occurs_and_has_a_bound() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.rows.capacity(), 0);
        // From half a millisecond to four milliseconds.
        (500..4_000).for_each(|us| histogram.add(us));
        assert_eq!(histogram.rows.capacity(), 4);
        (0..64).for_each(|bit| histogram.add(1 << bit));
        assert_eq!(histogram.rows.len(), POWERS);
        assert!(POWERS * size_of::<PowerBuckets>() <= 7_424 && size_of::<Histogram>() <= 96);
    }
}
