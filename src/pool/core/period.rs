//! The ends of statistics periods, and sums over pools.

use crate::pool::core::Core;
use crate::pool::telling::stats::Stats;

impl Core {
    /// Ends a period: averages are those of the period that ends now.
    pub(in crate::pool) fn turn_stats(&mut self) {
        for id in self.pools.ids() {
            self.pools[id].stats.turn();
        }
        self.console_stats.turn();
        let now = self.mono();
        self.stats.last_period_start = self.stats.period_start;
        self.stats.period_start = now;
    }

    /// All pools together.
    pub fn all_stats(&self) -> Stats {
        let mut sum = Stats::default();
        for (_, pool) in self.pools.iter() {
            sum += &pool.stats;
        }
        sum
    }
}
