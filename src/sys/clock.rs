//! The clocks, and the local calendar for what people read. The one place that asks the system
//! what time it is; all else is handed a `Now`.

use std::ffi::CStr;
use std::mem::MaybeUninit;

use crate::base::time::{LocalSecond, Moment, Now};

/// Both clocks, for a loop that asks in each turn. The wall clock is read only from time to time;
/// in between its time goes on with the monotonic clock.
pub struct Clocks {
    /// The times when both clocks were last read.
    asked: Now,
}

/// How long a change of the wall clock may stay unnoticed, in microseconds.
const UNNOTICED_US: u64 = 100_000;

impl Clocks {
    pub fn new() -> Clocks {
        Clocks { asked: now() }
    }

    #[inline(always)]
    pub fn now(&mut self) -> Now {
        let mono = mono();
        // A clock that went back, which it never does, would be far ahead: both would be read.
        let passed_us = mono.0.wrapping_sub(self.asked.mono.0);
        if passed_us >= UNNOTICED_US {
            return self.ask(mono);
        }
        Now { mono, wall_us: self.asked.wall_us.wrapping_add(passed_us) }
    }

    #[cold]
    fn ask(&mut self, mono: Moment) -> Now {
        self.asked = Now { mono, wall_us: micros(libc::CLOCK_REALTIME) };
        self.asked
    }
}

/// Samples both clocks. `mono` is CLOCK_MONOTONIC itself, the one that the service manager's
/// protocol speaks of.
pub fn now() -> Now {
    Now { mono: mono(), wall_us: micros(libc::CLOCK_REALTIME) }
}

/// CLOCK_MONOTONIC alone.
#[inline(always)]
pub fn mono() -> Moment {
    Moment(in_micros(read(libc::CLOCK_MONOTONIC)))
}

/// The processor time that this thread has used, in microseconds.
pub fn thread_us() -> u64 {
    micros(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// The processor time that the process has used, in microseconds.
pub fn process_us() -> u64 {
    micros(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// The local date, time and zone of a second since 1970-01-01 UTC.
pub fn local_second(unix_seconds: u64) -> LocalSecond {
    let seconds = libc::time_t::try_from(unix_seconds).unwrap_or(0);
    let mut parts = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are to locals of the right types; a zeroed `tm` is valid.
    let filled = unsafe { libc::localtime_r(&seconds, parts.as_mut_ptr()) };
    // SAFETY: zeroed before the call and at most filled by it, so initialised either way.
    let parts = unsafe { parts.assume_init() };
    let date_time = format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02}",
        i64::from(parts.tm_year) + 1900,
        parts.tm_mon + 1,
        parts.tm_mday,
        parts.tm_hour,
        parts.tm_min,
        parts.tm_sec,
    );
    if filled.is_null() || parts.tm_zone.is_null() {
        return LocalSecond { date_time, zone: "UTC".to_owned() };
    }
    // SAFETY: set by localtime_r to a NUL-terminated name that the C library keeps.
    let zone = unsafe { CStr::from_ptr(parts.tm_zone) };
    LocalSecond { date_time, zone: zone.to_string_lossy().into_owned() }
}

/// The microseconds of a clock that may stand before its origin, as a wall clock before 1970.
fn micros(clock: libc::clockid_t) -> u64 {
    let mut time = read(clock);
    time.tv_sec = time.tv_sec.max(0);
    in_micros(time)
}

/// No clock is beyond the microseconds that 64 bits count.
#[inline(always)]
fn in_micros(time: libc::timespec) -> u64 {
    (time.tv_sec as u64).wrapping_mul(1_000_000).wrapping_add(time.tv_nsec as u64 / 1000)
}

#[inline(always)]
fn read(clock: libc::clockid_t) -> libc::timespec {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a local of the right type. All clocks that are asked exist.
    unsafe { libc::clock_gettime(clock, &mut time) };
    time
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_clocks_run_and_the_wall_clock_knows_the_century() {
        let first = now();
        let second = now();
        assert!(first.mono <= second.mono);
        assert!(first.mono > Moment(0));
        assert!(first.wall_us > 1_700_000_000_000_000);
    }

    #[test]
    fn the_wall_clock_goes_on_between_two_looks_and_is_followed_when_it_is_set() {
        let mut clocks = Clocks::new();
        let near = |one: u64, other: u64| one.abs_diff(other) < UNNOTICED_US;
        let both = clocks.now();
        assert!(both.mono >= clocks.asked.mono);
        assert!(near(both.wall_us, now().wall_us));
        // The wall clock is set, and then the last reading becomes old.
        clocks.asked.wall_us -= 3_600_000_000;
        assert!(!near(clocks.now().wall_us, now().wall_us), "it was not asked again");
        clocks.asked.mono = Moment(clocks.asked.mono.0 - UNNOTICED_US);
        assert!(near(clocks.now().wall_us, now().wall_us));
    }

    #[test]
    fn a_local_second_has_the_shape_of_the_log() {
        let local = local_second(1_769_871_940);
        assert_eq!(local.date_time.len(), "2026-01-31 15:05:40".len());
        assert!(
            local.date_time.starts_with("2026-01-31 ")
                || local.date_time.starts_with("2026-02-01 ")
        );
        assert!(local.date_time.ends_with(":40"));
        assert!(!local.zone.is_empty());
    }
}
