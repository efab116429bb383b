//! Moments: points on the monotonic clock, in microseconds. Time is a parameter everywhere; only
//! the loop samples the clock, once per turn.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Microseconds since an origin that the clock's owner chose. Never goes back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Moment(pub u64);

/// A moment that never comes.
pub const NEVER: Moment = Moment(u64::MAX);

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
    #[inline(always)]
    fn add(self, span: Duration) -> Moment {
        Moment(self.0.saturating_add(micros(span)))
    }
}

impl Sub<Duration> for Moment {
    type Output = Moment;
    #[inline]
    fn sub(self, span: Duration) -> Moment {
        Moment(self.0.saturating_sub(micros(span)))
    }
}

/// Whole microseconds of a time span, as many as fit.
#[inline(always)]
fn micros(span: Duration) -> u64 {
    span.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(span.subsec_micros()))
}

/// Both clocks, sampled together at the start of a turn of the loop.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Now {
    pub mono: Moment,
    /// Microseconds since 1970-01-01 UTC, for what people read.
    pub wall_us: u64,
}

/// A second of the local calendar, as text.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct LocalSecond {
    /// `2026-01-31 15:05:40`
    pub date_time: String,
    /// The zone's abbreviation: `UTC`, `CEST`, `-03`.
    pub zone: String,
}

/// `2026-01-31 15:05:40 UTC` for a second since 1970.
pub fn utc(unix_seconds: u64) -> String {
    let [year, month, day, hour, minute, second] = calendar(unix_seconds);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// `2026-01-31T15:05:40.508Z` for microseconds since 1970 (RFC 3339), for programs.
pub fn rfc3339(unix_us: u64) -> String {
    let [year, month, day, hour, minute, second] = calendar(unix_us / 1_000_000);
    let millis = unix_us % 1_000_000 / 1_000;
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Year, month, day, hour, minute and second, by the calendar of Gregory (the algorithm counts days
/// from the first of March, so that the leap day stands at the end of a year).
fn calendar(unix_seconds: u64) -> [u64; 6] {
    const DAY_SECONDS: u64 = 86_400;
    /// Days from 0000-03-01 to 1970-01-01.
    const EPOCH_DAYS: u64 = 719_468;
    const DAYS_400: u64 = 146_097;
    const DAYS_100: u64 = 36_524;
    const DAYS_4: u64 = 1_460;
    let (days, second) = (unix_seconds / DAY_SECONDS + EPOCH_DAYS, unix_seconds % DAY_SECONDS);
    let (era, day) = (days / DAYS_400, days % DAYS_400);
    let year = (day - day / DAYS_4 + day / DAYS_100 - day / (DAYS_400 - 1)) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, is_next_year) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    let year = era * 400 + year + is_next_year;
    [year, month, day, second / 3600, second / 60 % 60, second % 60]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_its_date_in_leap_years_too() {
        for (second, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_709_164_799, "2024-02-28 23:59:59 UTC"),
            (1_769_871_940, "2026-01-31 15:05:40 UTC"),
            (4_102_444_800, "2100-01-01 00:00:00 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(utc(second), text);
            let (date, rest) = text.split_once(' ').unwrap();
            let exact = format!("{date}T{}.007Z", rest.strip_suffix(" UTC").unwrap());
            assert_eq!(rfc3339(second * 1_000_000 + 7_999), exact);
        }
        // Whatever a clock says, there is a text.
        let _ = utc(u64::MAX);
    }

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
