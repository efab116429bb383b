//! The clocks, and the local calendar for what people read. The one place that asks the system
//! what time it is; all else is handed a `Now`.

use std::ffi::CStr;
use std::mem::MaybeUninit;

use crate::base::time::{Moment, Now};

/// A second of the local calendar, as text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalSecond {
    /// `2026-01-31 15:05:40`
    pub date_time: String,
    /// The zone's abbreviation: `UTC`, `CEST`, `-03`.
    pub zone: String,
}

/// Samples both clocks. `mono` is CLOCK_MONOTONIC itself, the one that the service manager's
/// protocol speaks of.
pub fn now() -> Now {
    Now { mono: Moment(micros(libc::CLOCK_MONOTONIC)), wall_us: micros(libc::CLOCK_REALTIME) }
}

/// What this thread has used of a processor, in microseconds.
pub fn thread_us() -> u64 {
    micros(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// What the process has used of processors, in microseconds.
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

fn micros(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a local of the right type. Both clocks always exist.
    unsafe { libc::clock_gettime(clock, &mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000).saturating_add(nanos / 1000)
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
