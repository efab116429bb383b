//! The last 15 minutes, for the plots of the page: a ring of points of fixed size.

use std::collections::VecDeque;
use std::time::Duration;

use crate::base::time::Moment;
use crate::pool::core::Core;
use crate::pool::records::pool::Pool;
use crate::pool::telling::histogram::Spread;
use crate::pool::telling::latency::Measure;

/// Time between two points.
pub const STEP: Duration = Duration::from_secs(5);

/// Points kept: 15 minutes of them.
const POINTS_MAX: usize = 180;

/// What happened in one step, and the state at its end.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Point {
    /// Tenths of queries per second.
    pub queries_ds: u32,
    /// Percentiles 50, 95 and 99, in microseconds.
    pub query_us: [u32; 3],
    pub wait_us: [u32; 3],
    /// Clients that wait for a server.
    pub waiting: u32,
    pub servers: u32,
    pub clients: u32,
}

/// All points, with room for less than 8 kB of them.
#[derive(Default)]
pub struct History {
    points: VecDeque<Point>,
    /// Counters at the last point, and when that was.
    before: Option<EarlierSpreads>,
    next: Moment,
}

struct EarlierSpreads {
    at: Moment,
    query: Spread,
    wait: Spread,
}

impl History {
    /// When the next point is due.
    #[inline]
    pub fn next(&self) -> Moment {
        self.next
    }

    /// Adds a point when one is due.
    pub fn record(&mut self, core: &Core) {
        let now = core.mono();
        if now < self.next() {
            return;
        }
        let (query, wait) = (sum(core, |one| &one.query), sum(core, |one| &one.wait));
        if let Some(before) = &self.before {
            let lately = query.since(&before.query);
            let span_us = now.micros_since(before.at).max(1);
            let point = Point {
                queries_ds: narrow(lately.count.saturating_mul(10_000_000) / span_us),
                query_us: percentiles(&lately),
                wait_us: percentiles(&wait.since(&before.wait)),
                waiting: waiting(core),
                servers: core.outbound_count() as u32,
                clients: core.client_count,
            };
            if self.points.len() == POINTS_MAX {
                self.points.pop_front();
            }
            self.points.push_back(point);
        }
        self.before = Some(EarlierSpreads { at: now, query, wait });
        self.next = now + STEP;
    }

    /// How long ago the last point was, in milliseconds.
    pub fn age_ms(&self, now: Moment) -> u64 {
        self.before.as_ref().map_or(0, |before| now.micros_since(before.at) / 1_000)
    }

    pub fn points(&self) -> impl Iterator<Item = &Point> {
        self.points.iter()
    }
}

/// The times of all databases since the start, in one spread.
fn sum(core: &Core, measure: Measure) -> Spread {
    let mut sum = Spread::default();
    core.latencies.iter().for_each(|one| measure(one).add_to(&mut sum));
    sum
}

fn percentiles(spread: &Spread) -> [u32; 3] {
    [50, 95, 99].map(|percent| narrow(spread.percentile_us(percent)))
}

/// Clients that wait for a server, of all pools.
pub fn waiting(core: &Core) -> u32 {
    let pools = core.pools.iter().map(|(_, pool)| pool);
    pools.map(Pool::waiting_clients).sum::<usize>() as u32
}

fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ring_takes_less_memory_than_it_may() {
        assert!(size_of::<Point>() * POINTS_MAX < 64 * 1024);
        assert!(STEP * POINTS_MAX as u32 >= Duration::from_secs(15 * 60));
    }
}
