//! When to try again after failures: after 100 ms, then twice as long with each further failure, up
//! to server_login_retry. Each pause is a little longer or shorter at random, so that several
//! attempts that failed together are not repeated together.
//!
//! The setting is read each time, so RELOAD and SET apply to earlier failures too.

use std::time::Duration;

use crate::base::rng::Rng;
use crate::base::time::Moment;

/// The pause after the first failure.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// By how much a pause may be longer or shorter.
const SPREAD_PERCENT: u32 = 10;

/// After this many failures the pause does not double any more: nearly two hours.
const DOUBLING_FAILURES_MAX: u32 = 17;

/// Failures in a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retry {
    failures: u32,
    failed_at: Moment,
    /// The part of the pause that is waited, in per cent: from 100 - [`SPREAD_PERCENT`] to 100 +
    /// [`SPREAD_PERCENT`].
    percent: u32,
}

impl Retry {
    /// The record after one more failure.
    pub fn after(before: Option<Retry>, now: Moment, rng: &mut dyn Rng) -> Retry {
        let failures = before.map_or(0, |before| before.failures).saturating_add(1);
        let percent = 100 - SPREAD_PERCENT + rng.below(u64::from(2 * SPREAD_PERCENT) + 1) as u32;
        Retry { failures, failed_at: now, percent }
    }

    /// The record of a failure that only the longest pause may end.
    pub fn lasting(now: Moment, rng: &mut dyn Rng) -> Retry {
        Retry { failures: DOUBLING_FAILURES_MAX, ..Retry::after(None, now, rng) }
    }

    /// When to try again; `longest` is server_login_retry.
    pub fn at(&self, longest: Duration) -> Moment {
        let doubled =
            FIRST_PAUSE.saturating_mul(1 << (self.failures.min(DOUBLING_FAILURES_MAX) - 1));
        self.failed_at + doubled.min(longest) * self.percent / 100
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::SeededRng;

    #[test]
    fn the_pause_doubles_up_to_the_setting_give_or_take_a_tenth() {
        let (mut rng, now, longest) =
            (SeededRng::new(1), Moment(1_000_000), Duration::from_secs(2));
        let mut before = None;
        for millis in [100, 200, 400, 800, 1600, 2000, 2000, 2000] {
            let retry = Retry::after(before, now, &mut rng);
            let pause = retry.at(longest).since(now).as_micros() as u64;
            assert!((900 * millis..=1100 * millis).contains(&pause), "{pause} us for {millis} ms");
            assert_eq!(retry.at(Duration::ZERO), now, "a changed setting counts at once");
            before = Some(retry);
        }
    }

    #[test]
    fn a_lasting_failure_is_not_tried_again_soon() {
        let retry = Retry::lasting(Moment(0), &mut SeededRng::new(1));
        let pause = retry.at(Duration::from_secs(15)).since(Moment(0));
        assert!(pause >= Duration::from_millis(13_500), "{pause:?}");
    }

    #[test]
    fn any_number_of_failures_has_a_pause() {
        let mut rng = SeededRng::new(1);
        let retry = Retry { failures: u32::MAX, failed_at: Moment(1), percent: 110 };
        let next = Retry::after(Some(retry), Moment(1), &mut rng);
        assert!(next.at(Duration::MAX / 200) > Moment(1));
    }
}
