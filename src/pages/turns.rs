//! How long the turns of the loop took. Each turn is counted in a few instructions, by the
//! microsecond; when somebody looks, the histogram takes the counts in.

use crate::pool::telling::histogram::Histogram;

/// Longer turns go to the histogram at once. Most are far shorter.
const SHORT_US: usize = 512;

pub struct TurnTimes {
    /// The short turns that the histogram has not taken in, by their microseconds.
    short: Box<[u64]>,
    histogram: Histogram,
}

impl Default for TurnTimes {
    fn default() -> TurnTimes {
        TurnTimes { short: vec![0; SHORT_US].into(), histogram: Histogram::default() }
    }
}

impl TurnTimes {
    /// Counts a turn of `us` microseconds.
    #[inline(always)]
    pub fn add(&mut self, us: u64) {
        match self.short.get_mut(us as usize) {
            Some(count) => *count += 1,
            None => self.add_long(us),
        }
    }

    #[cold]
    fn add_long(&mut self, us: u64) {
        self.histogram.add_ended(us, 1);
    }

    /// Brings the histogram up to date.
    pub fn take_in(&mut self) {
        for (us, count) in self.short.iter_mut().enumerate().filter(|(_, count)| **count > 0) {
            self.histogram.add_ended(us as u64, std::mem::take(count));
        }
    }

    /// The turns up to when [`TurnTimes::take_in`] was called last, and the long ones since.
    pub fn histogram(&self) -> &Histogram {
        &self.histogram
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_turn_is_counted_once_with_its_time() {
        let mut turns = TurnTimes::default();
        let mut whole = Histogram::default();
        for us in [0, 3, 3, 31, 511, 512, 70_000, 3] {
            turns.add(us);
            whole.add(us);
        }
        turns.take_in();
        turns.take_in();
        let bounds = [1, 10, 100, 1_000, 100_000];
        assert_eq!(turns.histogram().up_to(&bounds), ([1, 4, 5, 7, 8], 8));
        assert_eq!(turns.histogram().up_to(&bounds), whole.up_to(&bounds));
        assert_eq!(turns.histogram().sum_us(), whole.sum_us());
        turns.add(3);
        assert_eq!(turns.histogram().up_to(&bounds).1, 8, "nobody has looked");
        turns.take_in();
        assert_eq!(turns.histogram().up_to(&bounds).1, 9);
    }
}
