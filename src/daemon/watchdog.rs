//! Reports work that holds the loop for too long, in debug builds: tests look for the report. It
//! counts processor time, so that a busy machine raises no false alarm.

use std::env;
use std::time::Duration;

use crate::base::time::Moment;
use crate::net::poll::{self, EventSource};
use crate::pool::core::Core;
use crate::sys::clock;

/// The most milliseconds that one event may take; 0 switches the watchdog off.
const VARIABLE: &str = "PGBOUNCER_WATCHDOG_MS";

const DEFAULT_MS: f64 = 5.0;

/// The limit for the rest of the turn is this many times larger: in debug builds it checks the
/// whole core.
const TURN_FACTOR: u32 = 20;

/// The shortest time between two reports.
const PAUSE: Duration = Duration::from_secs(1);

/// Release builds have no watchdog, and do not ask the clock for it.
const WATCHES: bool = cfg!(any(debug_assertions, test));

pub struct Watchdog {
    /// None if the watchdog is off.
    limit: Option<Duration>,
    /// When the last report was made.
    told: Option<Moment>,
}

/// The kinds of work that have limits of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Deed {
    Event,
    Turn,
}

impl Watchdog {
    pub fn from_environment() -> Watchdog {
        let limit = if WATCHES { limit_from_environment() } else { None };
        Watchdog { limit, told: None }
    }

    /// The processor time now, to be given to [`Watchdog::held`].
    #[inline(always)]
    pub fn begin(&self) -> u64 {
        if WATCHES && self.limit.is_some() { clock::thread_us() } else { 0 }
    }

    /// How long the loop was held, if that must be reported.
    #[inline(always)]
    pub fn held(&mut self, begun: u64, deed: Deed, now: Moment) -> Option<Duration> {
        if WATCHES { self.held_for(begun, deed, now) } else { None }
    }

    fn held_for(&mut self, begun: u64, deed: Deed, now: Moment) -> Option<Duration> {
        let limit = match deed {
            Deed::Event => self.limit?,
            Deed::Turn => self.limit? * TURN_FACTOR,
        };
        let held = Duration::from_micros(clock::thread_us().saturating_sub(begun));
        if held <= limit || self.told.is_some_and(|told| now.since(told) < PAUSE) {
            return None;
        }
        self.told = Some(now);
        Some(held)
    }
}

fn limit_from_environment() -> Option<Duration> {
    let set = env::var(VARIABLE).ok().and_then(|text| text.parse().ok());
    let limit = Duration::try_from_secs_f64(set.unwrap_or(DEFAULT_MS) / 1000.0).ok();
    limit.filter(|limit| !limit.is_zero())
}

/// The name of the connection or other source of an event.
pub fn name_of(core: &Core, source: EventSource) -> String {
    match source {
        EventSource::Client(id) => match poll::whole(id, |index| core.clients.id_at(index)) {
            Some(id) if core.clients.contains(id) => {
                let (database, user) = core.names_of(id);
                let prefix = core.clients[id].prefix(database, user);
                prefix.to_string().trim_end().to_owned()
            }
            _ => "a client that is gone".to_owned(),
        },
        EventSource::Carrier(_) => "a cancel request on its way".to_owned(),
        EventSource::Server(id) => match poll::whole(id, |index| core.servers.id_at(index)) {
            Some(id) if core.servers.contains(id) => {
                format!("a server of pool {}", core.pool_name(core.servers[id].pool))
            }
            _ => "a server that is gone".to_owned(),
        },
        EventSource::Other(other) => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_takes_long_is_told_of_once_in_a_while() {
        let mut watchdog = Watchdog { limit: Some(Duration::from_millis(2)), told: None };
        let second = |number: u64| Moment(number * 1_000_000);
        let begun = watchdog.begin();
        while clock::thread_us() - begun < 3000 {}
        assert_eq!(watchdog.held(watchdog.begin(), Deed::Event, second(1)), None);
        assert_eq!(watchdog.held(begun, Deed::Turn, second(1)), None);
        assert!(watchdog.held(begun, Deed::Event, second(1)).is_some());
        assert_eq!(watchdog.held(begun, Deed::Event, second(1)), None);
        assert!(watchdog.held(begun, Deed::Event, second(3)).is_some());
        watchdog.limit = None;
        assert_eq!(watchdog.held(begun, Deed::Event, second(9)), None);
    }
}
