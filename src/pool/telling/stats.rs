//! Counters: per pool, summed per database for SHOW STATS, averaged over stats_period.
//!
//! Times are in microseconds. Counting adds to records that the caller already holds: no system
//! call and no allocation on the path of a transaction.

use std::ops::{AddAssign, Sub};

use crate::base::time::Moment;

/// Declares the counters and the operations on all of them at once.
macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        #[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
        pub struct Counters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl AddAssign<&Counters> for Counters {
            fn add_assign(&mut self, other: &Counters) {
                $(self.$name += other.$name;)*
            }
        }

        impl Sub for Counters {
            type Output = Counters;
            fn sub(self, other: Counters) -> Counters {
                Counters { $($name: self.$name.saturating_sub(other.$name),)* }
            }
        }
    };
}

counters! {
    /// How often a client was given a server.
    assignments,
    xacts,
    queries,
    /// Bytes from clients.
    received,
    /// Bytes to clients.
    sent,
    xact_us,
    query_us,
    wait_us,
    client_parses,
    server_parses,
    binds,
    logins,
}

/// Counters with their values at the ends of the last two periods.
#[derive(Clone, Copy, Default, Debug)]
pub struct Stats {
    pub now: Counters,
    /// The counters when the running period began.
    newer: Counters,
    /// The counters when the last full period began.
    older: Counters,
}

impl std::ops::Deref for Stats {
    type Target = Counters;
    fn deref(&self) -> &Counters {
        &self.now
    }
}

impl std::ops::DerefMut for Stats {
    fn deref_mut(&mut self) -> &mut Counters {
        &mut self.now
    }
}

impl Stats {
    /// Counts a query, and the transaction that it has ended.
    #[inline(always)]
    pub(in crate::pool) fn count_query(&mut self, query_us: u64, xact_us: Option<u64>) {
        self.now.queries += 1;
        self.now.query_us += query_us;
        if let Some(xact_us) = xact_us {
            self.now.xacts += 1;
            self.now.xact_us += xact_us;
        }
    }

    /// Begins a new period.
    pub(in crate::pool) fn turn(&mut self) {
        self.older = self.newer;
        self.newer = self.now;
    }

    /// The counters of the last full period alone.
    pub fn last_period(&self) -> Counters {
        self.newer - self.older
    }

    /// The counters since the last full period began: SHOW averages these.
    pub fn lately(&self) -> Counters {
        self.now - self.older
    }
}

impl AddAssign<&Stats> for Stats {
    fn add_assign(&mut self, other: &Stats) {
        self.now += &other.now;
        self.newer += &other.newer;
        self.older += &other.older;
    }
}

/// Averages over some time, as SHOW and the log give them: per second, or per query.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Averages {
    /// Per second; the times among them are not averaged and stay zero.
    pub per_second: Counters,
    /// Microseconds per transaction.
    pub xact_us: u64,
    /// Microseconds per query.
    pub query_us: u64,
    /// Microseconds of waiting per assignment of a server.
    pub wait_us: u64,
}

/// Averages of `counted`, which was counted in `span_us` microseconds.
pub fn average(counted: &Counters, span_us: u64) -> Averages {
    let rate = |count: u64| match span_us {
        0 => 0,
        span => (u128::from(count) * 1_000_000 / u128::from(span)) as u64,
    };
    let each = |total: u64, count: u64| total.checked_div(count).unwrap_or(0);
    Averages {
        per_second: Counters {
            assignments: rate(counted.assignments),
            xacts: rate(counted.xacts),
            queries: rate(counted.queries),
            received: rate(counted.received),
            sent: rate(counted.sent),
            client_parses: rate(counted.client_parses),
            server_parses: rate(counted.server_parses),
            binds: rate(counted.binds),
            logins: rate(counted.logins),
            xact_us: 0,
            query_us: 0,
            wait_us: 0,
        },
        xact_us: each(counted.xact_us, counted.xacts),
        query_us: each(counted.query_us, counted.queries),
        wait_us: each(counted.wait_us, counted.assignments),
    }
}

/// The beginnings of the periods.
#[derive(Debug)]
pub struct Totals {
    pub period_start: Moment,
    pub last_period_start: Moment,
}

impl Totals {
    pub fn new(now: Moment) -> Totals {
        Totals { period_start: now, last_period_start: now }
    }

    /// The length of the last full period, or of the time since start before there is one.
    pub fn last_span_us(&self) -> u64 {
        self.period_start.micros_since(self.last_period_start)
    }

    /// The time that [`Stats::lately`] covers: between one and two periods. So SHOW has averages
    /// from the start, and never those of a mere moment.
    pub fn lately_us(&self, now: Moment) -> u64 {
        now.micros_since(self.last_period_start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn averages_are_those_of_the_period_that_ended() {
        let mut stats = Stats::default();
        stats.xacts += 5;
        stats.turn();
        stats.xacts += 20;
        stats.xact_us += 2_000;
        stats.turn();
        stats.xacts += 1;
        let averages = average(&stats.last_period(), 2_000_000);
        assert_eq!((averages.per_second.xacts, averages.xact_us), (10, 100));
        assert_eq!(average(&stats.lately(), 3_000_000).per_second.xacts, 7);
        assert_eq!(stats.xacts, 26);
        assert_eq!(average(&Counters::default(), 0), Averages::default());
    }

    #[test]
    fn waiting_is_averaged_over_the_servers_given_out() {
        let counted = Counters { assignments: 2, wait_us: 25_015, ..Counters::default() };
        assert_eq!(average(&counted, 1_000_000).wait_us, 12_507);
    }
}
