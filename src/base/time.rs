//! Moments: points on the monotonic clock, in microseconds. Time is a parameter everywhere; only
//! the loop samples the clock, once per turn.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Microseconds since an origin that the clock's owner chose. Never goes back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Moment(pub u64);

impl Moment {
    /// Time passed since `earlier`; zero when `earlier` lies ahead.
    pub fn since(self, earlier: Moment) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Whole microseconds passed since `earlier`.
    pub fn micros_since(self, earlier: Moment) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Moment {
    type Output = Moment;
    fn add(self, span: Duration) -> Moment {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Moment(self.0.saturating_add(micros))
    }
}

impl Sub<Duration> for Moment {
    type Output = Moment;
    fn sub(self, span: Duration) -> Moment {
        let micros = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Moment(self.0.saturating_sub(micros))
    }
}

/// Both clocks, sampled together at the start of a turn of the loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    pub mono: Moment,
    /// Microseconds since 1970-01-01 UTC, for what people read.
    pub wall_us: u64,
}

impl Now {
    /// The wall-clock time, in whole seconds since 1970, of an earlier moment.
    pub fn wall_seconds_at(self, moment: Moment) -> u64 {
        self.wall_us.saturating_sub(self.mono.micros_since(moment)) / 1_000_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_lies_ahead_counts_as_zero() {
        let early = Moment(5);
        let late = early + Duration::from_micros(10);
        assert_eq!(late.micros_since(early), 10);
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(early - Duration::from_secs(1), Moment(0));
        assert_eq!(late + Duration::MAX, Moment(u64::MAX));
    }
}
